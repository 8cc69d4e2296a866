"""Exact returns and occupancies of a policy in a finite problem, and the best policy for a preference.

A policy is an array of probabilities: [S, A], or [H, S, A] where it depends on the step. Three criteria:
discounted (the default), `horizon` steps (discounted too, if the problem's discount is below 1), and `average` reward
per step in the long run, in which the discount plays no part. States are numbered as in the arrays of the problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.chains import recurrent_classes, share_of_time
from tradeoff.evaluation.checks import Array, Mask, as_vector
from tradeoff.evaluation.finite import FiniteProblem, NoConvergence, check_horizon, spread

if TYPE_CHECKING:
    from scipy import sparse


class InvalidPolicy(ValueError):
    """Probabilities that are none, or do not fit the problem."""


class BestPolicy(NamedTuple):
    """A deterministic policy that is best for one preference."""

    value: float  # preference . returns, exact
    returns: Array  # [m]
    policy: Array  # [S, A], or [H, S, A] with a horizon; ones and zeros
    values: Array  # [S], or [H, S]: best return from here on, found by value iteration


def check_policy(problem: FiniteProblem, policy: ArrayLike, horizon: int | None = None) -> Array:
    """The policy as an array [S, A], with a horizon [H, S, A]; a stationary policy serves every step.

    Raises InvalidPolicy for any other shape and for rows that are no distribution.
    """
    check_horizon(horizon)
    given = np.asarray(policy, dtype=np.float64)
    shape = problem.reward.shape[:2]
    known = [shape] if horizon is None else [shape, (horizon, *shape)]
    if given.shape not in known:
        raise InvalidPolicy(f"policy has shape {given.shape}; expected {' or '.join(map(str, known))}")
    wrong = np.argwhere(~((np.abs(given.sum(axis=-1) - 1.0) <= 1e-6) & (given >= 0.0).all(axis=-1)))
    if len(wrong):
        row = wrong[0].tolist()
        raise InvalidPolicy(f"policy{row} is {given[tuple(row)].tolist()}; expected probabilities of sum 1")
    return given if horizon is None else np.broadcast_to(given, (horizon, *shape))


def occupancy(problem: FiniteProblem, policy: ArrayLike, *, horizon: int | None = None, average: bool = False) -> Array:
    """Expected discounted number of times that each action is taken in each state, 0 in terminal states.

    Returns: [S, A]; with a horizon [H, S, A], the step by step part discount^h Pr(s_h = s, a_h = a); with `average` the
    share of time, of sum 1 where no episode ends.
    Raises: InvalidPolicy; NoConvergence if the discount is 1, there is no horizon and the policy need not end.
    """
    given = check_policy(problem, policy, horizon)
    if horizon is not None:
        return _occupancy_by_step(problem, given)
    states = share_of_time(state_chain(problem, given), problem.start) if average else _visits(problem, given)
    return np.where(problem.terminal, 0.0, states)[:, None] * given


def policy_returns(
    problem: FiniteProblem, policy: ArrayLike, *, horizon: int | None = None, average: bool = False
) -> Array:
    """Exact return of every channel [m]; arguments and errors as in `occupancy`."""
    return channel_sums(problem, occupancy(problem, policy, horizon=horizon, average=average))


def channel_sums(problem: FiniteProblem, taken: Array) -> Array:
    """What an occupancy [S, A] or [H, S, A] earns in every channel [m]."""
    pay = problem.reward.reshape(-1, problem.reward.shape[2])
    return np.asarray(taken.reshape(-1, len(pay)).sum(axis=0) @ pay)


def policy_from_occupancy(taken: ArrayLike) -> Array:
    """The policy that takes each action as often as the occupancy [..., S, A] says; uniform where nothing is taken."""
    counts = np.maximum(np.asarray(taken, dtype=np.float64), 0.0)
    total = counts.sum(axis=-1, keepdims=True)
    return np.asarray(np.where(total > 0.0, counts / np.where(total > 0.0, total, 1.0), 1.0 / counts.shape[-1]))


def best_policy(
    problem: FiniteProblem,
    weights: ArrayLike,
    *,
    horizon: int | None = None,
    tolerance: float = 1e-12,
    max_sweeps: int = 100_000,
) -> BestPolicy:
    """Value iteration on the weighted sum of the channels; `weights` [m] may be negative for costs.

    Without a horizon the sweeps end when no value moves by more than `tolerance` times the largest value (or 1); the
    greedy policy is then evaluated exactly. Raises NoConvergence if the values still move after `max_sweeps`.
    """
    check_horizon(horizon)
    pay = problem.reward @ as_vector(weights, problem.reward.shape[2], "weights")
    if horizon is not None:
        return _backward_induction(problem, pay, horizon)
    values = np.zeros(len(pay))
    for _ in range(max_sweeps):
        options = _options(problem, pay, values)
        moved = np.abs(options.max(axis=1) - values).max()
        values = options.max(axis=1)
        if moved <= tolerance * max(1.0, float(np.abs(values).max())):
            break
    else:
        raise NoConvergence(
            f"values still move by {moved:g} after {max_sweeps} sweeps; give a horizon or a discount < 1"
        )
    policy = _greedy(options)
    taken = occupancy(problem, policy)
    return BestPolicy(float((taken * pay).sum()), channel_sums(problem, taken), policy, values)


def _backward_induction(problem: FiniteProblem, pay: Array, horizon: int) -> BestPolicy:
    policy, values = np.empty((horizon, *pay.shape)), np.zeros((horizon + 1, len(pay)))
    for step in reversed(range(horizon)):
        options = _options(problem, pay, values[step + 1])
        policy[step], values[step] = _greedy(options), options.max(axis=1)
    returns = policy_returns(problem, policy, horizon=horizon)
    return BestPolicy(float(problem.start @ values[0]), returns, policy, values[:-1])


def _options(problem: FiniteProblem, pay: Array, values: Array) -> Array:
    """Action values [S, A]; a terminal state pays nothing and leads nowhere."""
    return pay + problem.discount * (problem.transition @ values).reshape(pay.shape)


def _greedy(options: Array) -> Array:
    """Ones at the first best action of every state; what differs by rounding only counts as equal."""
    slack = 1e-12 * max(1.0, float(np.abs(options).max()))
    tied = options >= options.max(axis=1, keepdims=True) - slack
    return np.eye(options.shape[1])[tied.argmax(axis=1)]


def _occupancy_by_step(problem: FiniteProblem, policy: Array) -> Array:
    taken, states = np.empty(policy.shape), problem.start
    for step, now in enumerate(policy):
        taken[step] = np.where(problem.terminal, 0.0, states)[:, None] * now
        states = problem.discount * (problem.transition.T @ taken[step].ravel())
    return taken


def state_chain(problem: FiniteProblem, policy: Array) -> sparse.csr_matrix:
    """Transition [S, S] between states under a stationary policy; rows of terminal states are empty."""
    from scipy import sparse

    states, actions = policy.shape
    mix = sparse.csr_matrix((policy.ravel(), np.arange(policy.size), np.arange(states + 1) * actions))
    chain = sparse.csr_matrix(mix @ problem.transition)
    chain.eliminate_zeros()
    return chain


def _visits(problem: FiniteProblem, policy: Array) -> Array:
    """Expected discounted number of visits [S]: the solution of d = start + discount P' d."""
    chain = state_chain(problem, policy)
    seen = spread(chain.T, problem.start > 0)
    refuse_endless(problem, chain, seen)
    return _flow(chain, seen, problem.start, problem.discount)


def _flow(chain: sparse.csr_matrix, inside: Mask, source: Array, discount: float) -> Array:
    """Visits [S] to the states `inside`, by one sparse linear system over them; 0 elsewhere."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    if not inside.any():
        return np.zeros(len(source))
    part = chain[inside][:, inside]
    system = sparse.csc_matrix(sparse.eye_array(part.shape[0]) - discount * part.T)
    visits = np.zeros(len(source))
    visits[inside] = spsolve(system, source[inside])
    return visits


def refuse_endless(problem: FiniteProblem, chain: sparse.csr_matrix, seen: Mask | None = None) -> None:
    """Raise NoConvergence if the discount is 1 and the chain need not end from some state (of those in `seen`)."""
    ends = spread(chain, problem.terminal)
    stuck = np.flatnonzero(~ends if seen is None else seen & ~ends)
    if problem.discount == 1.0 and len(stuck):
        raise NoConvergence(
            f"under this policy an episode that comes to state {stuck[0]} never ends and its sum has no limit; "
            "give a horizon, a discount below 1 or average=True"
        )


def transient_visits(problem: FiniteProblem, policy: Array) -> Array:
    """Expected number of times [S, A] that actions are taken in the states that a stationary policy leaves for good."""
    chain = state_chain(problem, policy)
    lasting = np.concatenate(recurrent_classes(chain))
    transient = spread(chain.T, problem.start > 0)
    transient[lasting] = False
    return np.asarray(_flow(chain, transient, problem.start, 1.0)[:, None] * policy)
