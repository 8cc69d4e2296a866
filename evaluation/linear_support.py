"""Exact convex coverage sets of finite problems, by linear support over scalarised value iteration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array
from tradeoff.evaluation.finite import FiniteProblem, NoConvergence, check_horizon, finite_problem, reachable_problem
from tradeoff.evaluation.pareto import convex_coverage

LARGEST_BATCH = 4_000_000  # numbers in one array of action values


def convex_coverage_set(
    transition: Any,
    reward: ArrayLike,
    *,
    start: int | ArrayLike,
    discount: float,
    terminal: ArrayLike | None = None,
    horizon: int | None = None,
    tolerance: float = 1e-9,
    max_sweeps: int = 100_000,
) -> Array:
    """The least set of returns [n, m] that holds the best one for every linear preference, in rising first objective.

    Starts from the preferences for a single objective; then solves the problem for every preference at a corner of the
    upper surface found so far, until no corner can be raised: the surface is then exact, for any m.

    Arguments and errors as in `evaluation.pareto_vi.pareto_front`; tolerance: largest gain that is ignored [return].
    Source: Cheng 1988, PhD thesis, University of British Columbia; Roijers, Whiteson, Oliehoek 2015, JAIR 52.
    """
    check_horizon(horizon)
    whole = finite_problem(transition, reward, start=start, terminal=terminal, discount=discount)
    problem = reachable_problem(whole)
    found = np.empty((0, problem.reward.shape[2]))
    known: set[tuple[float, ...]] = set()
    corners = np.eye(problem.reward.shape[2])
    while len(corners):
        known.update(map(tuple, corners))
        best = _best_returns(problem, corners, horizon, tolerance, max_sweeps)
        gain = (best * corners).sum(axis=1) - (corners @ found.T).max(axis=1, initial=-np.inf)
        found = np.concatenate([found, best[gain > tolerance]])
        found = found[convex_coverage(found, strict=True)]
        corners = np.array([corner for corner in _corners(found) if tuple(corner) not in known])
    return found[np.lexsort(found.T[::-1])]


def _best_returns(
    problem: FiniteProblem, weights: Array, horizon: int | None, tolerance: float, max_sweeps: int
) -> Array:
    """Return [w, m] of a best policy for each preference [w, m], as many at once as fit."""
    share = max(1, LARGEST_BATCH // problem.reward.size)
    parts = [weights[index : index + share] for index in range(0, len(weights), share)]
    return np.concatenate([_value_iteration(problem, part, horizon, tolerance, max_sweeps) for part in parts])


def _value_iteration(
    problem: FiniteProblem, weights: Array, horizon: int | None, tolerance: float, max_sweeps: int
) -> Array:
    """Vectors are summed along with the utility; what lies beyond k steps is at most g^k / (1 - g) of the best reward.

    That bound ends the sweeps where equally good actions take turns and the vectors never settle.
    """
    values = np.zeros((len(problem.start), *weights.shape))
    left = 1.0 - problem.discount
    tail = float(np.abs(problem.reward).max()) / left if left else np.inf
    for _ in range(max_sweeps if horizon is None else horizon):
        previous, values = values, _sweep(problem, weights, values)
        tail *= problem.discount
        if tail <= tolerance or np.abs(values - previous).max() <= tolerance * (left or 1.0):
            break
    else:
        if horizon is None:
            raise NoConvergence(
                f"values still move after {max_sweeps} sweeps; give a horizon, a discount below 1 or a larger tolerance"
            )
    return np.einsum("s,swm->wm", problem.start, values)


def _sweep(problem: FiniteProblem, weights: Array, values: Array) -> Array:
    """One backup of the vectors [S, w, m] of the policies that are best for each preference.

    Among equally good actions the one with the larger sum over objectives wins: a preference that ignores an objective
    then still gets a non-dominated return.
    """
    states, actions, _ = problem.reward.shape
    ahead = (problem.transition @ values.reshape(states, -1)).reshape(states, actions, *weights.shape)
    options = problem.reward[:, :, None] + problem.discount * ahead
    utility = np.einsum("sawm,wm->saw", options, weights)
    slack = 1e-11 * np.abs(utility).max(initial=1.0)
    tied = utility >= utility.max(axis=1, keepdims=True) - slack
    choice = np.where(tied, options.sum(axis=3), -np.inf).argmax(axis=1)
    chosen = np.take_along_axis(options, choice[:, None, :, None], axis=1)[:, 0]
    return np.asarray(np.where(problem.terminal[:, None, None], 0.0, chosen))


def _corners(front: Array) -> Array:
    """Preferences [c, m] at the corners of the surface w -> max over the front of w . v, rounded to 12 digits.

    Found as the vertices of the region above the surface, in units of each objective's range; a cap closes the region
    (it meets the walls above the simplex's own corners, which the surface has as well).
    """
    from scipy.spatial import HalfspaceIntersection

    objectives = front.shape[1]
    width = np.ptp(front, axis=0)
    width = np.where(width > 0, width, 1.0)
    unit = (front - front.min(axis=0)) / width
    if objectives == 1:
        return np.ones((1, 1))
    faces = np.column_stack([unit[:, :-1] - unit[:, -1:], np.full(len(unit), -1.0), unit[:, -1]])
    walls = np.column_stack([-np.eye(objectives - 1), np.zeros((objectives - 1, 2))])
    last = np.concatenate([np.ones(objectives - 1), [0.0, -1.0]])
    cap = np.concatenate([np.zeros(objectives - 1), [1.0, -3.0]])
    inside = np.append(np.full(objectives - 1, 1.0 / objectives), 2.0)
    vertices = HalfspaceIntersection(np.vstack([faces, walls, last, cap]), inside).intersections
    scaled = np.column_stack([vertices[:, :-1], 1.0 - vertices[:, :-1].sum(axis=1)]).clip(min=0.0) / width
    return np.unique(np.round(scaled / scaled.sum(axis=1, keepdims=True), 12) + 0.0, axis=0)
