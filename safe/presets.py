"""Settings that fit an environment: what its limits are sums of, and gains of dual rules for sums so long."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from math import inf
from typing import Any

from tradeoff.engine.learner import LearnerConfig
from tradeoff.envs.protocol import EnvSpec
from tradeoff.safe.constraints import Scale
from tradeoff.safe.foresight import summed_steps

REFERENCE = 20  # steps that a measured value sums over where the solvers' own gains are right
GAINS = ("rate", "penalty", "kp", "ki", "kd")
CEILING = 10.0  # of prices, where episodes are long: rewards and costs of a step are mostly of one size
WALK = {"start": 1.0, "bound": 4.0}
"""First price and ceiling of bodies for which a step too fast costs 1. From price 1 on a body paid 1 to 3 per step
never learns to run first, and a ceiling near that pay leaves it no reason to lie down.
"""

SLOWER = 0.1
"""Share of the gains where goals lie among hazards: whoever cannot reach goals yet pays most, and at a price above a
tenth learns to stand still. For the same reason prices stay below QUARTER_OF_A_GOAL.
"""
QUARTER_OF_A_GOAL = 0.5  # a goal pays 1, and about as much for the way there
GOALS = ("SafetyPointGoal", "SafetyCarGoal")
KINDS: dict[tuple[str, ...], tuple[float, dict[str, float]]] = {
    ("SafetyHalfCheetahVel", "SafetyAntVel", "SafetyHopperVel"): (1.0, WALK),
    GOALS: (SLOWER, {"bound": QUARTER_OF_A_GOAL}),
}
"""How ids begin: share of the gains, and prices."""


ROUNDS: dict[str, Any] = {
    "repeat": 4,
    "margin": 0.5,
    "learner": LearnerConfig(
        rollout_steps=16, environments=64, epochs=10, minibatches=8, learning_rate=5e-4, gamma=0.95, gae_lambda=0.8,
        entropy=0.04, anneal=True, hidden=(128, 128), spread=0.6,
    ),
}  # fmt: skip
"""Goals among hazards, learnt on rollouts: a wheel that gets another chance action every 0.04 s stays where it is; four
times the same one drives, and a hazard is then crossed in ten decisions, not forty. Costs are rare and large, so most
of what an advantage varies by is their noise: many layouts at a time and a short memory of the estimates keep it down,
a bonus for entropy keeps the policy from settling before it is heard, and a reserve takes up what is left.
"""


def rounds_for(
    spec: EnvSpec, scale: Scale = "episodic", discount: float = 1.0, repeat: int | None = None
) -> dict[str, Any]:
    """How often actions are repeated, with a learner and a reserve for it, where that is recommended.

    repeat: what was asked for.
    """
    apart = scale != "episodic" or discount != 1.0 or repeat == 1
    return {} if apart or not spec.id.startswith(GOALS) else ROUNDS


def limits_for(spec: EnvSpec) -> dict[str, Any]:
    """The limits that an environment states, with their scale, where they are not sums per episode."""
    if not spec.id.endswith("SpeedBudget-v0"):
        return {}
    limit = tuple(f"{cost}<={most}" for cost, most in zip(spec.costs, spec.limits, strict=True))
    return {"limit": limit, "scale": "discounted", "discount": spec.discount}


def gains_for(solver: Any, spec: EnvSpec, scale: Scale = "episodic", discount: float = 1.0) -> Any:
    """The solver with gains divided by how many times more steps than REFERENCE a measured value sums over.

    A gain is a price per violation, and violations grow with the steps that are summed: all of an episode, or the
    1 / (1 - discount) that a discounted sum looks ahead; a price is paid per step. Solvers without dual gains, those
    whose prices follow critics, which have a discount of their own, and sums without end stay as they are.
    """
    steps = summed_steps(scale, discount, spec.horizon)
    if getattr(solver, "by_critics", False) or not REFERENCE < steps < inf:
        return solver
    known = (how for begins, how in KINDS.items() if spec.id.startswith(begins))
    share, prices = next(known, (1.0, {"bound": CEILING}))
    return _scaled(solver, share * REFERENCE / steps, prices)


def _times(share: float, gain: float) -> float:
    """Their product as a person writes it: 0.2 x 0.05 is 0.01, not 0.010000000000000002."""
    return float(f"{share * gain:.12g}")


def _scaled(settings: Any, share: float, prices: dict[str, float]) -> Any:
    changes: dict[str, Any] = {}
    for f in fields(settings):
        value = getattr(settings, f.name)
        if f.name in GAINS and f.type == "Gain":
            changes[f.name] = (
                tuple(_times(share, x) for x in value) if isinstance(value, tuple) else _times(share, value)
            )
        elif is_dataclass(value) and any(inner.name == "ki" for inner in fields(value)):
            changes[f.name] = _scaled(value, share, prices)
    if changes:
        for name in prices.keys() & {f.name for f in fields(settings)}:
            own = getattr(settings, name)
            changes[name] = own or prices[name] if name == "start" else min(own, prices[name])
    return replace(settings, **changes) if changes else settings
