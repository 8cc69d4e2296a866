"""Which dual rule prices follow, for solvers that leave that open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tradeoff.engine.numbers import Positive
from tradeoff.engine.scalarizers import Scalarizer
from tradeoff.engine.unread import refuse_unread
from tradeoff.safe.duals import PID, DualRule, Gain, Lagrangian, OptimisticAscent
from tradeoff.safe.optimism import OptimisticWeights


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Settings of a dual rule that is chosen by name.

    "pid" is plain ascent without penalty and kd, the augmented Lagrangian without kd; "optimistic" extrapolates
    multipliers and weights, as ReLOAD does.
    """

    rule: Literal["pid", "optimistic"] = "pid"  # how prices follow violations
    rate: Gain = 0.05  # of dual ascent [price / violation]
    penalty: Gain = 0.0  # of "pid": price of the latest violation, on top of the multiplier [price / violation]
    kd: Gain = 0.0  # of "pid": price of a cost's growth since the last iteration, likewise
    strength: Gain = 1.0  # of "optimistic": multiples of the violation's last change that are added
    bound: Positive = 1e3  # ceiling of the multipliers

    def __post_init__(self) -> None:
        unread = ("penalty", "kd") if self.rule == "optimistic" else ("strength",)
        refuse_unread(self, unread, f"rule {self.rule!r} does not read it", "choose the other rule, or leave it out")

    def priced(self, lagrangian: Callable[[DualRule], Lagrangian]) -> Scalarizer:
        """The scalarizer of these settings, from what joins a rule to the limits."""
        if self.rule == "optimistic":
            ascent = OptimisticAscent(rate=self.rate, strength=self.strength, bound=self.bound)
            return OptimisticWeights(lagrangian(ascent))
        return lagrangian(PID(kp=self.penalty, ki=self.rate, kd=self.kd, bound=self.bound))
