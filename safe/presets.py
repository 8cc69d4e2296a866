"""Gains of dual rules that fit the length of an episode."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from envs.protocol import EnvSpec

REFERENCE = 20  # steps of an episode for which the solvers' own gains are right
GAINS = ("rate", "penalty", "kp", "ki", "kd")
CEILING = 10.0  # of prices, where episodes are long: rewards and costs of a step are mostly of one size
WALK = {"start": 1.0, "bound": 4.0}
"""First price and ceiling of bodies for which a step too fast costs 1. From price 1 on a body paid 1 to 3 per step
never learns to run first, and a ceiling near that pay leaves it no reason to lie down.
"""


def gains_for(solver: Any, spec: EnvSpec) -> Any:
    """The solver with gains divided by how many times longer than REFERENCE an episode is.

    A gain is a price per violation, and the violation of an episode grows with its length, while a price is paid per
    step. Solvers without dual gains, and environments without a horizon, stay as they are.
    """
    if spec.horizon is None or spec.horizon <= REFERENCE:
        return solver
    walks = spec.id.startswith(("SafetyHalfCheetahVel", "SafetyAntVel", "SafetyHopperVel"))
    return _scaled(solver, REFERENCE / spec.horizon, WALK if walks else {"bound": CEILING})


def _scaled(settings: Any, share: float, prices: dict[str, float]) -> Any:
    changes: dict[str, Any] = {}
    for f in fields(settings):
        value = getattr(settings, f.name)
        if f.name in GAINS and f.type == "Gain":
            changes[f.name] = tuple(share * x for x in value) if isinstance(value, tuple) else share * value
        elif is_dataclass(value) and any(inner.name == "ki" for inner in fields(value)):
            changes[f.name] = _scaled(value, share, prices)
    if changes:
        for name in prices.keys() & {f.name for f in fields(settings)}:
            own = getattr(settings, name)
            changes[name] = own or prices[name] if name == "start" else min(own, prices[name])
    return replace(settings, **changes) if changes else settings
