"""Gains of dual rules that fit the length of an episode."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from envs.protocol import EnvSpec

REFERENCE = 20  # steps of an episode for which the solvers' own gains are right
GAINS = ("rate", "penalty", "kp", "ki", "kd")
CEILING = 10.0  # of prices, where episodes are long: rewards and costs of a step are mostly of one size
WALK = {"start": 1.0, "bound": 4.0}
"""First price and ceiling for bodies paid about 1 to 3 per step, to which a step too fast costs 1. From price 1 on they
never learn to run first; under a price far above what a step pays they would rather fall than be fast."""


def gains_for(solver: Any, spec: EnvSpec) -> Any:
    """The solver with gains divided by how many times longer than REFERENCE an episode is.

    A gain is a price per violation, and the violation of an episode grows with its length, while a price is paid per
    step. Solvers without dual gains, and environments without a horizon, stay as they are.
    """
    if spec.horizon is None or spec.horizon <= REFERENCE:
        return solver
    prices = WALK if spec.id.startswith("Safety") and "Velocity-" in spec.id else {"bound": CEILING}
    return _scaled(solver, REFERENCE / spec.horizon, prices)


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
