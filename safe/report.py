"""What fresh episodes prove about a policy: bounds with a stated confidence on its costs.

Every bound holds for whatever distribution made the episodes, at any number of them, as long as they are independent
and their cost lies in [0, ceiling] where a ceiling is asked for. Costs are per episode, in their own unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.errors import TradeoffError

Array = NDArray[np.float64]
Method = Literal["hoeffding", "empirical-bernstein"]


class BadCosts(TradeoffError, ValueError):
    """Costs of episodes that no bound can be computed from."""


def hoeffding(costs: ArrayLike, confidence: float, ceiling: float) -> float:
    """Upper bound on the expected cost: mean + ceiling sqrt(log(1 / (1 - confidence)) / (2 n)).

    Source: Hoeffding 1963, theorem 2. costs: [n] in [0, ceiling].
    """
    x = _checked(costs, confidence, ceiling)
    return min(ceiling, float(x.mean()) + ceiling * sqrt(-log(1 - confidence) / (2 * len(x))))


def empirical_bernstein(costs: ArrayLike, confidence: float, ceiling: float) -> float:
    """Upper bound on the expected cost that is tighter where costs vary little; n >= 2.

    mean + sqrt(2 V L / n) + 7 ceiling L / (3 (n - 1)), V the unbiased variance, L = log(2 / (1 - confidence)).
    Source: Maurer and Pontil 2009, arXiv:0907.3740, theorem 4.
    """
    x = _checked(costs, confidence, ceiling)
    if len(x) < 2:
        raise BadCosts("empirical Bernstein needs a variance: give at least 2 episodes, or use 'hoeffding'")
    spread, n = log(2 / (1 - confidence)), len(x)
    bound = x.mean() + sqrt(2 * x.var(ddof=1) * spread / n) + 7 * ceiling * spread / (3 * (n - 1))
    return min(ceiling, float(bound))


def clopper_pearson(broken: int, episodes: int, confidence: float) -> float:
    """Upper bound on the probability of what happened `broken` times in `episodes`; exact, never too low.

    Source: Clopper and Pearson 1934, one-sided.
    """
    from scipy.stats import beta

    if not 0 <= broken <= episodes or episodes < 1:
        raise BadCosts(f"{broken} of {episodes} episodes; expected a count between 0 and the number of episodes")
    _check_confidence(confidence)
    return 1.0 if broken == episodes else float(beta.ppf(confidence, broken + 1, episodes - broken))


def conditional_value_at_risk(costs: ArrayLike, share: float) -> float:
    """Mean of the worst `share` of the costs (a fraction of an episode counts as such)."""
    x = np.sort(np.asarray(costs, dtype=np.float64))[::-1]
    weight = np.clip(share * len(x) - np.arange(len(x)), 0.0, 1.0)
    return float(weight @ x / weight.sum())


def cvar_bound(costs: ArrayLike, share: float, confidence: float, ceiling: float) -> float:
    """Upper bound on the expected cost of the worst `share` of all episodes.

    The empirical distribution is too low by at most e = sqrt(log(1 / (1 - confidence)) / (2 n)) anywhere, so the worst
    case moves the mass e of the cheapest episodes to the ceiling. Source: Thomas and Learned-Miller 2019 (ICML),
    theorem 3, from the inequality of Massart 1990; confidence >= 1/2.
    """
    x = _checked(costs, confidence, ceiling)
    if confidence < 0.5:
        raise BadCosts(f"this bound holds for confidences of at least 0.5, got {confidence}")
    if not 0 < share <= 1:
        raise BadCosts(f"share must lie in (0, 1], got {share}")
    lost = sqrt(-log(1 - confidence) / (2 * len(x)))
    if lost >= share:
        return ceiling
    worst = conditional_value_at_risk(x, share - lost)
    return (lost * ceiling + (share - lost) * worst) / share


@dataclass(frozen=True)
class CostReport:
    """What is known about one cost."""

    cost: str
    limit: float
    episodes: int
    mean: float
    mean_bound: float  # the expected cost is at most this
    broken: int  # episodes above the limit
    broken_bound: float  # at most this share of all episodes is above the limit
    cvar: float  # mean of the worst share of the episodes
    cvar_bound: float  # the expected cost of the worst share is at most this
    share: float  # which share that is
    confidence: float  # of each bound; with joint=True of all bounds of the report together
    method: Method

    @property
    def proven(self) -> bool:
        """Whether the expected cost is within the limit, at the stated confidence."""
        return self.mean_bound <= self.limit

    def __str__(self) -> str:
        percent = f"{100 * self.confidence:g} % confidence"
        return (
            f"{self.cost}: with {percent} the expected cost is at most {self.mean_bound:.4g} (mean {self.mean:.4g}, "
            f"limit {self.limit:g}, {self.method}), at most {100 * self.broken_bound:.3g} % of episodes break it "
            f"({self.broken} of {self.episodes} did, Clopper-Pearson), and the worst {100 * self.share:g} % cost "
            f"at most {self.cvar_bound:.4g} on average (CVaR {self.cvar:.4g}, DKW)"
        )


def safety_report(
    costs: Mapping[str, ArrayLike],
    limits: Mapping[str, float],
    ceilings: Mapping[str, float],
    *,
    confidence: float = 0.95,
    share: float = 0.05,
    method: Method = "empirical-bernstein",
    joint: bool = True,
) -> list[CostReport]:
    """Bounds on every limited cost from fresh episodes that took no part in training or choosing the policy.

    Args:
        costs: name -> cost of each episode [n].
        limits: name -> limit per episode.
        ceilings: name -> largest cost an episode can have (steps times the largest cost per step).
        share: worst share of episodes that CVaR looks at.
        joint: the confidence holds for all bounds together (each gets an equal part of the risk).

    Raises: BadCosts naming the cost and what is wrong with it.
    """
    missing = [name for name in limits if name not in costs or name not in ceilings]
    if missing:
        raise BadCosts(f"limits name {', '.join(missing)} without costs or ceiling; costs: {', '.join(costs)}")
    _check_confidence(confidence)
    level = 1 - (1 - confidence) / (3 * len(limits)) if joint else confidence
    mean_of = {"hoeffding": hoeffding, "empirical-bernstein": empirical_bernstein}[method]
    reports = []
    for name, limit in limits.items():
        try:
            x = _checked(costs[name], level, ceilings[name])
            broken = int((x > limit).sum())
            reports.append(
                CostReport(
                    name, limit, len(x), float(x.mean()), mean_of(x, level, ceilings[name]), broken,
                    clopper_pearson(broken, len(x), level), conditional_value_at_risk(x, share),
                    cvar_bound(x, share, level, ceilings[name]), share, confidence, method,
                )
            )  # fmt: skip
        except BadCosts as error:
            raise BadCosts(f"cost {name!r}: {error}") from None
    return reports


def broken_when_deterministic(
    stochastic: Sequence[float], deterministic: Sequence[float], limits: Mapping[str, float]
) -> list[str]:
    """A sentence for every limit that a policy keeps when it draws its actions and breaks when it plays the likeliest.

    stochastic, deterministic: expected costs in the order of the limits. The best policy within limits may have to mix.
    """
    rows = zip(limits.items(), stochastic, deterministic, strict=True)
    return [
        f"{name}: {drawn:.4g} <= {limit:g} with drawn actions, {fixed:.4g} with the likeliest; deploy it stochastic"
        for (name, limit), drawn, fixed in rows
        if drawn <= limit < fixed
    ]


def _checked(costs: ArrayLike, confidence: float, ceiling: float) -> Array:
    _check_confidence(confidence)
    x = np.asarray(costs, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise BadCosts(f"costs have shape {x.shape}; expected one number per episode, at least one")
    if not np.isfinite(x).all() or x.min() < 0 or x.max() > ceiling:
        raise BadCosts(
            f"costs range from {x.min():.6g} to {x.max():.6g}; expected numbers between 0 and the ceiling {ceiling:g}"
        )
    return x


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise BadCosts(f"confidence must lie in (0, 1), got {confidence}")
