"""Bounds with a stated confidence on the costs of a policy, from fresh episodes: the formulas.

Every bound holds for whatever distribution made the episodes, at any number of them, as long as they are independent
and, where a range is asked for, every episode's cost lies in it. Costs are per episode, in their own unit.
"""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradeoff.envs.errors import TradeoffError

Array = NDArray[np.float64]


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
        raise BadCosts("empirical Bernstein needs a variance: give at least 2 episodes")
    spread, n = log(2 / (1 - confidence)), len(x)
    bound = x.mean() + sqrt(2 * x.var(ddof=1) * spread / n) + 7 * ceiling * spread / (3 * (n - 1))
    return min(ceiling, float(bound))


def mean_bound(costs: ArrayLike, confidence: float, ceiling: float) -> tuple[float, str]:
    """The smaller of Hoeffding's and the empirical Bernstein bound, and its name.

    Looking at both before choosing is paid for: each is taken at half the risk. n >= 2.
    """
    half = _halved(confidence)
    rules = {"Hoeffding": hoeffding, "empirical Bernstein": empirical_bernstein}
    found = {name: rule(costs, half, ceiling) for name, rule in rules.items()}
    best = min(found, key=lambda name: found[name])
    return found[best], best


def clopper_pearson(broken: int, episodes: int, confidence: float) -> float:
    """Upper bound on the probability of what happened `broken` times in `episodes`; exact, never too low.

    Source: Clopper and Pearson 1934, one-sided.
    """
    from scipy.stats import beta

    if not 0 <= broken <= episodes or episodes < 1:
        raise BadCosts(f"{broken} of {episodes} episodes; expected a count between 0 and the number of episodes")
    _check_confidence(confidence)
    return 1.0 if broken == episodes else float(beta.ppf(confidence, broken + 1, episodes - broken))


def quantile_bound(costs: ArrayLike, share: float, confidence: float) -> float:
    """What all but a `share` of all episodes cost at most; infinite where there are too few episodes to say.

    The k-th smallest of n costs, k the least with P(Binomial(n, 1 - share) < k) >= confidence. It needs no ceiling.
    Source: Wilks 1941 (tolerance limits without a distribution).
    """
    from scipy.stats import binom

    x = np.sort(_checked(costs, confidence, inf, -inf))
    _check_share(share)
    k = int(binom.ppf(confidence, len(x), 1 - share)) + 1
    return float(x[k - 1]) if k <= len(x) else inf


def conditional_value_at_risk(costs: ArrayLike, share: float) -> float:
    """Mean of the worst `share` of the costs (a fraction of an episode counts as such)."""
    x = np.sort(np.asarray(costs, dtype=np.float64))[::-1]
    weight = np.clip(share * len(x) - np.arange(len(x)), 0.0, 1.0)
    return float(weight @ x / weight.sum())


def cvar_by_band(costs: ArrayLike, share: float, confidence: float, ceiling: float) -> float:
    """Upper bound on the expected cost of the worst `share` of all episodes.

    The empirical distribution is too low by at most e = sqrt(log(1 / (1 - confidence)) / (2 n)) anywhere, so the worst
    case moves the mass e of the cheapest episodes to the ceiling. Source: Thomas and Learned-Miller 2019 (ICML),
    theorem 3, from the inequality of Massart 1990; confidence >= 1/2.
    """
    x = _checked(costs, confidence, ceiling)
    if confidence < 0.5:
        raise BadCosts(f"this bound holds for confidences of at least 0.5, got {confidence}")
    _check_share(share)
    lost = sqrt(-log(1 - confidence) / (2 * len(x)))
    if lost >= share:
        return ceiling
    worst = conditional_value_at_risk(x, share - lost)
    return (lost * ceiling + (share - lost) * worst) / share


def cvar_by_excess(costs: ArrayLike, share: float, confidence: float, ceiling: float, threshold: float) -> float:
    """Upper bound on the expected cost of the worst `share`, tight where hardly an episode exceeds a threshold.

    CVaR <= t + E[(cost - t)_+] / share for every t that was chosen before the episodes were seen; the expectation is
    bounded by empirical Bernstein on [0, ceiling - t]. Source: Rockafellar and Uryasev 2000, theorem 1.
    """
    x = _checked(costs, confidence, ceiling)
    _check_share(share)
    t = min(max(threshold, 0.0), ceiling)
    return min(ceiling, t + empirical_bernstein(np.maximum(x - t, 0.0), confidence, ceiling - t) / share)


def cvar_bound(
    costs: ArrayLike, share: float, confidence: float, ceiling: float, threshold: float
) -> tuple[float, str]:
    """The smaller of `cvar_by_band` and `cvar_by_excess`, each at half the risk, and its name."""
    half = _halved(confidence)
    found = {
        "Massart's band": cvar_by_band(costs, share, half, ceiling),
        "excess over the limit": cvar_by_excess(costs, share, half, ceiling, threshold),
    }
    best = min(found, key=lambda name: found[name])
    return found[best], best


def _halved(confidence: float) -> float:
    """The confidence of either of two statements that hold together with this one."""
    return 1 - (1 - confidence) / 2


def _checked(costs: ArrayLike, confidence: float, ceiling: float, floor: float = 0.0) -> Array:
    _check_confidence(confidence)
    x = np.asarray(costs, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise BadCosts(f"costs have shape {x.shape}; expected one number per episode, at least one")
    if not np.isfinite(x).all() or x.min() < floor or x.max() > ceiling:
        raise BadCosts(
            f"costs range from {x.min():.6g} to {x.max():.6g}; expected numbers between {floor:g} and the ceiling "
            f"{ceiling:g}"
        )
    return x


def check_level(confidence: float, share: float) -> None:
    """Raise BadCosts for a confidence outside (0, 1) or a share outside (0, 1]."""
    _check_confidence(confidence)
    _check_share(share)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise BadCosts(f"confidence must lie in (0, 1), got {confidence}")


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise BadCosts(f"share must lie in (0, 1], got {share}")
