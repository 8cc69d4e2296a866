"""A saved front, opened and played again on fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradeoff.catalogue import plain
from tradeoff.engine.evaluate import Scores
from tradeoff.engine.evaluate import evaluate as play
from tradeoff.engine.files import lies
from tradeoff.envs import VectorEnv, make
from tradeoff.errors import BadInput, as_bad_input, not_a_run
from tradeoff.morl import Front
from tradeoff.results import FRONT, opened
from tradeoff.settings import FILE
from tradeoff.trust import check_trusted

if TYPE_CHECKING:
    from rich.table import Table


class Opened(NamedTuple):
    """A finished run."""

    front: Front
    horizon: int | None  # of its episodes where it was changed


class Replay(NamedTuple):
    """Policies of a front with the returns of fresh episodes."""

    front: Front
    rows: NDArray[np.int64]  # [R] rows of the front that were played
    scores: Scores
    channels: tuple[str, ...]  # objectives, then costs
    asked: dict[str, Any]  # weights, minimum, episodes, seed

    def record(self) -> dict[str, Any]:
        """All of it as plain values."""
        front = self.front
        return {
            "env": front.env, "discount": front.indicators["discount"], **self.asked,
            "real_environment_steps": self.scores.steps, "policies": [self._policy(i) for i in range(len(self.rows))],
        }  # fmt: skip

    def _policy(self, i: int) -> dict[str, Any]:
        front, row, m = self.front, self.rows[i], len(self.front.objectives)
        return {
            "member": int(front.members[row]),
            "preference": self._named(front.preferences[row], m),
            "reported": self._named(front.points[row], m),
            "mean": self._named(self.scores.mean[i]),
            "stderr": self._named(self.scores.error[i]),
        }

    def _named(self, numbers: Any, count: int | None = None) -> dict[str, float]:
        return {name: float(x) for name, x in zip(self.channels[:count], numbers, strict=True)}

    def table(self) -> Table:
        """For a person: one row per policy, mean and standard error per channel."""
        from rich.table import Column, Table

        episodes, discount = self.asked["episodes"], self.front.indicators["discount"]
        title = f"{self.front.env}: {episodes} fresh episodes per policy, discount {discount:g}"
        table = Table("policy", "trained for", *map(Column, plain(*self.channels)), title=title, min_width=len(title))
        for policy in self.record()["policies"]:
            wanted = " ".join(f"{x:.3g}" for x in policy["preference"].values())
            cells = [f"{policy['mean'][c]:.6g} ± {policy['stderr'][c]:.2g}" for c in self.channels]
            table.add_row(str(policy["member"]), wanted, *cells)
            if len(self.rows) == 1:
                table.add_row("", "in front.csv", *(f"{x:.6g}" for x in policy["reported"].values()))
        return table


def open_run(folder: Path) -> Opened:
    """A finished run, or a front that was saved from Python.

    Raises: NotARun; TradeoffError when the run is not finished; CheckpointError when its file is damaged;
    BadInput where config.json is not that of the front.
    """
    if not lies(folder / FILE) and not lies(folder / FRONT.files[0]):
        raise not_a_run(folder)
    front, settings = opened(folder, FRONT)
    return Opened(front, None if settings is None else settings.config.horizon)


def replay(
    folder: Path,
    weights: Sequence[float] | None,
    minimum: Sequence[float | None] | None,
    *,
    episodes: int,
    seed: int,
    trust_code: bool = False,
) -> Replay:
    """Play the policy that weights or a minimum select, or every policy of the front where neither is given.

    trust_code: let a folder that names code (`module:name`) import and run it.
    Raises: as `open_run`; Untrusted; BadInput for weights, minimum or numbers that do not fit; NothingFits.
    """
    if episodes < 1 or seed < 0:
        raise BadInput(f"episodes must be at least 1 and seed at least 0, got {episodes} and {seed}")
    front, horizon = open_run(folder)
    check_trusted(front.env, trust_code, folder)
    rows = np.arange(len(front))
    if weights is not None or minimum is not None:
        with as_bad_input():
            rows = np.array([front.choose(weights=weights, minimum=minimum)])
    names: list[str] = []

    def make_env(num_envs: int, first: int) -> VectorEnv:
        env = make(front.env, num_envs, seed=first, max_episode_steps=horizon)
        names[:] = [*env.spec.objectives, *env.spec.costs]
        return env

    people, discount = front.population[rows.tolist()], front.indicators["discount"]
    scores = play(make_env, front.model, people, episodes=episodes, discount=discount, seed=seed)
    asked = {"weights": weights, "minimum": minimum, "episodes": episodes, "seed": seed}
    return Replay(front, rows, scores, tuple(names), asked)
