"""Scores of a front besides its hypervolume. Every objective is maximised; fronts are arrays [n, m] of returns."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array, InvalidPoints, as_front, as_points, check_weights
from tradeoff.evaluation.pareto import nondominated


def expected_utility(front: ArrayLike, weights: ArrayLike) -> float:
    """Mean over preferences [w, m] of the best w . v on the front: an oracle picks the policy for every preference.

    Preferences are scaled to sum 1. Raises InvalidPoints, InvalidWeights. Source: Zintgraf et al. 2015, BNAIC.
    """
    return float(_best_utilities(as_front(front), weights).mean())


def conditioned_utility(returns_per_weight: ArrayLike, weights: ArrayLike) -> float:
    """Mean over preferences of w_i . v_i, where v_i [n, m] is what the policy steered by w_i [n, m] really earned.

    Never above `expected_utility` of the same returns; the gap is what bad steering costs.
    Raises InvalidPoints, InvalidWeights.
    """
    returns = as_front(returns_per_weight, "returns_per_weight")
    preferences = np.atleast_2d(check_weights(weights, returns.shape[1]))
    if len(preferences) != len(returns):
        raise InvalidPoints(f"{len(returns)} returns for {len(preferences)} weights; expected one row for each")
    return float((returns * preferences).sum(axis=1).mean())


def maximum_utility_loss(front: ArrayLike, reference_front: ArrayLike, weights: ArrayLike) -> float:
    """The largest regret over preferences [w, m]: best utility on the reference front less the best on this one.

    Negative where this front beats the reference for every preference. Raises InvalidPoints, InvalidWeights.
    Source: Zintgraf et al. 2015, BNAIC.
    """
    found = as_front(front)
    wanted = as_front(reference_front, "reference_front", found.shape[1])
    return float((_best_utilities(wanted, weights) - _best_utilities(found, weights)).max())


def igd(front: ArrayLike, reference_front: ArrayLike) -> float:
    """Mean over the reference front [q, m] of the Euclidean distance to the nearest point found, unscaled.

    Raises InvalidPoints. Source: Coello Coello and Reyes Sierra 2004, MICAI.
    """
    found, wanted = _pair(front, reference_front)
    return float(moocore.igd(found, ref=wanted, maximise=True))


def igd_plus(front: ArrayLike, reference_front: ArrayLike) -> float:
    """`igd` that counts only the objectives in which a point falls short: a better point is at distance 0.

    Raises InvalidPoints. Source: Ishibuchi, Masuda, Tanigaki, Nojima 2015, EMO.
    """
    found, wanted = _pair(front, reference_front)
    return float(moocore.igd_plus(found, ref=wanted, maximise=True))


def additive_epsilon(front: ArrayLike, reference_front: ArrayLike) -> float:
    """The least amount that, added to every objective, lets the front equal or exceed every reference point.

    Raises InvalidPoints. Source: Zitzler et al. 2003, IEEE TEVC 7(2).
    """
    found, wanted = _pair(front, reference_front)
    return float(moocore.epsilon_additive(found, ref=wanted, maximise=True))


def sparsity(points: ArrayLike, *, normalise: bool = False) -> float:
    """Sum over objectives of squared gaps between sorted neighbours, over the number of gaps; NaN below two points.

    Dominated and equal points are dropped first: duplicates would only enlarge the divisor. `normalise` scales each
    objective to the front's own range, so that units cancel. Small fronts score well: never read it alone.
    Raises InvalidPoints. Source: Xu et al. 2020, ICML, section 3.
    """
    array = as_points(points)
    front = np.sort(array[nondominated(array)], axis=0)
    if len(front) < 2:
        return float("nan")
    if normalise:
        width = front[-1] - front[0]
        front = front / np.where(width > 0, width, 1.0)
    return float((np.diff(front, axis=0) ** 2).sum() / (len(front) - 1))


def cardinality(points: ArrayLike) -> int:
    """How many different non-dominated points there are. Raises InvalidPoints."""
    return int(nondominated(points).sum())


def _best_utilities(front: Array, weights: ArrayLike) -> Array:
    preferences = np.atleast_2d(check_weights(weights, front.shape[1]))
    return np.asarray((preferences @ front.T).max(axis=1))


def _pair(front: ArrayLike, reference_front: ArrayLike) -> tuple[Array, Array]:
    found = as_front(front)
    return found, as_front(reference_front, "reference_front", found.shape[1])
