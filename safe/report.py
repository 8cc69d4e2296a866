"""What fresh episodes prove about a policy and its limits: every bound with its name, and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite, log
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradeoff.safe.bounds import (
    BadCosts,
    check_level,
    clopper_pearson,
    conditional_value_at_risk,
    cvar_bound,
    mean_bound,
    quantile_bound,
)
from tradeoff.safe.constraints import Constraint

Array = NDArray[np.float64]
Quantity = Literal["share", "quantile", "mean", "cvar"]
Range = tuple[float, float]  # lowest and highest cost that an episode can have
ROUNDING = 1e-9  # share of a range by which sums may leave it


class Bound(NamedTuple):
    """One statement about a limit, in the unit of its cost."""

    quantity: Quantity  # episodes that break it; what all but the worst share cost; mean; mean of the worst share
    observed: float  # in the episodes
    bound: float  # of all episodes at most this; at least this where costs must exceed their limit; may be infinite
    method: str
    sentence: str


@dataclass(frozen=True)
class CostReport:
    """What is known about one limit."""

    limit: Constraint
    episodes: int
    broken: int  # episodes that break the limit
    range: Range | None  # that every episode's cost is known to lie in
    confidence: float  # of each bound by itself; of all bounds together where the risk was shared
    bounds: tuple[Bound, ...]  # share and quantile; with a range, mean and cvar

    def __getitem__(self, quantity: Quantity) -> Bound:
        """A bound by its quantity. Raises KeyError for mean and cvar without a range."""
        return {bound.quantity: bound for bound in self.bounds}[quantity]

    @property
    def proven(self) -> bool:
        """Whether the expected cost is within the limit, at the stated confidence."""
        return any(b.quantity == "mean" and _keeps(b.bound, self.limit) for b in self.bounds)

    def __str__(self) -> str:
        lines = [bound.sentence for bound in self.bounds]
        return "\n".join(lines if self.range else [*lines, without_range(self.limit.cost)])


def safety_report(
    costs: Mapping[str, ArrayLike],
    limits: Sequence[Constraint],
    ranges: Mapping[str, Range] | None = None,
    *,
    confidence: float = 0.95,
    share: float = 0.1,
    statements: int = 1,
) -> list[CostReport]:
    """Bounds on every limited cost from fresh episodes that took no part in training or choosing the policy.

    Args:
        costs: name -> cost of each episode [n].
        limits: per episode, whatever their scale says; costs must stay below ('<=') or above ('>=') them.
        ranges: name -> lowest and highest cost that an episode can have. Without one the mean cannot be bounded.
        share: worst share of episodes that the quantile leaves out and that CVaR looks at.
        statements: bounds that hold together with the stated confidence, each at an equal part of the risk (see
            `count`); 1: each bound holds by itself.

    Raises: BadCosts naming the cost and what is wrong with it.
    """
    check_level(confidence, share)
    reports = []
    for limit in limits:
        if limit.cost not in costs:
            raise BadCosts(f"limits name {limit.cost} without costs; costs: {', '.join(costs)}")
        try:
            known = (ranges or {}).get(limit.cost)
            reports.append(_report(costs[limit.cost], limit, known, confidence, share, statements))
        except BadCosts as error:
            raise BadCosts(f"cost {limit.cost!r}: {error}") from None
    return reports


def count(limits: Sequence[Constraint], ranges: Mapping[str, Range]) -> int:
    """Bounds that a report on these limits makes."""
    return sum(4 if limit.cost in ranges else 2 for limit in limits)


def without_range(cost: str) -> str:
    """What cannot be said of a cost of which no range is known."""
    return (
        f"no ceiling is known for {cost}: episodes say nothing certain about its mean and its worst share, since one "
        "episode in a million may cost any amount"
    )


def broken_when_deterministic(
    stochastic: Sequence[float], deterministic: Sequence[float], limits: Sequence[Constraint]
) -> list[str]:
    """A sentence for every limit that a policy keeps when it draws its actions and breaks when it plays the likeliest.

    stochastic, deterministic: measured values in the order of limits. The best policy within limits may have to mix.
    """
    return [
        f"{_both_ways(c, drawn, fixed)}; deploy it stochastic"
        for c, drawn, fixed in zip(limits, stochastic, deterministic, strict=True)
        if _keeps(drawn, c) and not _keeps(fixed, c)
    ]


def broken_when_stochastic(
    stochastic: Sequence[float], deterministic: Sequence[float], limits: Sequence[Constraint]
) -> list[str]:
    """The other way round: limits that a policy keeps by its likeliest actions and breaks when it draws them."""
    return [
        f"{_both_ways(c, drawn, fixed)}; deploy it deterministic"
        for c, drawn, fixed in zip(limits, stochastic, deterministic, strict=True)
        if _keeps(fixed, c) and not _keeps(drawn, c)
    ]


def _both_ways(limit: Constraint, drawn: float, fixed: float) -> str:
    asked = f"{limit.cost} {limit.sense} {limit.limits[0]:g}"
    return f"{asked}: {drawn:.4g} with drawn actions, {fixed:.4g} with the likeliest"


class _Facts(NamedTuple):
    """One limit turned so that less is better: losses [n] >= 0 that shall stay below `bar`."""

    limit: Constraint
    losses: Array
    bar: float
    origin: float  # loss = sign * cost - origin
    width: float  # largest loss; infinite where no range is known
    level: float  # confidence of one bound
    share: float
    words: str  # "with 95 % confidence"

    def cost(self, loss: float) -> float:
        """A loss as a cost in its own unit and direction."""
        return _oriented(self.limit)[0] * (loss + self.origin)

    @property
    def most(self) -> str:
        """Which way costs are bounded."""
        return "at most" if self.limit.sense == "<=" else "at least"


def _report(
    costs: ArrayLike, limit: Constraint, known: Range | None, confidence: float, share: float, statements: int
) -> CostReport:
    x = _in_range(costs, known)
    sign, bar = _oriented(limit)
    origin, width = (0.0, inf) if known is None else (min(sign * end for end in known), known[1] - known[0])
    losses = sign * x - origin
    level = 1 - (1 - confidence) / statements
    words = f"with {100 * confidence:g} % confidence"
    facts = _Facts(limit, losses, bar - origin, origin, width, level, share, words)
    broken = int((sign * x > bar).sum())
    bounds = [_share(facts, broken), _quantile(facts)]
    bounds += [] if known is None else [_mean(facts), _cvar(facts)]
    return CostReport(limit, len(x), broken, known, confidence, tuple(bounds))


def _share(facts: _Facts, broken: int) -> Bound:
    n, limit = len(facts.losses), facts.limit
    bound = clopper_pearson(broken, n, facts.level)
    sentence = (
        f"{facts.words} at most {100 * bound:.3g} % of episodes break {limit.cost} {limit.sense} {limit.limits[0]:g} "
        f"({broken} of {n} did; Clopper-Pearson)"
    )
    return Bound("share", broken / n, bound, "Clopper-Pearson", sentence)


def _quantile(facts: _Facts) -> Bound:
    name, others = facts.limit.cost, 100 * (1 - facts.share)
    loss = quantile_bound(facts.losses, facts.share, facts.level)
    seen = facts.cost(float(np.quantile(facts.losses, 1 - facts.share, method="inverted_cdf")))
    if isfinite(loss):
        bound = facts.cost(loss)
        said = f"{others:g} % of episodes have {name} {facts.most} {bound:.4g} (in the sample {seen:.4g}; Wilks)"
    else:
        bound = facts.cost(facts.width)
        needed = ceil(log(1 - facts.level) / log(1 - facts.share)) if facts.share < 1 else 1
        said = f"nothing is proven about {others:g} % of episodes: it takes {needed} episodes (Wilks)"
    return Bound("quantile", seen, bound, "Wilks", f"{facts.words} {said}")


def _mean(facts: _Facts) -> Bound:
    loss, method = mean_bound(facts.losses, facts.level, facts.width)
    bound, seen, limit = facts.cost(loss), facts.cost(float(facts.losses.mean())), facts.limit
    verdict = "kept" if _keeps(bound, limit) else "not proven to be kept"
    sentence = (
        f"{facts.words} the expected {limit.cost} is {facts.most} {bound:.4g}, so the limit {limit.limits[0]:g} is "
        f"{verdict} on average (mean {seen:.4g}; {method}, the smaller of two at half the risk each)"
    )
    return Bound("mean", seen, bound, method, sentence)


def _cvar(facts: _Facts) -> Bound:
    loss, method = cvar_bound(facts.losses, facts.share, facts.level, facts.width, facts.bar)
    bound, seen = facts.cost(loss), facts.cost(conditional_value_at_risk(facts.losses, facts.share))
    empty = ", which is all that an episode can cost: more episodes would say more" if loss >= facts.width > 0 else ""
    sentence = (
        f"{facts.words} the worst {100 * facts.share:g} % of episodes have {facts.limit.cost} {facts.most} {bound:.4g} "
        f"on average{empty} (CVaR of the sample {seen:.4g}; {method}, the smaller of two at half the risk each)"
    )
    return Bound("cvar", seen, bound, method, sentence)


def _in_range(costs: ArrayLike, known: Range | None) -> Array:
    x = np.asarray(costs, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise BadCosts(f"costs have shape {x.shape}; expected one number per episode, at least one")
    low, high = (-inf, inf) if known is None else known
    if not low <= high:
        raise BadCosts(f"the range {low:g} to {high:g} is empty")
    slack = 0.0 if known is None else ROUNDING * (high - low)
    if not np.isfinite(x).all() or x.min() < low - slack or x.max() > high + slack:
        raise BadCosts(
            f"costs range from {x.min():.6g} to {x.max():.6g}; expected finite numbers within {low:g} and {high:g}"
        )
    return np.clip(x, low, high)


def _oriented(limit: Constraint) -> tuple[float, float]:
    """Sign and limit, so that sign * cost shall stay below it."""
    sign = 1.0 if limit.sense == "<=" else -1.0
    return sign, sign * limit.limits[0]


def _keeps(cost: float, limit: Constraint) -> bool:
    sign, bar = _oriented(limit)
    return sign * cost <= bar
