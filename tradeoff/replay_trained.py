"""Trained policies, opened and played again on fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.evaluate import Scores
from engine.evaluate import evaluate as play
from engine.trained import Trained
from envs import VectorEnv, make
from tradeoff.catalogue import plain
from tradeoff.errors import BadInput
from tradeoff.settings import FILE, read_settings

if TYPE_CHECKING:
    from rich.table import Table

MODES = {"sampled": False, "likeliest": True}  # how actions are chosen -> deterministic


class Replay(NamedTuple):
    """Policies with the returns of fresh episodes."""

    trained: Trained
    scores: dict[str, Scores]  # by how actions are chosen
    asked: dict[str, Any]  # episodes, seed

    @property
    def channels(self) -> tuple[str, ...]:
        """Those that the environment pays; a method may have trained on more."""
        return self.trained.channels[: next(iter(self.scores.values())).returns.shape[-1]]

    def record(self) -> dict[str, Any]:
        """All of it as plain values."""
        steps = sum(scores.steps for scores in self.scores.values())
        return {
            "env": self.trained.env, **self.asked, "real_environment_steps": steps,
            "policies": [{mode: self._policy(mode, p) for mode in self.scores} for p in range(len(self.trained))],
        }  # fmt: skip

    def _policy(self, mode: str, p: int) -> dict[str, Any]:
        scores = self.scores[mode]
        return {
            name: dict(zip(self.channels, numbers[p].tolist(), strict=True))
            for name, numbers in (("mean", scores.mean), ("stderr", scores.error))
        }

    def table(self) -> Table:
        """For a person: a row per policy and way of acting, mean and standard error per channel."""
        from rich.table import Column, Table

        title = f"{self.trained.env}: {self.asked['episodes']} fresh episodes per policy"
        table = Table("policy", "actions", *map(Column, plain(*self.channels)), title=title)
        for p, policy in enumerate(self.record()["policies"]):
            for mode, found in policy.items():
                cells = [f"{found['mean'][c]:.6g} ± {found['stderr'][c]:.2g}" for c in self.channels]
                table.add_row(str(p), mode, *cells)
        return table


def refuse_preferences(folder: Path, weights: Sequence[float] | None, minimum: Sequence[float | None] | None) -> None:
    """Raise BadInput where a preference is given to policies that were trained for one aim."""
    if weights is not None or minimum is not None:
        raise BadInput(f"{folder} holds policies of one aim, not a front: leave --weights and --minimum out")


def replay(folder: Path, *, episodes: int, seed: int, discount: float | None = None) -> Replay:
    """Play every policy of a finished run, sampling its actions and by the likeliest ones.

    discount: of the returns; None: the run's.
    Raises: CheckpointError for a damaged file; BadInput for numbers that do not fit.
    """
    if episodes < 1 or seed < 0:
        raise BadInput(f"episodes must be at least 1 and seed at least 0, got {episodes} and {seed}")
    trained = Trained.load(folder)
    discount = trained.indicators["discount"] if discount is None else discount
    horizon = read_settings(folder).config.horizon if (folder / FILE).is_file() else None

    def make_env(num_envs: int, first: int) -> VectorEnv:
        return make(trained.env, num_envs, seed=first, max_episode_steps=horizon)

    scores = {
        mode: play(make_env, trained.model, trained.population, episodes=episodes, seed=seed, discount=discount,
                   deterministic=deterministic)
        for mode, deterministic in MODES.items()
    }  # fmt: skip
    return Replay(trained, scores, {"discount": discount, "episodes": episodes, "seed": seed})
