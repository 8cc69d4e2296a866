"""Every trajectory of a small finite problem, so that an expectation is a finite sum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradeoff.evaluation.checks import Array, Mask
from tradeoff.evaluation.exact import check_policy
from tradeoff.evaluation.finite import FiniteProblem, NoConvergence, check_horizon

LARGEST_COUNT = 2_000_000  # steps of all trajectories together


class EveryTrajectory(NamedTuple):
    """All n trajectories of H steps that some policy can produce, each once.

    Where an episode ended before H steps, the rest stays in the terminal state: action 0, reward 0, `live` False.
    """

    states: NDArray[np.int64]  # [n, H + 1]
    actions: NDArray[np.int64]  # [n, H]
    rewards: Array  # [n, H, m] expected reward of the state and action, not discounted
    live: Mask  # [n, H] a step is taken: False after a terminal state
    probability: Array  # [n] the environment's part: first state and transitions


def enumerate_trajectories(problem: FiniteProblem, horizon: int) -> EveryTrajectory:
    """All trajectories of `horizon` steps: 3 * 6^4 = 3888 for 3 states that all follow each other, 2 actions, 4 steps.

    The probability of a trajectory under a policy is `probability` times the policy's at every live step; see
    `trajectory_probability`. Raises NoConvergence if there are too many for the memory.
    """
    check_horizon(horizon)
    first = np.flatnonzero(problem.start)
    states, chance = first[:, None], problem.start[first]
    actions, live = np.empty((len(first), 0), dtype=np.int64), np.empty((len(first), 0), dtype=bool)
    for _ in range(horizon):
        parent, action, after, factor = _branches(problem, states[:, -1])
        if len(parent) * horizon > LARGEST_COUNT:
            raise NoConvergence(
                f"{len(parent)} trajectories after {states.shape[1]} of {horizon} steps are too many to list; "
                "give a shorter horizon, or use `policy_returns`, which needs no list"
            )
        alive = ~problem.terminal[states[parent, -1]]
        states = np.column_stack([states[parent], after])
        actions, live = np.column_stack([actions[parent], action]), np.column_stack([live[parent], alive])
        chance = chance[parent] * factor
    rewards = problem.reward[states[:, :-1], actions]
    return EveryTrajectory(states, actions, rewards, live, chance)


def trajectory_probability(problem: FiniteProblem, trajectories: EveryTrajectory, policy: ArrayLike) -> Array:
    """Probability [n] of every trajectory under a policy [S, A] or [H, S, A]; of sum 1."""
    horizon = trajectories.actions.shape[1]
    given = check_policy(problem, policy, horizon)
    chosen = given[np.arange(horizon), trajectories.states[:, :-1], trajectories.actions]
    return np.asarray(trajectories.probability * np.where(trajectories.live, chosen, 1.0).prod(axis=1))


def _branches(
    problem: FiniteProblem, last: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Array]:
    """Parent, action, next state and probability of every continuation; a terminal state has one, to itself."""
    actions = problem.reward.shape[1]
    ended = np.flatnonzero(problem.terminal[last])
    going = np.flatnonzero(~problem.terminal[last])
    rows = (last[going, None] * actions + np.arange(actions)).ravel()
    picked = problem.transition[rows].tocoo()
    parent = np.concatenate([ended, going[picked.row // actions]])
    action = np.concatenate([np.zeros_like(ended), picked.row % actions])
    after = np.concatenate([last[ended], picked.col])
    factor = np.concatenate([np.ones(len(ended)), picked.data])
    order = np.lexsort((after, action, parent))
    return parent[order], action[order].astype(np.int64), after[order].astype(np.int64), factor[order]
