"""Dual rules: how prices follow violations; and the scalarizer that joins them to any rule for the objectives.

A rule is pure: `step(state, violation)` answers the next state, `price(state, violation)` the prices [P, j] in force.
State is tensors only. Violations that are NaN (no episode has ended) move nothing. One unit of rate is a change of
price per unit of violation and iteration; every gain may be one number or one per constraint.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Any, Protocol

import torch
from torch import Tensor

from tradeoff.engine.numbers import Range
from tradeoff.engine.scalarizers import Scalarizer
from tradeoff.engine.unread import refuse_unread
from tradeoff.envs.errors import NumericalTrouble
from tradeoff.safe.constraints import BadLimit, Constraints
from tradeoff.safe.measuring import SafetyWarning

State = dict[str, Tensor]
Gain = Annotated[float | tuple[float, ...], Range(0)]


class DualRule(Protocol):
    """What a rule for multipliers must offer."""

    def init(self, policies: int, constraints: int) -> State:
        """Fresh state; `state["multiplier"]` [P, j] is the multiplier proper."""
        ...

    def step(self, state: State, violation: Tensor) -> State:
        """The state after a violation [P, j] was measured, without NaN."""
        ...

    def price(self, state: State, violation: Tensor) -> Tensor:
        """Prices [P, j] >= 0 to use now, given the latest violation [P, j], without NaN."""
        ...

    @property
    def bound(self) -> float:
        """Ceiling of the multipliers."""
        ...


@dataclass(frozen=True, kw_only=True)
class PID:
    """price = [kp v + I + kd max(0, v_t - v_{t - delay})]_+ with I <- [I + ki v]_+, all of the smoothed violation v.

    Source: Stooke et al. 2020, arXiv:2007.03964, algorithm 2. With kp = kd = 0 it is projected dual ascent, with kd = 0
    the augmented Lagrangian.
    """

    kp: Gain = 0.0  # proportional gain [price / violation]
    ki: Gain = 0.05  # integral gain, the rate of dual ascent [price / violation]
    kd: Gain = 0.0  # derivative gain, on growing costs only [price / violation]
    delay: int = 1  # iterations over which the derivative is taken
    smooth: float = 0.0  # weight of the past in the averages that kp and kd see, in [0, 1)
    start: Gain = 0.0  # first multiplier
    bound: float = 1e3  # ceiling of multiplier and price

    def __post_init__(self) -> None:
        check_gains(self, ("kp", "ki", "kd", "start"))
        if self.delay < 1:
            raise ValueError(f"delay must be at least 1 iteration, got {self.delay}")
        if not 0 <= self.smooth < 1:
            raise ValueError(f"smooth must lie in [0, 1), got {self.smooth}")

    def refuse_idle(self) -> None:
        """Raise ValueError for a delay or smoothing that gains of 0 leave without effect."""
        if vanishes(self.kd):
            refuse_unread(self, ["delay"], "kd is 0, and nothing else looks back so far", "give kd, or leave it out")
            if vanishes(self.kp):
                refuse_unread(self, ["smooth"], "kp and kd are 0", "give one of them, or leave it out")

    def init(self, policies: int, constraints: int) -> State:
        """See DualRule.init."""
        start = row(self.start, constraints).expand(policies, constraints).clone()
        nan = torch.full((self.delay, policies, constraints), torch.nan, dtype=start.dtype)
        return {"multiplier": start, "past": nan}

    def _smoothed(self, state: State, violation: Tensor) -> Tensor:
        last = state["past"][-1]
        return torch.where(last.isnan(), violation, self.smooth * last + (1 - self.smooth) * violation)

    def step(self, state: State, violation: Tensor) -> State:
        """See DualRule.step."""
        moved = state["multiplier"] + per_limit(self.ki, violation) * violation
        seen = self._smoothed(state, violation).unsqueeze(0)
        return {"multiplier": moved.clamp(0.0, self.bound), "past": torch.cat([state["past"][1:], seen])}

    def price(self, state: State, violation: Tensor) -> Tensor:
        """See DualRule.price."""
        seen = self._smoothed(state, violation)
        growth = (seen - state["past"][0]).clamp(min=0.0).nan_to_num(0.0)
        total = state["multiplier"] + per_limit(self.kp, violation) * seen + per_limit(self.kd, violation) * growth
        return total.clamp(0.0, self.bound)


def projected_ascent(rate: Gain = 0.05, *, start: Gain = 0.0, bound: float = 1e3) -> PID:
    """multiplier <- [multiplier + rate * violation]_+, the plain Lagrangian."""
    return PID(ki=rate, start=start, bound=bound)


def augmented(penalty: Gain = 1.0, rate: Gain | None = None, *, start: Gain = 0.0, bound: float = 1e3) -> PID:
    """Augmented Lagrangian: price = [multiplier + penalty * violation]_+, multiplier moved by `rate` (None: penalty).

    Source: Rockafellar 1973; the price equals the rectified multiplier of Wu et al. 2024, arXiv:2401.14758.
    """
    return PID(kp=penalty, ki=penalty if rate is None else rate, start=start, bound=bound)


@dataclass(frozen=True, kw_only=True)
class OptimisticAscent:
    """multiplier <- [multiplier + rate * (v_t + strength (v_t - v_{t-1}))]_+: the next violation is guessed.

    Strength 1 is 2 v_t - v_{t-1}; more of it damps slow cycles, which small rates make. The first step takes v_0 for
    the past. Source: Moskovitz et al. 2023, arXiv:2302.01275 (ReLOAD); for other strengths Mokhtari et al. 2020,
    arXiv:1901.08511.
    """

    rate: Gain = 0.05  # [price / violation]
    strength: Gain = 1.0  # multiples of the last change that are added
    start: Gain = 0.0  # first multiplier
    bound: float = 1e3  # ceiling of the multiplier

    def __post_init__(self) -> None:
        check_gains(self, ("rate", "strength", "start"))

    def init(self, policies: int, constraints: int) -> State:
        """See DualRule.init."""
        start = row(self.start, constraints).expand(policies, constraints).clone()
        return {"multiplier": start, "past": torch.full_like(start, torch.nan)}

    def step(self, state: State, violation: Tensor) -> State:
        """See DualRule.step."""
        past = torch.where(state["past"].isnan(), violation, state["past"])
        guess = violation + per_limit(self.strength, violation) * (violation - past)
        moved = state["multiplier"] + per_limit(self.rate, violation) * guess
        return {"multiplier": moved.clamp(0.0, self.bound), "past": violation}

    def price(self, state: State, violation: Tensor) -> Tensor:
        """See DualRule.price."""
        return state["multiplier"]


@dataclass
class Lagrangian:
    """Scalarizer: the weights of `base`, minus the price of every cost that is limited.

    base: any scalarizer, so that limits join any rule for the objectives. Raises NumericalTrouble when a multiplier is
    no longer finite, warns when it has reached the rule's bound: the limit is then out of reach, or the rate too large.
    """

    base: Scalarizer
    constraints: Constraints
    rule: DualRule
    policies: int
    state: State = field(init=False)
    warned: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        if self.constraints.limit.shape[0] not in (1, self.policies):
            raise BadLimit(f"{self.constraints.limit.shape[0]} limits per constraint for {self.policies} policies")
        device = self.constraints.limit.device
        fresh = self.rule.init(self.policies, len(self.constraints))
        calm = torch.zeros_like(fresh["multiplier"])
        self.rule.price(self.rule.step(fresh, calm), calm)  # gains that do not fit the limits are refused here
        self.state = {name: x.to(device) for name, x in fresh.items()}

    @property
    def multiplier(self) -> Tensor:
        """[P, j]."""
        return self.state["multiplier"]

    def weights(self, returns: Tensor) -> Tensor:
        """See Scalarizer.weights."""
        price = self.price(returns)
        self._check_finite("price", price)
        return self.constraints.weigh(self.base.weights(returns), price)

    def price(self, returns: Tensor) -> Tensor:
        """Prices [P, j] now, for measured returns [P, m + k]."""
        violation = self.constraints.violation(returns).double()
        return self.rule.price(self.state, torch.where(violation.isnan(), 0.0, violation))

    def update(self, returns: Tensor) -> None:
        """See Scalarizer.update."""
        self.base.update(returns)
        violation = self.constraints.violation(returns).double()
        blind = violation.isnan()
        moved = self.rule.step(self.state, torch.where(blind, 0.0, violation))
        self.state = {name: torch.where(blind, self.state[name], new) for name, new in moved.items()}
        self._check()

    def _check(self) -> None:
        value = self.multiplier
        self._check_finite("multiplier", value)
        if not self.warned and (value >= self.rule.bound).any():
            p, i = (value >= self.rule.bound).nonzero()[0].tolist()
            self.warned = True
            warnings.warn(
                f"the multiplier of {self.constraints.names()[i]} has reached its bound {self.rule.bound:g} for policy "
                f"{p}: the limit may be out of reach, or the rate too large",
                SafetyWarning,
                stacklevel=3,
            )

    def _check_finite(self, what: str, value: Tensor) -> None:
        """Raise NumericalTrouble for what is no number of 32 bits, in which weights are kept."""
        finite = torch.isfinite(value.float())
        if not finite.all():
            p, i = (~finite).nonzero()[0].tolist()
            raise NumericalTrouble(
                f"the {what} of {self.constraints.names()[i]} is {value[p, i].item():.4g} for policy {p}; train with a "
                "smaller rate, penalty or bound"
            )

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return {"base": self.base.state_dict(), "dual": dict(self.state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        self.base.load_state_dict(state["base"])
        self.state = dict(state["dual"])


def prices(scalarizer: Scalarizer, returns: Tensor) -> Tensor | None:
    """Prices [P, j] that a scalarizer now puts on its limits, for measured returns [P, m + k]; None: it knows none.

    Those of a scalarizer that another one extrapolates are its own.
    """
    rule: Any = getattr(scalarizer, "inner", scalarizer)
    return rule.price(returns) if hasattr(rule, "price") else None


def per_limit(gain: Gain, violation: Tensor) -> Tensor:
    """A gain as float64 [j], on the device of the violations [P, j] that it multiplies."""
    return row(gain, violation.shape[1]).to(violation.device)


def row(gain: Gain, constraints: int) -> Tensor:
    """A gain as float64 [j]."""
    values = gain if isinstance(gain, tuple) else (gain,) * constraints
    if len(values) != constraints:
        given = ", ".join(f"{x:g}" for x in values)
        raise ValueError(f"{len(values)} gains for {constraints} constraints ({given}); give one, or one each")
    return torch.tensor(values, dtype=torch.float64)


def vanishes(gain: Gain) -> bool:
    """Whether a gain is 0 for every limit."""
    return not any(gain if isinstance(gain, tuple) else (gain,))


def check_gains(rule: Any, names: tuple[str, ...]) -> None:
    """Raise ValueError for a gain that is negative or not finite, or a bound that is not positive."""
    for name in names:
        gain = getattr(rule, name)
        if not all(0 <= value < inf for value in (gain if isinstance(gain, tuple) else (gain,))):
            raise ValueError(f"{name} must not be negative and must be finite, got {gain}")
    if not rule.bound > 0:
        raise ValueError(f"bound must be positive, got {rule.bound}")
