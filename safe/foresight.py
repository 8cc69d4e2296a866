"""Limits as critics see them, for methods that price costs by what critics expect and wait for no episode to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tradeoff.envs.protocol import EnvSpec
from tradeoff.safe.constraints import BadLimit, Constraint, Scale
from tradeoff.safe.duals import Gain, State, check_gains, per_limit, row

BETA1, BETA2 = 0.9, 0.999  # of Adam


def mean_steps(discount: float, horizon: int | None) -> float:
    """Sum of discount^t over the steps of an episode, t from 0; infinite where nothing ends it."""
    if discount == 1.0:
        return float("inf") if horizon is None else float(horizon)
    return (1 - (0.0 if horizon is None else discount**horizon)) / (1 - discount)


def summed_steps(scale: Scale, discount: float, horizon: int | None) -> float:
    """How many steps, weighed as their costs are, a measured value of a scale sums over in a whole episode."""
    return {
        "episodic": mean_steps(1.0, horizon),
        "discounted": mean_steps(discount, horizon),
        "per-step": mean_steps(discount, horizon) * (1 - discount),
        "average": 1.0,
    }[scale]


def foreseen(given: Sequence[Constraint], spec: EnvSpec, *, discount: float, gamma: float) -> tuple[Constraint, ...]:
    """The same limits in the unit of critics with discount gamma, averaged over the steps that a replay holds.

    A limit becomes the cost per step that it allows when costs are paid evenly, times 1 / (1 - gamma): values at
    replayed steps look ahead for ever, wherever in its episode a step lies. Source: Wu et al. 2024, arXiv:2401.14758,
    who write 1 - gamma^T in place of 1. Raises BadLimit for an episodic limit where nothing ends an episode, and for
    gamma 1.
    """
    if gamma >= 1:
        raise BadLimit(f"critics that price costs need a discount below 1, got {gamma}")
    return tuple(_foreseen(c, spec, discount, gamma) for c in given)


def _foreseen(constraint: Constraint, spec: EnvSpec, discount: float, gamma: float) -> Constraint:
    steps = summed_steps(constraint.scale, discount, spec.horizon)
    if steps == float("inf"):
        raise BadLimit(
            f"{constraint.cost!r} is limited per episode, and no horizon ends one in {spec.id}; set a horizon, or use "
            "the scale 'average'"
        )
    limits = tuple(x / steps / (1 - gamma) for x in constraint.limits)
    return replace(constraint, limit=limits if isinstance(constraint.limit, tuple) else limits[0], scale="discounted")


@dataclass(frozen=True, kw_only=True)
class LogAscent:
    """Adam on the logarithm of the multiplier, and price = [multiplier + penalty * violation]_+.

    The size of violations does not matter to Adam, only their sign and how long it lasts; the slope in the logarithm is
    multiplier * violation. Source: Wu et al. 2024, arXiv:2401.14758, whose multiplier less its rectification is this
    price.
    """

    rate: Gain = 0.012  # learning rate of the logarithm, per iteration
    penalty: Gain = 10.0  # price of the latest violation, on top of the multiplier [price / violation]
    start: Gain = 0.6931  # first multiplier; above 0
    bound: float = 1e3  # ceiling of multiplier and price

    def __post_init__(self) -> None:
        check_gains(self, ("rate", "penalty", "start"))
        if not all(x > 0 for x in (self.start if isinstance(self.start, tuple) else (self.start,))):
            raise ValueError(f"start must be positive: the logarithm of {self.start} moves nowhere")

    def init(self, policies: int, constraints: int) -> State:
        """See DualRule.init."""
        start = row(self.start, constraints).expand(policies, constraints).clone()
        return {"multiplier": start, **{name: torch.zeros_like(start) for name in ("m", "v", "steps")}}

    def step(self, state: State, violation: Tensor) -> State:
        """See DualRule.step."""
        slope, steps = state["multiplier"] * violation, state["steps"] + 1
        m, v = state["m"].lerp(slope, 1 - BETA1), state["v"].lerp(slope.square(), 1 - BETA2)
        length = (v / (1 - BETA2**steps)).sqrt()
        unit = torch.where(length > 0, m / (1 - BETA1**steps) / length, 0.0)
        moved = state["multiplier"] * (per_limit(self.rate, violation) * unit).exp()
        return {"multiplier": moved.clamp(max=self.bound), "m": m, "v": v, "steps": steps}

    def price(self, state: State, violation: Tensor) -> Tensor:
        """See DualRule.price."""
        total = state["multiplier"] + per_limit(self.penalty, violation) * violation
        return total.clamp(0.0, self.bound)
