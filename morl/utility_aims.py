"""One utility f(E[G]) as the aim of a run: which f, on what range of returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from tradeoff.engine.numbers import UNBOUNDED, Positive
from tradeoff.engine.training import TrainingConfig
from tradeoff.engine.unread import refuse_unread
from tradeoff.envs.protocol import EnvSpec
from tradeoff.morl.criteria import SER
from tradeoff.morl.orderings import generalised_gini, max_min, soft_min
from tradeoff.morl.scalarizers import SERScalarizer
from tradeoff.morl.utilities import Utility, harmonic, linear, proportional_fair, square_root

UtilityName = Literal[
    "linear", "square-root", "harmonic", "proportional-fair", "max-min", "soft-min", "generalised-gini"
]
SHIFTED = ("square-root", "harmonic", "proportional-fair")
Box = tuple[tuple[float, ...], tuple[float, ...]]
"""Least and largest returns, per channel."""


@dataclass(frozen=True, kw_only=True)
class UtilityAim(TrainingConfig):
    """What every run for one utility needs to know."""

    utility: UtilityName = "proportional-fair"  # f, of the expected discounted returns
    weights: tuple[float, ...] = (1.0,)  # of the utility, one for all objectives or one each
    shift: tuple[float, ...] = (0.0,)  # added to returns first where a root, a ratio or a logarithm needs it
    floor: tuple[float, ...] | None = field(
        default=None, metadata=UNBOUNDED
    )  # returns below count as these; None: they stop the run
    ceiling: tuple[float, ...] | None = field(default=None, metadata=UNBOUNDED)  # returns above count as these
    temperature: Positive = 1.0  # of soft-min [return]

    def __post_init__(self) -> None:
        TrainingConfig.__post_init__(self)
        if not any(self.weights):
            raise ValueError(f"weights must hold a number that is not 0, got {self.weights}")
        if self.utility not in SHIFTED:
            refuse_unread(self, ["shift"], f"utility {self.utility!r} is defined at all returns")
        if self.utility != "soft-min":
            refuse_unread(self, ["temperature"], f"utility {self.utility!r} has none", "take soft-min, or leave it out")
        self.function  # noqa: B018 (bad parameters are refused before anything starts)

    @property
    def function(self) -> Utility:
        """The utility. Raises ValueError for parameters that it does not take."""
        weights, shift = self.weights, self.shift
        if self.utility == "linear":
            return linear(weights)
        if self.utility == "max-min":
            return max_min(weights)
        if self.utility == "soft-min":
            return soft_min(self.temperature, weights)
        if self.utility == "generalised-gini":
            return generalised_gini(weights)
        if self.utility == "square-root":
            return square_root(weights, shift)
        return (harmonic if self.utility == "harmonic" else proportional_fair)(weights, shift)

    def scalarizer(self, m: int) -> SERScalarizer:
        """The slope of the utility as weights on m objectives."""
        for given in (self.weights, self.shift):
            _each(given, m)
        return SERScalarizer(SER(self.function), m, floor=None if self.floor is None else _each(self.floor, m))

    def box(self, m: int, k: int) -> Box | None:
        """Floor and ceiling on m objectives, none on k costs; None where neither was given."""
        if self.floor is None and self.ceiling is None:
            return None
        inf = float("inf")
        low, high = (_each(x or (end,), m) + (end,) * k for x, end in ((self.floor, -inf), (self.ceiling, inf)))
        return low, high

    def value(self, returns: Tensor, spec: EnvSpec) -> Tensor:
        """f of the returns, projected to floor and ceiling."""
        m = len(spec.objectives)
        box = self.box(m, 0)
        known = returns[:, :m]
        if box is not None:
            known = known.clamp(known.new_tensor(box[0]), known.new_tensor(box[1]))
        return self.function.value(known)


def _each(given: tuple[float, ...], m: int) -> tuple[float, ...]:
    if len(given) not in (1, m):
        raise ValueError(f"{len(given)} numbers were given for {m} objectives: {given}; give 1 or {m}")
    return given * m if len(given) == 1 else given
