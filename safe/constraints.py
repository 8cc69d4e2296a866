"""Limits on channels: what is measured, against what, and how a price becomes a weight.

A constraint is `measured <= limit` (or `>=`). Violation is positive where it is broken, in the channel's own unit; a
price is >= 0 and says how many units of objective one unit of violation is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal, get_args

import torch
from torch import Tensor

from tradeoff.envs.errors import TradeoffError, UnknownName
from tradeoff.envs.protocol import EnvSpec

Scale = Literal["episodic", "discounted", "average", "per-step"]
Sense = Literal["<=", ">="]


class BadLimit(TradeoffError, ValueError):
    """A limit that cannot be kept or read: not a number, of an unknown scale, or at odds with another one."""


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """One limit on one channel.

    Scales: "episodic" is the mean undiscounted sum per episode; "discounted" the mean discounted sum per episode;
    "per-step" that sum times (1 - discount), a weighted mean per step; "average" the mean over all steps that were
    made, which needs no episode to end.
    """

    cost: str  # name of a cost, or of an objective
    limit: float | tuple[float, ...]  # one for all policies, or one each, in the unit of the scale
    scale: Scale = "episodic"
    sense: Sense = "<="

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            raise BadLimit(f"scale of {self.cost!r} is {self.scale!r}; expected one of {', '.join(get_args(Scale))}")
        if self.sense not in get_args(Sense):
            raise BadLimit(f"sense of {self.cost!r} is {self.sense!r}; expected '<=' or '>='")
        if not self.limits or not all(isfinite(limit) for limit in self.limits):
            raise BadLimit(f"the limit of {self.cost!r} is {self.limit}; expected a finite number, or one per policy")

    @property
    def limits(self) -> tuple[float, ...]:
        """The limit, as one number or one per policy."""
        return self.limit if isinstance(self.limit, tuple) else (float(self.limit),)

    @property
    def written(self) -> str:
        """As a person writes it."""
        return f"{self.cost} {self.sense} {'/'.join(f'{x:g}' for x in self.limits)}"

    def tightened(self, margin: float) -> Constraint:
        """The same with a share of the size of each limit kept in reserve."""
        inwards = -margin if self.sense == "<=" else margin
        return replace(self, limit=tuple(limit + inwards * abs(limit) for limit in self.limits)) if margin else self


@dataclass(frozen=True)
class Constraints:
    """j constraints made ready for an environment of m + k channels."""

    given: tuple[Constraint, ...]
    channels: tuple[str, ...]  # m objectives, then k costs
    objectives: int  # m
    discount: float  # of "discounted" and "per-step", and of channels without a limit
    index: Tensor  # [j] channel of each constraint
    sign: Tensor  # [j] +1 for "<=", -1 for ">="
    limit: Tensor  # [1, j], or [P, j] where policies have limits of their own

    def __len__(self) -> int:
        return len(self.given)

    def measured(self, returns: Tensor) -> Tensor:
        """The constrained channels [P, j] of returns [P, m + k]."""
        return returns[:, self.index]

    def violation(self, returns: Tensor) -> Tensor:
        """[P, j], positive where broken, in units of the measured value; NaN where nothing was measured yet."""
        return self.sign.to(returns.dtype) * (self.measured(returns) - self.limit.to(returns.dtype))

    def weigh(self, base: Tensor, price: Tensor) -> Tensor:
        """Weights [P, m + k]: base minus the prices [P, j] of what must stay below, plus those of what must exceed."""
        return base.index_add(1, self.index, (-self.sign * price).to(base.dtype))

    def names(self) -> tuple[str, ...]:
        """Each constraint as a person writes it."""
        return tuple(c.written for c in self.given)


def bind(
    given: Sequence[Constraint], spec: EnvSpec, *, discount: float, device: torch.device | str = "cpu"
) -> Constraints:
    """Match constraints with the channels of an environment.

    Raises: UnknownName for a cost that the environment does not have; BadLimit for none at all, for two scales or two
    limits of one sense on a channel, for limits per policy of different lengths, and for "per-step" without a discount
    below 1.
    """
    channels = (*spec.objectives, *spec.costs)
    for constraint in given:
        if constraint.cost not in channels:
            raise UnknownName("cost", constraint.cost, channels, f"{spec.id} has {', '.join(channels)}")
    if not given:
        raise BadLimit(f"no constraint is given; {spec.id} has the costs {', '.join(spec.costs) or '(none)'}")
    _check_scales(given, discount)
    return Constraints(
        tuple(given),
        channels,
        len(spec.objectives),
        discount,
        torch.tensor([channels.index(c.cost) for c in given], device=device),
        torch.tensor([1.0 if c.sense == "<=" else -1.0 for c in given], dtype=torch.float64, device=device),
        _limits(given).to(device),
    )


def default_constraints(spec: EnvSpec) -> tuple[Constraint, ...]:
    """The limits per episode that an environment states itself."""
    return tuple(Constraint(cost=c, limit=x) for c, x in zip(spec.costs, spec.limits, strict=False))


def discounted_limit(limit: float, discount: float, horizon: int) -> float:
    """A limit per episode of `horizon` steps as a discounted one, for a cost that is paid evenly.

    limit * (1 - discount^T) / ((1 - discount) T). Source: Wu et al. 2024, arXiv:2401.14758, in their Safety-Gym tasks.
    """
    return limit if discount == 1.0 else limit * (1 - discount**horizon) / ((1 - discount) * horizon)


def _limits(given: Sequence[Constraint]) -> Tensor:
    policies = max(len(c.limits) for c in given)
    for c in given:
        if len(c.limits) not in (1, policies):
            raise BadLimit(f"{c.cost!r} has {len(c.limits)} limits, another {policies}; give 1 or {policies}")
    columns = [torch.tensor(c.limits, dtype=torch.float64).expand(policies) for c in given]
    return torch.stack(columns, -1)


def _check_scales(given: Sequence[Constraint], discount: float) -> None:
    scales: dict[str, Scale] = {}
    asked: dict[tuple[str, str], Constraint] = {}
    for c in given:
        twin = asked.setdefault((c.cost, c.sense), c)
        if twin is not c:
            raise BadLimit(f"{c.cost!r} has two limits, {twin.written} and {c.written}; give one")
        if scales.setdefault(c.cost, c.scale) != c.scale:
            raise BadLimit(f"{c.cost!r} is limited as {scales[c.cost]} and as {c.scale}; a channel has one scale")
        if c.scale == "per-step" and discount >= 1:
            raise BadLimit(f"{c.cost!r} is limited per step, which needs a discount below 1, got {discount}")
