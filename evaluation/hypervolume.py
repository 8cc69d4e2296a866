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
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array, as_points, as_vector
from tradeoff.evaluation.estimate import Estimate
from tradeoff.evaluation.pareto import nondominated

EXACT_POINTS = {5: 20000, 6: 3000, 7: 1000, 8: 500, 9: 250, 10: 100, 11: 80, 12: 50}
LIBRARY_POINTS = {6: 150, 7: 60, 8: 35, 9: 25, 10: 20}  # up to here moocore alone is faster than the recursion
BATCHES, BATCH_SAMPLES = 20, 16384


def hypervolume(points: ArrayLike, reference: ArrayLike, *, seed: int = 0, confidence: float = 0.95) -> Estimate:
    """Hypervolume of points [n, m] above reference [m], in the product of the objectives' units.

    Points that do not exceed the reference in every objective add nothing; no points give 0. Exact (low = value = high,
    method "exact") or Monte-Carlo with its interval (method "monte-carlo") by the rule above; `seed` and `confidence`
    matter only to the second. Raises InvalidPoints for bad shapes, NaN or infinity.
    """
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
    """Mean over random directions of the distance to the front's edge to the power m, in independent batches.

    Source: Deng and Zhang 2019, IEEE TEVC 23(5) (the estimate); the interval is Student's, over the batches.
    """
    from scipy.special import stdtrit  # here and elsewhere: scipy's parts cost more to load than this whole package

    scale = front.max(axis=0)
    generator = np.random.default_rng(seed)
    batches = [_directions_batch(front / scale, generator) for _ in range(BATCHES)]
    mean = float(np.mean(batches))
    half = float(np.std(batches, ddof=1) / np.sqrt(BATCHES) * stdtrit(BATCHES - 1, (1 + confidence) / 2))
    volume = float(np.prod(scale))
    return Estimate(mean * volume, (mean - half) * volume, (mean + half) * volume, "monte-carlo")


def _directions_batch(front: Array, generator: np.random.Generator) -> float:
    return float(
        moocore.hv_approx(
            front, np.zeros(front.shape[1]), maximise=True, nsamples=BATCH_SAMPLES, seed=generator, method="DZ2019-MC"
        )
    )


def _uncovered_share(covering: Array, generator: np.random.Generator, samples: int = 2**17) -> float:
    """Share of the unit cube that no box from the origin to a row of `covering` [n, m] contains."""
    places = generator.random((samples, covering.shape[1]))
    for box in covering:
        places = places[(places > box).any(axis=1)]
    return len(places) / samples
