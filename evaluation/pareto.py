"""Which points of a set matter: the non-dominated ones, the ones a preference can choose, the lonely ones.

All objectives are maximised. Points are arrays [n, m]: n policies, m objectives, in the units of the return.
"""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array, Mask, as_points


def nondominated(points: ArrayLike, *, keep_duplicates: bool = False) -> Mask:
    """Mask [n] of the points that no other point equals or exceeds in every objective while exceeding it in one.

    Of equal points the first is kept, all of them with `keep_duplicates`. Raises InvalidPoints for bad values.
    """
    array = as_points(points)
    if len(array) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(moocore.is_nondominated(array, maximise=True, keep_weakly=keep_duplicates), dtype=bool)


def convex_coverage(points: ArrayLike, *, strict: bool = False, tolerance: float = 1e-9) -> Mask:
    """Mask [n] of the non-dominated points that are best for at least one preference on the simplex.

    These are the points that a linear method can reach. `strict` keeps only those that are the single best of some
    preference (the corners of the hull), the smallest set with the same expected utility. Of equal points the first is
    kept. Any set will do: one point, duplicates, points on a line or on a plane.

    tolerance: by how much of an objective's range a point may fall short and still count.
    Raises InvalidPoints for bad values or shapes.
    Source: Roijers, Vamplew, Whiteson, Dazeley 2013, JAIR 48, definitions 5 and 6.
    """
    array = as_points(points)
    mask = nondominated(array)
    candidates = np.flatnonzero(mask)
    if len(candidates) <= 1 or array.shape[1] == 1:
        return mask
    front = _unit_range(array[candidates])
    find = _coverage_of_two if front.shape[1] == 2 else _coverage_by_programs
    mask[candidates] = find(front, -tolerance if not strict else tolerance)
    return mask


def crowding_distance(points: ArrayLike) -> Array:
    """Distance [n] of every point to its neighbours: per objective the gap between both, over the range, summed.

    The best and the worst of an objective get infinity; an objective on which all points agree says nothing.
    If they agree on all, every point gets infinity. Raises InvalidPoints for bad values or shapes.
    Source: Deb, Pratap, Agarwal, Meyarivan 2002, IEEE TEVC 6(2), section III-B.
    """
    array = as_points(points)
    spread = np.ptp(array, axis=0) if len(array) else np.zeros(array.shape[1])
    if not spread.any():
        return np.full(len(array), np.inf)
    distance = np.zeros(len(array))
    for column, width in zip(array.T, spread, strict=True):
        if width > 0:
            order = np.argsort(column, kind="stable")
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / width
            distance[order[[0, -1]]] = np.inf
    return distance


def _unit_range(points: Array) -> Array:
    """Each objective moved and scaled to [0, 1]: who is best for some preference does not change with either.

    An objective on which all agree is left out: with all weight on it every point would be a best one.
    """
    low, width = points.min(axis=0), np.ptp(points, axis=0)
    return np.asarray((points - low)[:, width > 0] / width[width > 0])


def _coverage_of_two(front: Array, margin: float) -> Mask:
    """Upper right hull of a non-dominated two-objective front, from the best second objective to the best first."""
    hull: list[int] = []
    for index in np.argsort(front[:, 0], kind="stable"):
        while len(hull) >= 2 and _height(front[hull[-2]], front[hull[-1]], front[index]) < margin:
            hull.pop()
        hull.append(int(index))
    mask = np.zeros(len(front), dtype=bool)
    mask[hull] = True
    return mask


def _height(left: Array, middle: Array, right: Array) -> float:
    """How far `middle` lies above the line from `left` to `right`, along that line's own preference."""
    preference = np.array([left[1] - right[1], right[0] - left[0]])
    return float((middle - left) @ preference / preference.sum())


def _coverage_by_programs(front: Array, margin: float) -> Mask:
    """The points that reach `margin`, by one linear program each, over those not yet found useless.

    One at a time: of two points that differ by rounding, each would otherwise make the other useless.
    """
    keep = np.ones(len(front), dtype=bool)
    for index, point in enumerate(front):
        keep[index] = False
        keep[index] = _advantage(point, front[keep]) >= margin
    return keep


def _advantage(point: Array, others: Array) -> float:
    """The most by which a preference puts the point [m] ahead of all others: max over w of min over q of w (p - q).

    Negative: no preference chooses it. Source: Roijers et al. 2013, section 6.1.
    """
    from scipy.optimize import linprog

    if len(others) == 0:
        return np.inf
    objectives, behind = len(point), others - point
    program = linprog(
        np.append(np.zeros(objectives), -1.0),
        A_ub=np.column_stack([behind, np.ones(len(behind))]),
        b_ub=np.zeros(len(behind)),
        A_eq=np.append(np.ones(objectives), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, 1)] * objectives + [(None, None)],
        method="highs",
    )
    return float(-program.fun)
