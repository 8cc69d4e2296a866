"""What fresh episodes of a finished run prove about its limits, in plain words, as a file and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradeoff.drawing import Formats, seed_words
from tradeoff.engine.files import lies, write_atomically
from tradeoff.engine.trained import Trained
from tradeoff.envs import VectorEnv, make
from tradeoff.envs.errors import UnknownName
from tradeoff.errors import BadInput, not_a_run
from tradeoff.replay_trained import replay
from tradeoff.results import FRONT, TRAINED, kind_in, opened
from tradeoff.safe.bounds import check_level
from tradeoff.safe.conditioned_methods import seen_limits
from tradeoff.safe.constraints import Constraint
from tradeoff.safe.known_ranges import Known, known_range
from tradeoff.safe.methods import read_limit
from tradeoff.safe.report import CostReport, count, safety_report, without_range
from tradeoff.safety_picture import draw
from tradeoff.safety_ranges import given_ranges
from tradeoff.settings import FILE as SETTINGS
from tradeoff.settings import Settings
from tradeoff.trust import check_trusted

FILE = "safety.json"


class Finding(NamedTuple):
    """What is proven about one limit by the episodes of one policy."""

    policy: int
    actions: str  # sampled, or likeliest
    discount: float  # of an episode's cost
    report: CostReport
    share: float  # worst share of episodes that was looked at
    source: str | None  # of the range
    costs: NDArray[np.float64]  # [episodes]

    def record(self) -> dict[str, Any]:
        """As plain values; an infinite bound is None."""
        limit, report = self.report.limit, self.report
        return {
            "policy": self.policy, "actions": self.actions, "discount": self.discount,
            "limit": f"{limit.cost} {limit.sense} {limit.limits[0]:g}", "episodes": report.episodes,
            "broken": report.broken, "confidence": report.confidence, "share": self.share, "range": report.range,
            "range_source": self.source,
            "bounds": [b._asdict() | {"bound": b.bound if isfinite(b.bound) else None} for b in report.bounds],
        }  # fmt: skip


class Asked(NamedTuple):
    """What a user wants to know."""

    limits: tuple[str, ...] = ()  # as of `train`, per episode; none: those of the run, which must not be ranges
    ceilings: tuple[str, ...] = ()  # name=number or name=lowest:highest, what an episode can cost
    confidence: float = 0.95
    share: float = 0.1  # worst share of episodes that is looked at
    jointly: bool = False  # whether the confidence is that of all bounds together
    episodes: int = 500  # per policy and way of choosing actions
    seed: int = 10_000
    trust_code: bool = False  # import and run code that the folder names
    formats: Formats = ("png",)  # of the picture


def files(formats: Formats) -> list[str]:
    """The names of what `safety` writes."""
    return [FILE, *(f"safety.{kind}" for kind in formats)]


def safety(folder: Path, asked: Asked) -> list[Finding]:
    """Bounds on each limit for every policy and way of choosing actions, written as safety.json and safety.png (or
    other formats).

    Raises: NotARun; BadInput for a run without limits, a front, limits on means per step; UnknownName; BadCosts for a
    confidence or share outside (0, 1), or an episode outside its range; as `replay`.
    """
    check_level(asked.confidence, asked.share)
    trained, settings = _opened(folder)
    check_trusted(trained.env, asked.trust_code, folder)
    config = None if settings is None else settings.config
    discount = trained.indicators["discount"] if getattr(config, "scale", None) == "discounted" else 1.0
    env = make(trained.env, 1, max_episode_steps=getattr(config, "horizon", None))
    limits = _limits(folder, trained, asked.limits, getattr(config, "scale", "episodic"), env)
    known = _ranges(env, limits, asked.ceilings, discount)
    env.close()
    seen = asked.limits if "limit_ranges" in trained.indicators else ()
    found = replay(
        folder, seen, episodes=asked.episodes, seed=asked.seed, discount=discount, trust_code=asked.trust_code
    )
    played = {
        (p, mode): {c.cost: scores.returns[p, :, found.channels.index(c.cost)].cpu().numpy() for c in limits}
        for p in range(len(trained)) for mode, scores in found.scores.items()
    }  # fmt: skip
    ranges = {name: x.range for name, x in known.items()}
    statements = count(limits, ranges) * len(played) if asked.jointly else 1
    findings = []
    for (p, mode), costs in played.items():
        reports = safety_report(
            costs, limits, ranges, confidence=asked.confidence, share=asked.share, statements=statements
        )
        for report in reports:
            name = report.limit.cost
            source = known[name].source if name in known else None
            findings.append(Finding(p, mode, discount, report, asked.share, source, costs[name]))
    write_atomically(folder / FILE, (json.dumps([f.record() for f in findings], indent=2) + "\n").encode())
    paths = [folder / name for name in files(asked.formats)[1:]]
    draw(findings, paths, f"{trained.indicators['method']} on {trained.env}", _caption(trained, asked, discount))
    return findings


def _caption(trained: Trained, asked: Asked, discount: float) -> str:
    scores = trained.indicators
    return (
        f"{asked.episodes} fresh episodes per policy and way of choosing actions, seeds from {asked.seed} on"
        f"{_discounted(discount)}; trained for {scores['real_environment_steps']['total']:,} environment steps, "
        f"{seed_words([scores])}."
    )


def words(findings: Sequence[Finding], asked: Asked) -> list[str]:
    """Everything that was found, line by line, for a person."""
    lines: list[str] = []
    for f in findings:
        limit, report = f.report.limit, f.report
        known = (
            "" if report.range is None else f"; {limit.cost} in [{report.range[0]:g}, {report.range[1]:g}]: {f.source}"
        )
        head = f"policy {f.policy}, {f.actions} actions, {limit.cost} {limit.sense} {limit.limits[0]:g}"
        lines.append(f"{head} ({report.episodes} fresh episodes{_discounted(f.discount)}{known})")
        lines += [f"  {bound.sentence}" for bound in report.bounds]
        if report.range is None:
            lines.append(f"  {without_range(limit.cost)}; say what an episode can cost: --ceiling {limit.cost}=number")
    total = sum(len(f.report.bounds) for f in findings)
    how = (
        f"all {total} bounds hold together" if asked.jointly else "each bound holds by itself; --jointly: all together"
    )
    return [*lines, f"{how}, for episodes like these: same environment, same way of choosing actions"]


def _discounted(discount: float) -> str:
    return "" if discount == 1.0 else f", costs discounted by {discount:g}"


def _opened(folder: Path) -> tuple[Trained, Settings | None]:
    if kind_in(folder) is FRONT:
        raise BadInput(f"{folder} holds a front; a safety report is for methods with limits, see `tradeoff methods`")
    if kind_in(folder) is None and not lies(folder / SETTINGS):
        raise not_a_run(folder)
    return opened(folder, TRAINED)


def _limits(folder: Path, trained: Trained, asked: Sequence[str], scale: str, env: VectorEnv) -> list[Constraint]:
    if not asked and scale not in ("episodic", "discounted"):
        raise BadInput(f"the limits of {folder} bound means per step (scale {scale!r}), not episodes; give --limit")
    if "limit_ranges" in trained.indicators and not asked:
        seen_limits(trained, [])  # says which limits can be asked for
    texts = [text.replace(" ", "") for text in asked or trained.indicators.get("limits", [])]
    if not texts:
        raise BadInput(f"{folder} was trained without limits; say which with --limit name=number")
    limits = [read_limit(text, env.spec, "episodic") for text in texts]
    channels = (*env.spec.objectives, *env.spec.costs)
    for limit in limits:
        if limit.cost not in channels:
            raise UnknownName("cost", limit.cost, channels, f"{trained.env} has {', '.join(channels)}; give --limit")
    return limits


def _ranges(
    env: VectorEnv, limits: Sequence[Constraint], ceilings: Sequence[str], discount: float
) -> Mapping[str, Known]:
    channels = (*env.spec.objectives, *env.spec.costs)
    given = given_ranges(ceilings, channels)
    described = {c.cost: known_range(env, channels.index(c.cost), discount) for c in limits}
    return {name: x for name, x in described.items() if x is not None} | given
