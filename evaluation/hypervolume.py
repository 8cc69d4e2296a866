"""Hypervolume: the volume between a front and a reference point that every counted policy exceeds.

The rule, by objectives m and counted points n (non-dominated and above the reference in every objective):

    m <= 4                  exact, any n                      moocore
    m = 5, 6, 7             exact to n = 20000, 3000, 1000    moocore; from m = 6 on the recursion below over it
    m = 8, 9, 10, 11, 12    exact to n = 500, 250, 100, 80, 50
    m >= 13                 exact to n = 30
    beyond                  Monte-Carlo with a confidence interval

Every exact case takes about a second or less on one core for points on a sphere, the worst kind of front
(9 objectives, 200 points: 0.7 s here, minutes by moocore alone).
"""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradeoff.evaluation.checks import Array, as_points, as_vector
from tradeoff.evaluation.estimate import Estimate
from tradeoff.evaluation.pareto import nondominated

EXACT_POINTS = {5: 20000, 6: 3000, 7: 1000, 8: 500, 9: 250, 10: 100, 11: 80, 12: 50}
LIBRARY_POINTS = {6: 150, 7: 60, 8: 35, 9: 25, 10: 20}  # up to here moocore alone is faster than the recursion
SAMPLES = 2**17  # of the Monte-Carlo estimate
BITS = 512  # boxes that are looked up at once


def hypervolume(points: ArrayLike, reference: ArrayLike, *, seed: int = 0, confidence: float = 0.95) -> Estimate:
    """Hypervolume of points [n, m] above reference [m], in the product of the objectives' units.

    Points that do not exceed the reference in every objective add nothing; no points give 0. Exact (low = value = high,
    method "exact") or Monte-Carlo with its interval (method "monte-carlo") by the rule above; `seed` and `confidence`
    matter only to the second. Raises InvalidPoints for bad shapes, NaN or infinity, ValueError for a confidence outside
    (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; expected a share between 0 and 1, such as 0.95")
    array = as_points(points)
    counted = _above(array, as_vector(reference, array.shape[1], "reference"))
    if is_exact(array.shape[1], len(counted)):
        value = _exact(counted)
        return Estimate(value, value, value, "exact")
    return _monte_carlo(counted, seed, confidence)


def is_exact(objectives: int, count: int) -> bool:
    """Whether `hypervolume` is exact for that many objectives and counted points."""
    return objectives <= 4 or count <= EXACT_POINTS.get(objectives, 30)


def hypervolume_contributions(points: ArrayLike, reference: ArrayLike, *, seed: int = 0) -> Array:
    """What the hypervolume [n] would lose with each point: 0 for dominated points and for equal ones.

    A point that one of the others dominates comes to count when that other leaves, so it lowers the other's loss.
    Exact where `hypervolume` is exact for n points; beyond, the share of random places below the point that no other
    point covers, whose standard error is at most half of 2 ** -8.5 of the volume below the point.
    Raises InvalidPoints for bad shapes, NaN or infinity.
    """
    array = as_points(points)
    above = array - as_vector(reference, array.shape[1], "reference")
    inside = (above > 0).all(axis=1)
    useful = np.flatnonzero(inside & nondominated(array, keep_duplicates=True))
    loss = np.zeros(len(array))
    generator = np.random.default_rng(seed)
    for index in useful:
        point, others = above[index], inside & (np.arange(len(array)) != index)
        limited = np.minimum(above[others], point)
        limited = limited[nondominated(limited)]
        if is_exact(array.shape[1], len(limited)):
            loss[index] = max(0.0, float(np.prod(point)) - _exact(limited))
        else:
            loss[index] = np.prod(point) * _uncovered_share(limited / point, generator)
    return loss


def _above(points: Array, reference: Array) -> Array:
    """The points that count, measured from the reference."""
    above = points - reference
    above = above[(above > 0).all(axis=1)]
    return above[nondominated(above)]


def _exact(front: Array) -> float:
    """Hypervolume above the origin of a non-dominated front.

    Taking the points from the lowest last objective upwards, what a point adds to those after it is a slab: its last
    objective times the volume, in the other objectives, that those after it leave uncovered.
    Source: While, Bradstreet, Barone 2012, IEEE TEVC 16(1).
    """
    count, objectives = front.shape
    if count == 0:
        return 0.0
    if objectives <= 5 or count <= LIBRARY_POINTS.get(objectives, 15):
        return float(moocore.hypervolume(front, ref=np.zeros(objectives), maximise=True))
    front = front[np.argsort(front[:, -1], kind="stable")]
    base, total = front[:, :-1], 0.0
    for index, point in enumerate(base):
        limited = np.minimum(base[index + 1 :], point)
        total += front[index, -1] * (np.prod(point) - _exact(limited[nondominated(limited)]))
    return float(total)


def _monte_carlo(front: Array, seed: int, confidence: float) -> Estimate:
    """Volume of a union of boxes by importance sampling, with an interval whose coverage does not rest on a limit law.

    Places are drawn evenly from a box chosen by its volume, or from the box around all of them. A place that c of the
    boxes contain counts by the inverse of the density with which it was drawn, a number between 0 and a known one, so
    that the empirical Bernstein bound holds for any front and any number of samples.
    Source: Karp, Luby, Madras 1989, J. Algorithms 10(3) (the boxes); Maurer and Pontil 2009, COLT, theorem 4 (the
    interval).
    """
    sizes = np.log(front).sum(axis=1)
    total, around = _log_sum(sizes), float(np.log(front.max(axis=0)).sum())
    ratio = np.exp(total - around)  # sum of the boxes over the box around them, at most n
    share = ratio / (1.0 + ratio)  # of the samples from the box around: all where boxes overlap, none where they do not
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(SAMPLES, np.append((1.0 - share) * np.exp(sizes - total), share))
    corners = np.repeat(np.vstack([front, front.max(axis=0)]), drawn, axis=0)
    covering = _covering_counts(front, generator.random(corners.shape) * corners)
    weight = np.where(covering > 0, 1.0 / (share * ratio + (1.0 - share) * np.maximum(covering, 1)), 0.0)
    largest = 1.0 / (share * ratio + 1.0 - share)
    doubt = np.log(4.0 / (1.0 - confidence))
    half = np.sqrt(2.0 * doubt * weight.var(ddof=1) / SAMPLES) + 7.0 * doubt * largest / (3.0 * (SAMPLES - 1))
    mean, boxes = weight.mean(), front.prod(axis=1)
    low = max((mean - half) * np.exp(total), boxes.max())  # no union is below its largest box
    high = min((mean + half) * np.exp(total), boxes.sum(), front.max(axis=0).prod())  # nor above the sum of all boxes
    return Estimate(float(np.clip(mean * np.exp(total), low, high)), float(low), float(high), "monte-carlo")


def _log_sum(logarithms: Array) -> float:
    """Logarithm of the sum of exp(logarithms), also where every term is beyond the range of a float."""
    largest = float(logarithms.max())
    return largest + float(np.log(np.exp(logarithms - largest).sum()))


def _covering_counts(front: Array, places: Array) -> NDArray[np.int64]:
    """How many boxes from the origin to a point of the front [n, m] contain each place [s, m].

    Per objective the boxes that reach a place are a suffix of the sorted ones: a row of bits, looked up by its rank;
    the boxes that contain the place are those whose bit is set in every objective.
    """
    counts = np.zeros(len(places), dtype=np.int64)
    for begin in range(0, len(front), BITS):
        containing = np.full((len(places), BITS // 64), ~np.uint64(0))
        for column, values in zip(front[begin : begin + BITS].T, places.T, strict=True):
            order = np.argsort(column, kind="stable")
            rank = np.full(BITS, -1)
            rank[order] = np.arange(len(column))
            reaching = np.packbits(rank >= np.arange(len(column) + 1)[:, None], axis=1).view(np.uint64)
            containing &= reaching[np.searchsorted(column[order], values)]
        counts += np.bitwise_count(containing).sum(axis=1, dtype=np.int64)
    return counts


def _uncovered_share(covering: Array, generator: np.random.Generator, samples: int = 2**17) -> float:
    """Share of the unit cube that no box from the origin to a row of `covering` [n, m] contains."""
    places = generator.random((samples, covering.shape[1]))
    for box in covering:
        places = places[(places > box).any(axis=1)]
    return len(places) / samples
