"""Exact Pareto fronts of finite problems, by value iteration on sets of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array, Mask
from tradeoff.evaluation.finite import FiniteProblem, NoConvergence, check_horizon, finite_problem, reachable_problem
from tradeoff.evaluation.pareto import nondominated

LARGEST_SUM = 20_000_000  # vectors that one sum of two sets may hold before pruning


def pareto_front(
    transition: Any,
    reward: ArrayLike,
    *,
    start: int | ArrayLike,
    discount: float,
    terminal: ArrayLike | None = None,
    horizon: int | None = None,
    tolerance: float = 1e-9,
    max_sweeps: int = 10_000,
) -> Array:
    """Non-dominated expected discounted returns [n, m] of deterministic policies, sorted by the first objective.

    Policies may depend on the time and on what happened before: in a stochastic problem a policy may promise a
    different trade-off after each outcome, so the set can be larger than that of stationary policies.

    transition, reward, start, terminal: as `tradeoff.evaluation.finite.finite_problem` takes them.
    discount: factor per step, the first reward undiscounted. horizon: number of steps of an episode [steps];
    None: until the sets stop moving. tolerance: vectors closer than this in every objective count as one [return].

    Raises InvalidProblem for arrays that disagree, NoConvergence if the sets still move after `max_sweeps` or outgrow
    the memory. Source: White 1982, J. Math. Anal. Appl. 89; Van Moffaert and Nowe 2014, JMLR 15.
    """
    check_horizon(horizon)
    whole = finite_problem(transition, reward, start=start, terminal=terminal, discount=discount)
    problem = reachable_problem(whole)
    values = _solve(problem, horizon, tolerance, max_sweeps)
    begin = np.flatnonzero(problem.start)
    front = _expectation(problem.start[begin], [values[state] for state in begin], tolerance)
    return front[np.lexsort(front.T[::-1])]


def _solve(problem: FiniteProblem, horizon: int | None, tolerance: float, max_sweeps: int) -> list[Array]:
    states, _, objectives = problem.reward.shape
    values = [np.zeros((1, objectives))] * states
    stale = ~problem.terminal
    for _ in range(max_sweeps if horizon is None else horizon):
        fresh = {state: _backup(problem, state, values, tolerance) for state in np.flatnonzero(stale).tolist()}
        moved = np.zeros(states, dtype=bool)
        for state, front in fresh.items():
            moved[state] = not _same(front, values[state], tolerance)
            values[state] = front
        stale = _predecessors(problem, moved)
        if not stale.any():
            return values
    if horizon is None:
        raise NoConvergence(
            f"fronts still move by more than {tolerance} after {max_sweeps} sweeps; give a horizon, a discount below 1 "
            "or a larger tolerance"
        )
    return values


def _predecessors(problem: FiniteProblem, moved: Mask) -> Mask:
    """States some action of which can lead to a moved state."""
    states, actions, _ = problem.reward.shape
    return np.asarray((problem.transition @ moved.astype(np.float64)).reshape(states, actions).any(axis=1))


def _backup(problem: FiniteProblem, state: int, values: list[Array], tolerance: float) -> Array:
    """Non-dominated union over actions of reward plus discounted expectation of the successors' sets."""
    actions, rows = problem.reward.shape[1], problem.transition
    options = []
    for action in range(actions):
        begin, end = rows.indptr[state * actions + action : state * actions + action + 2]
        ahead = _expectation(rows.data[begin:end], [values[index] for index in rows.indices[begin:end]], tolerance)
        options.append(problem.reward[state, action] + problem.discount * ahead)
    return _prune(np.concatenate(options), tolerance)


def _expectation(probabilities: Array, fronts: list[Array], tolerance: float) -> Array:
    """All weighted sums of one vector from each front, pruned as they grow: a dominated part never helps the whole."""
    total = probabilities[0] * fronts[0]
    for probability, front in zip(probabilities[1:], fronts[1:], strict=True):
        if len(total) * len(front) > LARGEST_SUM:
            raise NoConvergence(
                f"a front would need {len(total)} x {len(front)} vectors; give a larger tolerance or a shorter "
                "horizon, or ask for the convex coverage set"
            )
        sums = total[:, None] + probability * front
        total = _prune(sums.reshape(-1, front.shape[1]), tolerance)
    return np.asarray(total)


def _prune(points: Array, tolerance: float) -> Array:
    """Non-dominated points, of which none that another one equals or exceeds but for `tolerance` in every objective."""
    front = points[nondominated(points)]
    if len(front) < 2:
        return front
    front = front[np.argsort(-front.sum(axis=1), kind="stable")]
    keep = np.ones(len(front), dtype=bool)
    for index in range(len(front) - 1):
        if keep[index]:
            excess = front[index + 1 :] - front[index]
            keep[index + 1 :] &= excess.max(axis=1) > tolerance
    return front[keep]


def _same(one: Array, other: Array, tolerance: float) -> bool:
    """Whether two sets have as many vectors and each has a neighbour within `tolerance` in the other."""
    if len(one) != len(other):
        return False
    near = np.abs(one[:, None] - other).max(axis=2)
    return bool(max(near.min(axis=0).max(), near.min(axis=1).max()) <= tolerance)
