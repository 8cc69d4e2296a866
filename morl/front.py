"""The result of a run: a set of trade-offs with the policies behind them, scored, saved and steered."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tradeoff.engine import checkpoint
from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.files import write_atomically
from tradeoff.engine.policy import Policy, few, model_from_state, model_state
from tradeoff.engine.population import Population
from tradeoff.envs.errors import TradeoffError
from tradeoff.evaluation import InvalidWeights, check_weights


class NothingFits(TradeoffError, ValueError):
    """No policy of the front meets the minimum that was asked for."""


@dataclass(kw_only=True, repr=False)
class FrontPolicy(Policy):
    """One policy of a front."""

    point: NDArray[np.float64]  # [m] its evaluated return
    preference: NDArray[np.float64]  # [m] what it was trained for
    objectives: tuple[str, ...]

    def __repr__(self) -> str:
        shown = [f"{name} {x:.4g}" for name, x in zip(self.objectives, self.point, strict=True)]
        return f"FrontPolicy({', '.join(few(shown))}; {self.shape})"


@dataclass(repr=False)
class Front:
    """Non-dominated policies, evaluated on fresh seeds after training."""

    env: str
    objectives: tuple[str, ...]
    points: NDArray[np.float64]  # [K, m] mean discounted returns
    errors: NDArray[np.float64]  # [K, m] their standard errors
    preferences: NDArray[np.float64]  # [K, m] what each policy was trained for
    members: NDArray[np.int64]  # [K] birth order over the run
    episode_returns: NDArray[np.float64]  # [K, E, m] what the means are of
    indicators: dict[str, Any]  # hypervolume, expected_utility, ... each with its interval
    history: list[dict[str, Any]]  # indicators of the archive over real environment steps, before re-evaluation
    model: ActorCritic
    population: Population
    costs: tuple[str, ...] = ()  # names of the environment's costs, which front methods neither limit nor climb
    episode_costs: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros((0, 0, 0))
    )  # [K, E, k] sums, undiscounted
    settings: dict[str, Any] | None = None  # of the run, as config.json has them; None: made without a run folder

    def __post_init__(self) -> None:
        if not self.costs:
            self.episode_costs = np.zeros((len(self.points), self.episode_returns.shape[1], 0))

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        columns = [(*self.objectives, *self.costs), np.concatenate([self.points, self.episode_costs.mean(1)], 1).T]
        ranges = [f"{name} {x.min():.4g} to {x.max():.4g}" for name, x in zip(*columns, strict=True) if len(x)]
        scores = [
            f"{name.replace('_', ' ')} {self.indicators[name]['value']:.6g}"
            for name in ("hypervolume", "expected_utility")
            if name in self.indicators
        ]
        lines = [f"Front of {len(self)} policies for {self.env}", *few(ranges), ", ".join(scores)]
        return "\n  ".join(line for line in lines if line)

    def policy(self, row: int) -> FrontPolicy:
        """The policy behind a row of `points`."""
        return FrontPolicy(
            model=self.model, population=self.population[[row]], objectives=self.objectives,
            point=self.points[row], preference=self.preferences[row],
        )  # fmt: skip

    def select(self, *, weights: ArrayLike | None = None, minimum: Sequence[float | None] | None = None) -> FrontPolicy:
        """Choose a policy by what matters; arguments and errors as `choose`."""
        return self.policy(self.choose(weights=weights, minimum=minimum))

    def choose(self, *, weights: ArrayLike | None = None, minimum: Sequence[float | None] | None = None) -> int:
        """The row of the policy that serves best.

        Args:
            weights: [m] relative importance of the objectives; the best weighted return wins.
            minimum: [m] least acceptable return per objective, None where anything will do. Among the policies that
                meet it the best weighted return wins; without weights, the best mean of the objectives that have no
                minimum, each in units of the front's range; where all have one, the largest worst slack in those units.

        Raises: InvalidWeights; NothingFits naming the closest policy; ValueError for neither, or a bad minimum.
        """
        if weights is None and minimum is None:
            raise ValueError("give weights, a minimum, or both")
        rows = np.arange(len(self.points))
        score = np.zeros(len(rows))
        if minimum is not None:
            score = self._slack(minimum)
            rows = np.flatnonzero(score >= 0)
            if not len(rows):
                near = int(np.argmax(score))
                raise NothingFits(
                    f"no policy reaches {list(minimum)}; the closest returns {self.points[near].tolist()}"
                )
        if weights is not None:
            score = self.points @ self._one_preference(weights)
        elif minimum is not None and None in minimum:
            free = [x is None for x in minimum]
            score = (self.points / self._span)[:, free].mean(1)
        return int(rows[np.argmax(score[rows])])

    def _one_preference(self, weights: ArrayLike) -> NDArray[np.float64]:
        scaled = check_weights(weights, len(self.objectives))
        if scaled.ndim != 1:
            raise InvalidWeights(f"weights hold {len(scaled)} preferences; give one, a number per objective")
        return scaled

    def _slack(self, minimum: Sequence[float | None]) -> NDArray[np.float64]:
        if len(minimum) != len(self.objectives):
            raise ValueError(f"minimum has {len(minimum)} numbers, the objectives are {', '.join(self.objectives)}")
        least = np.array([-np.inf if x is None else float(x) for x in minimum])
        if np.isnan(least).any():
            raise ValueError(f"minimum {list(minimum)} has a NaN; None lets an objective go")
        slack: NDArray[np.float64] = ((self.points - least) / self._span).min(1)
        return slack

    @property
    def _span(self) -> NDArray[np.float64]:
        """Range of each objective [m] over the front, 1 where it has none."""
        span = np.ptp(self.points, axis=0)
        return np.where(span > 0, span, 1.0)

    def save(self, folder: Path | str) -> None:
        """Write front.csv, indicators.json and front.pt (policies included) into `folder`."""
        folder = Path(folder)
        state = {
            "env": self.env,
            "objectives": list(self.objectives),
            "costs": list(self.costs),
            "arrays": {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in ARRAYS},
            "indicators": self.indicators,
            "history": self.history,
            "model": model_state(self.model),
            "population": self.population.state_dict(),
            **({} if self.settings is None else {"settings": self.settings}),
        }
        checkpoint.save(folder / "front.pt", state)
        write_atomically(folder / "front.csv", self.table().encode())
        write_atomically(folder / "indicators.json", (json.dumps(self.indicators, indent=2) + "\n").encode())

    @staticmethod
    def load(folder: Path | str) -> Front:
        """Read what `save` wrote.

        Raises: TradeoffError when the folder holds no finished run; CheckpointError when its file is damaged.
        """
        path = Path(folder) / "front.pt"
        if not path.is_file():
            raise TradeoffError(
                f"{folder} holds no finished front (no {path.name}); resume the run, or name another folder"
            )
        state = checkpoint.load(path)
        with checkpoint.as_damage(path):
            arrays = {name: array.numpy() for name, array in state["arrays"].items()}
            return Front(
                env=state["env"], objectives=tuple(state["objectives"]), costs=tuple(state.get("costs", ())), **arrays,
                indicators=state["indicators"],
                history=state["history"], model=model_from_state(state["model"]),
                population=Population.from_state(state["population"]), settings=state.get("settings"),
            )  # fmt: skip

    def table(self) -> str:
        """The front as CSV: a column per objective by its name, its standard error, its preference, a column per cost
        (mean sum per episode) and its standard error, and the member."""
        out = io.StringIO()
        names = self.objectives
        writer = csv.writer(out, lineterminator="\n")
        heads = [names, [f"{n}_stderr" for n in names], [f"{n}_preference" for n in names]]
        heads += [self.costs, [f"{n}_stderr" for n in self.costs]]
        writer.writerow([*(name for part in heads for name in part), "member"])
        paid, error = self.episode_costs.mean(1), self.episode_costs.std(1, ddof=1) / self.episode_costs.shape[1] ** 0.5
        for row in zip(self.points, self.errors, self.preferences, paid, error, self.members, strict=True):
            writer.writerow([*(repr(float(x)) for part in row[:-1] for x in part), int(row[-1])])
        return out.getvalue()


ARRAYS = ("points", "errors", "preferences", "members", "episode_returns", "episode_costs")
