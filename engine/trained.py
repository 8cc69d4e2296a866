"""The result of a run for one aim: policies, their scores on fresh seeds, and the curve that led there."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tradeoff.engine import checkpoint
from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.files import write_atomically
from tradeoff.engine.policy import Policy, few, model_from_state, model_state
from tradeoff.engine.population import Population
from tradeoff.envs.errors import TradeoffError

FILE = "policies.pt"


@dataclass(repr=False)
class Trained:
    """P policies, evaluated on fresh seeds after training."""

    env: str
    channels: tuple[str, ...]  # m objectives, then k costs
    objectives: int  # m
    returns: NDArray[np.float64]  # [P, E, m + k] of fresh episodes, sampling as in training
    deterministic_returns: NDArray[np.float64]  # [P, E, m + k] of fresh episodes, likeliest actions
    indicators: dict[str, Any]  # value per policy, real steps, and what the method adds
    history: list[dict[str, Any]]  # a row per evaluation: steps, value [P], returns [P, m + k], what the learner said
    model: ActorCritic
    population: Population
    settings: dict[str, Any] | None = None  # of the run, as config.json has them; None: made without a run folder

    def __len__(self) -> int:
        return len(self.returns)

    def __repr__(self) -> str:
        name, values = self.indicators.get("method", "?"), self.indicators.get("value", [])
        means = [f"{channel} {x:.4g}" for channel, x in zip(self.channels, self.returns.mean((0, 1)), strict=True)]
        lines = [f"Trained: {len(self)} policies of {name} for {self.env}", ", ".join(few(means))]
        lines += [f"value {', '.join(few([f'{x:.4g}' for x in values]))}"] if values else []
        return "\n  ".join(lines)

    @property
    def best(self) -> int:
        """Row of the policy with the largest value."""
        return int(np.argmax(self.indicators["value"]))

    def policy(self, row: int | None = None) -> Policy:
        """A policy, ready to act; None: the best one. Call it with `deterministic=False` to act as it was trained."""
        people = self.population[[self.best if row is None else row]]
        return Policy(model=self.model, population=people, repeat=self.indicators.get("repeat", 1))

    def save(self, folder: Path | str) -> None:
        """Write scores.csv, indicators.json and policies.pt into `folder`."""
        folder = Path(folder)
        state = {
            "env": self.env, "channels": list(self.channels), "objectives": self.objectives,
            "returns": torch.from_numpy(self.returns), "indicators": self.indicators, "history": self.history,
            "deterministic_returns": torch.from_numpy(self.deterministic_returns),
            "model": model_state(self.model), "population": self.population.state_dict(),
            **({} if self.settings is None else {"settings": self.settings}),
        }  # fmt: skip
        checkpoint.save(folder / FILE, state)
        write_atomically(folder / "scores.csv", self.table().encode())
        write_atomically(folder / "indicators.json", (json.dumps(self.indicators, indent=2) + "\n").encode())

    @staticmethod
    def load(folder: Path | str) -> Trained:
        """Read what `save` wrote.

        Raises: TradeoffError when the folder holds no finished run; CheckpointError when its file is damaged.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise TradeoffError(f"{folder} holds no finished run (no {FILE}); resume the run, or name another folder")
        state = checkpoint.load(path)
        if "indicators" not in state:
            raise TradeoffError(f"{path} holds no trained policies; is it another file of the run?")
        with checkpoint.as_damage(path):
            return Trained(
                env=state["env"], channels=tuple(state["channels"]), objectives=state["objectives"],
                returns=state["returns"].numpy(), deterministic_returns=state["deterministic_returns"].numpy(),
                indicators=state["indicators"], history=state["history"], model=model_from_state(state["model"]),
                population=Population.from_state(state["population"]), settings=state.get("settings"),
            )  # fmt: skip

    def table(self) -> str:
        """A row per policy as CSV: value, then mean and standard error of every channel; once more by likeliest
        actions."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = [f"{c}{kind}" for c in self.channels for kind in ("", "_stderr")]
        writer.writerow(["policy", "value", *names, "deterministic_value", *(f"deterministic_{n}" for n in names)])
        halves = [
            zip(self.indicators[key], _summaries(played), strict=True)
            for key, played in (("value", self.returns), ("deterministic_value", self.deterministic_returns))
        ]
        for p, parts in enumerate(zip(*halves, strict=True)):
            writer.writerow([p, *(repr(float(x)) for value, row in parts for x in (value, *row))])
        return out.getvalue()


def _summaries(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean and standard error of each channel, in turn [P, 2 c], of returns [P, E, c]."""
    error = returns.std(1, ddof=1) / returns.shape[1] ** 0.5
    return np.stack([returns.mean(1), error], -1).reshape(len(returns), -1)
