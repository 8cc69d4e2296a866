"""What a run found, in a few lines, and what to try next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tradeoff.morl import Front


def summary(front: Front, folder: Path) -> str:
    """Scores with their intervals, steps, the known front's scores where there is one, files, next commands."""
    scores = front.indicators
    known = scores.get("known_front")
    steps = scores["real_environment_steps"]
    parts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in steps.items() if name != "total")
    reference = ", ".join(f"{x:g}" for x in scores["reference_point"])
    lines = [
        f"{scores['method']} on {front.env}, seed {scores['seed']}, discount {scores['discount']:g}",
        f"  hypervolume        {interval(scores['hypervolume'])} above ({reference}){_beside(known, 'hypervolume')}",
        f"  expected utility   {interval(scores['expected_utility'])}{_beside(known, 'expected_utility')}",
        f"  points             {scores['cardinality']}{_found(known)}",
        *(
            f"  cost, not limited  {name} {min(paid):.4g} to {max(paid):.4g} per episode"
            for name, paid in scores.get("costs", {}).items()
        ),
        f"  environment steps  {steps['total']:,} ({parts})",
        f"  written to         {folder}: {files(folder)}",
        f"try  tradeoff evaluate {folder} --weights {' '.join(['1'] * len(front.objectives))}",
        f"     tradeoff plot {folder}",
    ]
    return "\n".join(lines)


def interval(estimate: dict[str, Any]) -> str:
    """value [low, high]."""
    return f"{estimate['value']:.6g} [{estimate['low']:.6g}, {estimate['high']:.6g}]"


def _beside(known: dict[str, Any] | None, name: str) -> str:
    return "" if known is None else f"; {known['kind']} front: {known[name]:.6g}"


def _found(known: dict[str, Any] | None) -> str:
    if known is None:
        return ""
    return f"; {known['points_found']} of the {known['points']} points of the {known['kind']} front"


def files(folder: Path) -> str:
    """The names in a run folder, checkpoints and events by their kind."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith((".", "checkpoint-", "events.")))
    kinds = [
        kind for kind, pattern in (("checkpoints", "checkpoint-*"), ("events", "events.*")) if any(folder.glob(pattern))
    ]
    return ", ".join(names + kinds)
