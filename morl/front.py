"""The result of a run: a set of trade-offs with the policies behind them, scored, saved and steered."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tradeoff.engine import checkpoint
from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.files import write_atomically
from tradeoff.engine.policy import Policy, model_from_state, model_state
from tradeoff.engine.population import Population
from tradeoff.envs.errors import TradeoffError
from tradeoff.evaluation import InvalidWeights, check_weights


class NothingFits(TradeoffError, ValueError):
    """No policy of the front meets the minimum that was asked for."""


@dataclass(kw_only=True)
class FrontPolicy(Policy):
    """One policy of a front."""

    point: NDArray[np.float64]  # [m] its evaluated return
    preference: NDArray[np.float64]  # [m] what it was trained for
    objectives: tuple[str, ...]


@dataclass
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

    def __len__(self) -> int:
        return len(self.points)

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
            minimum: [m] least acceptable return per objective, None where anything will do; among the policies that
                meet it, the one with the largest worst slack (in units of the front's range) wins. Given together with
                weights, the best weighted return among those that meet the minimum.

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
        span = np.where((s := np.ptp(self.points, axis=0)) > 0, s, 1.0)
        slack: NDArray[np.float64] = ((self.points - least) / span).min(1)
        return slack

    def save(self, folder: Path | str) -> None:
        """Write front.csv, indicators.json and front.pt (policies included) into `folder`."""
        folder = Path(folder)
        state = {
            "env": self.env,
            "objectives": list(self.objectives),
            "arrays": {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in ARRAYS},
            "indicators": self.indicators,
            "history": self.history,
            "model": model_state(self.model),
            "population": self.population.state_dict(),
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
                env=state["env"], objectives=tuple(state["objectives"]), **arrays, indicators=state["indicators"],
                history=state["history"], model=model_from_state(state["model"]),
                population=Population.from_state(state["population"]),
            )  # fmt: skip

    def table(self) -> str:
        """The front as CSV: a column per objective by its name, its standard error, its preference, and the member."""
        out = io.StringIO()
        names = self.objectives
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*names, *(f"{n}_stderr" for n in names), *(f"{n}_preference" for n in names), "member"])
        for row in zip(self.points, self.errors, self.preferences, self.members, strict=True):
            writer.writerow([*(repr(float(x)) for part in row[:3] for x in part), int(row[3])])
        return out.getvalue()


ARRAYS = ("points", "errors", "preferences", "members", "episode_returns")
