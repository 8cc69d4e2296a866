"""What fresh episodes of a finished run prove about its limits, in plain words and as a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.files import write_atomically
from engine.trained import Trained
from envs import make
from safe.constraints import Constraint
from safe.methods import read_limit
from safe.report import clopper_pearson
from tradeoff.errors import BadInput
from tradeoff.replay_trained import replay
from tradeoff.settings import read_settings

FILE = "safety.json"


def safety(folder: Path, limits: Sequence[str], *, confidence: float, episodes: int, seed: int) -> list[dict[str, Any]]:
    """Bound the share of episodes that break each limit, for every policy and way of choosing actions; written beside
    the run.

    limits: as of `train`; none: those of the run. Each bound holds by itself, by Clopper and Pearson 1934.
    Raises: BadInput for a run without limits; BadCosts for a confidence outside (0, 1); as `replay`.
    """
    trained = Trained.load(folder)
    asked = [text.replace(" ", "") for text in limits or trained.indicators.get("limits", [])]
    scale = getattr(read_settings(folder).config, "scale", "episodic")
    if not limits and scale not in ("episodic", "discounted"):
        raise BadInput(f"the limits of {folder} bound means per step (scale {scale!r}), not episodes; give --limit")
    if not asked:
        raise BadInput(f"{folder} was trained without limits; say which with --limit name=number")
    env = make(trained.env, 1)
    spec = env.spec
    env.close()
    given = [read_limit(text, spec, "episodic") for text in asked]
    found = replay(folder, episodes=episodes, seed=seed)
    rows = [
        _row(limit, scores.returns[p, :, found.channels.index(limit.cost)].tolist(), confidence)
        | {"policy": p, "actions": mode, "discount": trained.indicators["discount"]}
        for p in range(len(trained)) for mode, scores in found.scores.items() for limit in given
    ]  # fmt: skip
    write_atomically(folder / FILE, (json.dumps(rows, indent=2) + "\n").encode())
    return rows


def sentence(row: dict[str, Any]) -> str:
    """One bound in plain words."""
    return (
        f"policy {row['policy']}, {row['actions']} actions: with {100 * row['confidence']:g} % confidence at most "
        f"{100 * row['bound']:.3g} % of episodes break {row['limit']} ({row['broken']} of {row['episodes']} did, "
        f"{row['method']}; mean {row['mean']:.4g}, discount {row['discount']:g})"
    )


def _row(limit: Constraint, costs: Sequence[float], confidence: float) -> dict[str, Any]:
    sign, bar = (1.0 if limit.sense == "<=" else -1.0), limit.limits[0]
    broken = sum(sign * (cost - bar) > 0 for cost in costs)
    return {
        "limit": f"{limit.cost} {limit.sense} {bar:g}", "episodes": len(costs), "broken": broken,
        "bound": clopper_pearson(broken, len(costs), confidence), "confidence": confidence,
        "method": "Clopper-Pearson", "mean": sum(costs) / len(costs),
    }  # fmt: skip
