"""Trained policies, opened and played again on fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from tradeoff.catalogue import plain
from tradeoff.engine.endings import evaluation_cut
from tradeoff.engine.evaluate import Scores
from tradeoff.engine.evaluate import evaluate as play
from tradeoff.engine.trained import Trained
from tradeoff.envs import VectorEnv, make
from tradeoff.errors import BadInput
from tradeoff.registry import spec_of
from tradeoff.results import TRAINED, opened
from tradeoff.safe.conditioned_methods import ranges_of, seen_limits
from tradeoff.safe.constraints import Constraints, bind
from tradeoff.safe.methods import at_scale, kept, read_limit
from tradeoff.trust import check_trusted

if TYPE_CHECKING:
    from rich.table import Table

MODES = {"sampled": False, "likeliest": True}  # how actions are chosen -> deterministic


class Replay(NamedTuple):
    """Policies with the returns of fresh episodes."""

    trained: Trained
    scores: dict[str, Scores]  # by how actions are chosen
    asked: dict[str, Any]  # episodes, seed
    limits: Constraints | None = None  # of the run; for policies that see their limits, those they were asked to keep

    @property
    def channels(self) -> tuple[str, ...]:
        """Those that the environment pays; a method may have trained on more."""
        return self.trained.channels[: next(iter(self.scores.values())).returns.shape[-1]]

    def record(self) -> dict[str, Any]:
        """All of it as plain values."""
        steps = sum(scores.steps for scores in self.scores.values())
        return {
            "env": self.trained.env, **self.asked, "real_environment_steps": steps,
            **({} if self.limits is None else {"limits": list(self.limits.names())}),
            "policies": [{mode: self._policy(mode, p) for mode in self.scores} for p in range(len(self.trained))],
        }  # fmt: skip

    def _policy(self, mode: str, p: int) -> dict[str, Any]:
        scores = self.scores[mode]
        found: dict[str, Any] = {
            name: dict(zip(self.channels, numbers[p].tolist(), strict=True))
            for name, numbers in (("mean", scores.mean), ("stderr", scores.error))
        }
        if self.limits is None:
            return found
        kept_by = kept(self.limits, at_scale(self.limits, scores), scores.lengths)
        return found | {"kept": kept_by["feasible"][p], "violation": kept_by["violation"][p],
                        "share_of_episodes_over": kept_by["episodes_over_the_limit"][p]}  # fmt: skip

    def table(self) -> Table:
        """For a person: a row per policy and way of acting, mean and standard error per channel."""
        from rich.table import Column, Table

        title = f"{self.trained.env}: {self.asked['episodes']} fresh episodes per policy"
        names = () if self.limits is None else self.limits.names()
        table = Table("policy", "actions", *map(Column, plain(*self.channels, *names)), title=title)
        for p, policy in enumerate(self.record()["policies"]):
            for mode, found in policy.items():
                cells = [f"{found['mean'][c]:.6g} ± {found['stderr'][c]:.2g}" for c in self.channels]
                table.add_row(str(p), mode, *cells, *_verdicts(found))
        return table


def _verdicts(found: dict[str, Any]) -> list[str]:
    """Whether each limit was kept on average, and in how many episodes it was not."""
    pairs = zip(found.get("violation", ()), found.get("share_of_episodes_over", ()), strict=True)
    return [f"{'kept' if x <= 0 else f'broken by {x:.2g}'}; {share:.0%} of episodes over" for x, share in pairs]


def refuse_preferences(folder: Path, weights: Sequence[float] | None, minimum: Sequence[float | None] | None) -> None:
    """Raise BadInput where a preference is given to policies that were trained for one aim."""
    if weights is not None or minimum is not None:
        raise BadInput(f"{folder} holds policies of one aim, not a front: leave --weights and --minimum out")


def refuse_limits(folder: Path, limit: Sequence[str]) -> None:
    """Raise BadInput where limits are given to a front."""
    if limit and (folder / "front.pt").is_file():
        raise BadInput(f"{folder} holds a front, whose policies do not see limits: leave --limit out")


def replay(
    folder: Path,
    limit: Sequence[str] = (),
    *,
    episodes: int,
    seed: int,
    discount: float | None = None,
    trust_code: bool = False,
) -> Replay:
    """Play every policy of a finished run, sampling its actions and by the likeliest ones.

    limit: `name<=number` for policies that see their limits, one for each of their ranges.
    discount: of the returns; None: the run's.
    trust_code: let a folder that names code (`module:name`) import and run it.
    Raises: CheckpointError for a damaged file; Untrusted; BadInput for numbers that do not fit; BadLimit.
    """
    if episodes < 1 or seed < 0:
        raise BadInput(f"episodes must be at least 1 and seed at least 0, got {episodes} and {seed}")
    trained, settings = opened(folder, TRAINED)
    check_trusted(trained.env, trust_code, folder)
    discount = trained.indicators["discount"] if discount is None else discount
    config: Any = None if settings is None else settings.config

    def make_env(num_envs: int, first: int) -> VectorEnv:
        env = make(trained.env, num_envs, seed=first, max_episode_steps=config.horizon if config else None)
        return config.shown(env) if config else env

    chosen, context = _chosen(trained, limit)
    cut = evaluation_cut(config, spec_of(trained.env)) if config and config.horizon is None else None
    if chosen is None and hasattr(config, "constraints"):
        spec = spec_of(trained.env)
        chosen = bind(config.constraints(spec), spec, discount=trained.indicators["discount"])
    scores = {
        mode: play(make_env, trained.model, trained.population, episodes=episodes, seed=seed, discount=discount,
                   deterministic=deterministic, context=context, cut=cut)
        for mode, deterministic in MODES.items()
    }  # fmt: skip
    return Replay(trained, scores, {"discount": discount, "episodes": episodes, "seed": seed}, chosen)


def _chosen(trained: Trained, limit: Sequence[str]) -> tuple[Constraints | None, Tensor | None]:
    """The limits that policies are to keep, and what they see of them; None for policies that do not see limits."""
    if "limit_ranges" not in trained.indicators and not limit:
        return None, None
    scale, spec = ranges_of(trained)[0].scale, spec_of(trained.env)
    chosen = [read_limit(text, spec, scale) for text in limit]
    context = seen_limits(trained, chosen)
    return bind(chosen, spec, discount=trained.indicators["discount"]), context
