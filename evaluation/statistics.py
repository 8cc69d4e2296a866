"""How sure a result is: intervals over seeds, over tasks and over evaluation episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array, InvalidPoints
from tradeoff.evaluation.estimate import Estimate

EXACT_FLIPS = 14  # pairs up to which all 2 ** n sign flips are tried


class Comparison(NamedTuple):
    """What a paired comparison of two methods says."""

    difference: Estimate  # mean of first - second over the pairs, with its bootstrap interval [score]
    p_value: float  # two-sided, of a mean this far from 0 if the signs of the differences were coin flips
    improvement: (
        float  # probability that a random run of the first beats a random run of the second, a tie counting half
    )


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half of all values: floor(n / 4) are cut at either end.

    Raises InvalidPoints for no values, NaN or infinity. Source: Agarwal et al. 2021, NeurIPS, section 4.3.
    """
    ordered = np.sort(_finite(values, "values").ravel())
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[Array], SupportsFloat] = interquartile_mean,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Estimate:
    """Percentile interval of a statistic over runs: values [runs], or [runs, tasks] resampled within each task.

    statistic: called on arrays of the shape of `values`. Raises InvalidPoints for bad values, ValueError for a bad
    confidence. Source: Agarwal et al. 2021, NeurIPS, section 4.1 (the stratified bootstrap).
    """
    table = _finite(values, "values")
    if table.ndim not in (1, 2):
        raise InvalidPoints(f"values have shape {table.shape}; expected [runs] or [runs, tasks]")
    generator = np.random.default_rng(seed)
    drawn = [
        float(statistic(np.take_along_axis(table, generator.integers(len(table), size=table.shape), axis=0)))
        for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, _tails(confidence))
    return Estimate(float(statistic(table)), float(low), float(high), "bootstrap")


def paired_comparison(
    first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95, seed: int = 0, resamples: int = 10_000
) -> Comparison:
    """Compare scores [runs] of two methods that share seed or task pair by pair; larger is better.

    The p-value flips signs of differences: all of them up to 14 pairs, `resamples` random ones beyond. Five pairs can
    reach 1 / 16 at best: no test calls that significant. Raises InvalidPoints for unequal lengths or bad values.
    """
    one, other = _finite(first, "first"), _finite(second, "second")
    if one.ndim != 1 or one.shape != other.shape:
        raise InvalidPoints(f"scores have shapes {one.shape} and {other.shape}; expected two vectors of one length")
    gaps = one - other
    interval = bootstrap_interval(gaps, np.mean, confidence=confidence, seed=seed, resamples=resamples)
    wins = np.sign(one[:, None] - other[None]).mean()
    return Comparison(interval, _flip_test(gaps, seed, resamples), float((1.0 + wins) / 2.0))


def front_interval(
    episode_returns: ArrayLike,
    indicator: Callable[[Array], SupportsFloat],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 1000,
    least: float = -np.inf,
) -> Estimate:
    """An indicator of a front and its interval from the scatter of the evaluation episodes.

    episode_returns: [n policies, e episodes, m objectives], fresh episodes that were not used to select the policies.
    indicator: called on mean returns [n, m]; answers a number or an `Estimate`.
    least: that no front can fall below, 0 for a hypervolume.

    The value is the indicator of the mean returns. The best of noisy means flatters a front, and the best of resampled
    means flatters it once more by as much; so the interval is the reflected one (2 value - quantile), which takes that
    excess off, and the value may lie near or above its upper end. Measured on 10 to 40 noisy points of a quarter
    circle, it holds the true hypervolume in 91 to 96 % of cases where the percentile interval may fall to 0 %; for the
    expected utility of 40 near-equal policies it is still too narrow (70 %). With one episode per policy nothing is
    known: the interval is infinite. Where it would reach below `least`, it begins there, and as the scatter is not
    symmetric so near a bound, it ends no lower than the percentile interval does.
    Raises InvalidPoints for bad shapes or values.
    Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, section 5.2 (the basic interval).
    """
    returns = _finite(episode_returns, "episode_returns")
    if returns.ndim != 3:
        raise InvalidPoints(f"episode_returns have shape {returns.shape}; expected [policies, episodes, objectives]")
    policies, episodes, _ = returns.shape
    value = float(indicator(returns.mean(axis=1)))
    if episodes < 2:
        return Estimate(value, least, np.inf, "bootstrap")
    generator = np.random.default_rng(seed)
    drawn = [
        float(indicator(_resampled_means(returns, generator.integers(episodes, size=(policies, episodes)))))
        for _ in range(resamples)
    ]
    first, last = (float(q) for q in np.quantile(drawn, _tails(confidence)))
    low, high = 2.0 * value - last, 2.0 * value - first
    if low < least:
        low, high = least, max(high, last)
    return Estimate(value, low, high, "bootstrap")


def _resampled_means(returns: Array, chosen: np.ndarray) -> Array:
    """Means [n, m] of the chosen episodes [n, e], their variance raised by e / (e - 1), which drawing loses."""
    mean, episodes = returns.mean(axis=1), returns.shape[1]
    drawn = np.take_along_axis(returns, chosen[:, :, None], axis=1).mean(axis=1)
    return np.asarray(mean + np.sqrt(episodes / (episodes - 1)) * (drawn - mean))


def _flip_test(gaps: Array, seed: int, resamples: int) -> float:
    """Share of sign patterns whose mean is at least as far from 0 as the one seen."""
    count = len(gaps)
    if count <= EXACT_FLIPS:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        seen = 0
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], size=(resamples, count))
        seen = 1  # the pattern that was seen is one of the possible ones, so the value is never 0
    reached = np.abs(signs @ gaps) >= np.abs(gaps.sum()) * (1.0 - 1e-12)
    return float((reached.sum() + seen) / (len(signs) + seen))


def _finite(values: ArrayLike, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or not np.isfinite(array).all():
        raise InvalidPoints(f"{name} of shape {array.shape} must hold at least one number and no NaN or infinity")
    return array


def _tails(confidence: float) -> tuple[float, float]:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; expected a share between 0 and 1, such as 0.95")
    return (1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0
