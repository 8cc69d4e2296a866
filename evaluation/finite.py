"""Finite problems as arrays: what the exact solvers take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array, Mask

if TYPE_CHECKING:
    from scipy import sparse


class InvalidProblem(ValueError):
    """Arrays that do not describe a finite decision problem."""


class NoConvergence(ValueError):
    """An exact solution that a stationary limit or the machine's memory does not give."""


ROUNDING = 1e-6  # by how much the sum of a distribution may miss 1: what is left by numbers of 32 bits
EXACT = 1e-12  # by how much sums of 64 bits miss it, which nobody notices


@dataclass(frozen=True)
class FiniteProblem:
    """S states, A actions, m channels (objectives, and costs where a solver takes them); checked, ready to solve."""

    transition: sparse.csr_matrix  # [S * A, S] probability of the next state, rows in the order state, action
    reward: Array  # [S, A, m] expected reward of acting; 0 in terminal states
    start: Array  # [S] probability of starting there
    terminal: Mask  # [S] nothing is earned from here on; their rows of transition are empty
    discount: float


def finite_problem(
    transition: Any, reward: ArrayLike, *, start: int | ArrayLike, discount: float, terminal: ArrayLike | None = None
) -> FiniteProblem:
    """Check arrays and make them a `FiniteProblem`.

    transition: [S, A, S] array or scipy sparse [S * A, S]; the rows of a terminal state are not read. Rows that
        sum to 1 within ROUNDING (numbers of 32 bits, say) are divided by their sum, and so is `start`.
    reward: [S, A, m], or [S, A, S, m] by next state, which is averaged over it.
    start: index of the first state, or probabilities [S]. terminal: mask [S]; None: no state is terminal.
    Raises InvalidProblem that names what disagrees.
    """
    rewards = np.asarray(reward, dtype=np.float64)
    states, actions = _sizes(rewards)
    ends = np.zeros(states, dtype=bool) if terminal is None else np.asarray(terminal, dtype=bool)
    if ends.shape != (states,):
        raise InvalidProblem(f"terminal has shape {ends.shape}; expected ({states},), one flag per state of reward")
    if not 0.0 <= discount <= 1.0:
        raise InvalidProblem(f"discount is {discount}; expected a number in [0, 1]")
    rows = _transition_rows(transition, states, actions, ends)
    if rewards.ndim == 4:
        flat = rows.toarray().reshape(states, actions, states)
        rewards = np.einsum("sat,satm->sam", flat, rewards)
    if not np.isfinite(rewards).all():
        raise InvalidProblem("reward holds a NaN or an infinity; every state and action needs a finite one")
    rewards = np.where(ends[:, None, None], 0.0, rewards)
    return FiniteProblem(rows, rewards, _start_distribution(start, states), ends, float(discount))


def check_horizon(horizon: int | None) -> None:
    """Raise InvalidProblem unless `horizon` is None or a whole number of steps, at least 1."""
    whole = isinstance(horizon, int | np.integer) and not isinstance(horizon, bool)
    if horizon is not None and not (whole and horizon >= 1):
        raise InvalidProblem(
            f"horizon is {horizon!r}; expected a whole number of steps, at least 1, or None for no end"
        )


def spread(edges: sparse.csr_matrix, begin: Mask) -> Mask:
    """The marked nodes [n] and all that the non-zero entries [to, from] lead to from them."""
    seen, fresh = begin.copy(), begin
    while fresh.any():
        fresh = (edges @ fresh.astype(np.float64) > 0) & ~seen
        seen |= fresh
    return seen


def reachable_states(problem: FiniteProblem) -> Mask:
    """States [S] that some policy can visit."""
    from scipy import sparse

    states, actions, _ = problem.reward.shape
    any_action = sparse.kron(sparse.eye_array(states), np.ones((1, actions))) @ problem.transition
    return spread(any_action.T.tocsr(), problem.start > 0)


def reachable_problem(problem: FiniteProblem) -> FiniteProblem:
    """The problem without the states that no policy can visit: they cost time and may never settle."""
    seen = reachable_states(problem)
    rows = problem.transition[np.repeat(seen, problem.reward.shape[1])][:, seen]
    return FiniteProblem(rows, problem.reward[seen], problem.start[seen], problem.terminal[seen], problem.discount)


def _sizes(reward: Array) -> tuple[int, int]:
    if reward.ndim not in (3, 4) or 0 in reward.shape or (reward.ndim == 4 and reward.shape[2] != reward.shape[0]):
        raise InvalidProblem(f"reward has shape {reward.shape}; expected [S, A, m] or [S, A, S, m]")
    return reward.shape[0], reward.shape[1]


def _transition_rows(transition: Any, states: int, actions: int, terminal: Mask) -> sparse.csr_matrix:
    from scipy import sparse

    if not sparse.issparse(transition):
        transition = np.asarray(transition, dtype=np.float64)
        if transition.shape != (states, actions, states):
            raise InvalidProblem(
                f"transition has shape {transition.shape}; reward asks for {(states, actions, states)}"
            )
        transition = transition.reshape(states * actions, states)
    rows = sparse.csr_matrix(transition, dtype=np.float64)
    if rows.shape != (states * actions, states):
        raise InvalidProblem(f"transition has shape {rows.shape}; reward asks for {(states * actions, states)}")
    rows = rows.copy()
    rows.sum_duplicates()
    ended = np.repeat(terminal, actions)
    rows.data[np.repeat(ended, np.diff(rows.indptr))] = 0.0  # whatever stands there, NaN too
    rows.eliminate_zeros()
    total = np.asarray(rows.sum(axis=1)).ravel()
    wrong = ~(np.abs(total - 1.0) <= ROUNDING) & ~ended  # a NaN fails every comparison
    wrong[rows.tocoo().row[~(rows.data > 0)]] = True
    if wrong.any():
        first = int(wrong.argmax())
        entries = rows[first].data
        raise InvalidProblem(
            f"transition[{first // actions}, {first % actions}] is no distribution (sum {total[first]:g}, entries from "
            f"{entries.min(initial=1.0):g} to {entries.max(initial=0.0):g}); expected numbers in [0, 1] of sum 1"
        )
    off = np.abs(total - 1.0) > EXACT
    rows.data /= np.repeat(np.where(off & ~ended, total, 1.0), np.diff(rows.indptr))
    return rows


def _start_distribution(start: int | ArrayLike, states: int) -> Array:
    given = np.asarray(start, dtype=np.float64)
    if given.ndim == 0:
        if not (0 <= given < states and given == np.floor(given)):
            raise InvalidProblem(f"start is {given:g}; expected a state from 0 to {states - 1}")
        return np.eye(states)[int(given)]
    if given.shape != (states,) or not (given >= 0).all() or not abs(given.sum() - 1.0) <= ROUNDING:
        raise InvalidProblem(f"start has shape {given.shape} and sum {given.sum():g}; expected {states} probabilities")
    return given / given.sum() if abs(given.sum() - 1.0) > EXACT else given
