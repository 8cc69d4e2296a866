"""Scalarizers without multipliers: switch between reward and cost, or lean on a barrier."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from tradeoff.engine.scalarizers import Scalarizer
from tradeoff.safe.constraints import Constraints


@dataclass
class Memoryless:
    """The part of a scalarizer that only its base remembers."""

    base: Scalarizer
    constraints: Constraints

    def update(self, returns: Tensor) -> None:
        """See Scalarizer.update."""
        self.base.update(returns)

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return self.base.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        self.base.load_state_dict(state)


@dataclass
class Switch(Memoryless):
    """CRPO: climb the base while no violation exceeds the tolerance, else descend the worst broken cost alone.

    "Worst" is the largest violation in multiples of `unit`. Started where the limits are broken, it is a recovery.
    Source: Xu, Liang and Lan 2021, arXiv:2011.05869, algorithm 1.
    """

    tolerance: float = 0.0  # violation that is let pass [unit]
    unit: tuple[float, ...] = ()  # one per constraint, in the measured value's unit; empty: 1 each

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < inf:
            raise ValueError(f"tolerance must be at least 0 and finite, got {self.tolerance}")
        if len(self.unit) not in (0, len(self.constraints)) or not all(0 < unit < inf for unit in self.unit):
            raise ValueError(f"unit must be positive, one per constraint ({len(self.constraints)}), got {self.unit}")

    def weights(self, returns: Tensor) -> Tensor:
        """See Scalarizer.weights."""
        base = self.base.weights(returns)
        violation = self.constraints.violation(returns)
        violation = torch.where(violation.isnan(), 0.0, violation)
        if self.unit:
            violation = violation / torch.tensor(self.unit, dtype=violation.dtype, device=violation.device)
        worst, which = violation.max(1, keepdim=True)
        price = torch.zeros_like(violation).scatter_(1, which, 1.0)
        return torch.where(worst > self.tolerance, self.constraints.weigh(torch.zeros_like(base), price), base)


@dataclass
class LogBarrier(Memoryless):
    """IPO: gradient of base + (1 / t) sum_i log(slack_i), slack = minus violation.

    Where the slack falls under 1 / (t * bound) the logarithm goes on as its tangent of slope `bound`, so that a broken
    limit pulls back with a finite price. Source: Liu, Ding and Liu 2020, arXiv:1910.09615, eq. 9.
    """

    sharpness: float = 20.0  # t: the barrier keeps the optimum j / t away from the limits [1 / objective]
    bound: float = 10.0  # largest price [objective / violation]

    def __post_init__(self) -> None:
        if not self.sharpness > 0 or not self.bound > 0:
            raise ValueError(f"sharpness {self.sharpness} and bound {self.bound} must be positive")

    def weights(self, returns: Tensor) -> Tensor:
        """See Scalarizer.weights."""
        return self.constraints.weigh(self.base.weights(returns), self.price(returns))

    def price(self, returns: Tensor) -> Tensor:
        """Slope of the barrier [P, j] at measured returns [P, m + k]."""
        slack = -self.constraints.violation(returns)
        return (1 / (self.sharpness * slack.clamp_min(1 / (self.sharpness * self.bound)))).nan_to_num(0.0)
