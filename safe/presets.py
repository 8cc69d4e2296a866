"""Gains of dual rules that fit the length of an episode."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from envs.protocol import EnvSpec

REFERENCE = 20  # steps of an episode for which the solvers' own gains are right
GAINS = ("rate", "penalty", "kp", "ki", "kd")
CEILING = 10.0  # of prices, where episodes are long: rewards and costs of a step are mostly of one size


def gains_for(solver: Any, spec: EnvSpec) -> Any:
    """The solver with gains divided by how many times longer than REFERENCE an episode is.

    A gain is a price per violation, and the violation of an episode grows with its length, while a price is paid per
    step. Solvers without dual gains, and environments without a horizon, stay as they are.
    """
    if spec.horizon is None or spec.horizon <= REFERENCE:
        return solver
    return _scaled(solver, REFERENCE / spec.horizon)


def _scaled(settings: Any, share: float) -> Any:
    changes: dict[str, Any] = {}
    for f in fields(settings):
        value = getattr(settings, f.name)
        if f.name in GAINS and f.type == "Gain":
            changes[f.name] = tuple(share * x for x in value) if isinstance(value, tuple) else share * value
        elif is_dataclass(value) and any(inner.name == "ki" for inner in fields(value)):
            changes[f.name] = _scaled(value, share)
    if changes and any(f.name == "bound" for f in fields(settings)):
        changes["bound"] = min(settings.bound, CEILING)
    return replace(settings, **changes) if changes else settings
