"""Lists of all trajectories against counts and chances worked out by hand."""

import numpy as np
import pytest

from tradeoff.evaluation import (
    NoConvergence,
    enumerate_trajectories,
    finite_problem,
    policy_returns,
    trajectory_probability,
)


def test_the_reference_size(random_problem):
    # Three first states, then 2 actions x 3 next states four times: 3 * 6^4 = 3888, each once.
    problem = finite_problem(**random_problem(0), discount=0.9)
    every = enumerate_trajectories(problem, 4)
    assert every.states.shape == (3888, 5) and every.actions.shape == (3888, 4) and every.rewards.shape == (3888, 4, 2)
    assert every.live.all()
    assert len(np.unique(np.column_stack([every.states, every.actions]), axis=0)) == 3888
    # The environment's part sums to 1 for each of the 2^4 sequences of actions.
    assert every.probability.sum() == pytest.approx(16.0, abs=1e-12)
    one = 1234
    s, a = every.states[one], every.actions[one]
    steps = [problem.transition[s[t] * 2 + a[t], s[t + 1]] for t in range(4)]
    assert every.probability[one] == pytest.approx(problem.start[s[0]] * np.prod(steps), rel=1e-14)
    np.testing.assert_array_equal(every.rewards[one], [problem.reward[s[t], a[t]] for t in range(4)])


def test_a_coin_by_hand():
    # State 0: action 0 stays, action 1 tosses between 0 and the end 1. Two steps, pi(1) = 1/4 first, then 1/2:
    #   stay stay: 3/4 1/2               stay toss 0, stay toss 1: 3/4 1/2 1/2 each
    #   toss 0 stay: 1/4 1/2 1/2         toss 0 toss 0, toss 0 toss 1: 1/8 1/2 1/2 each       toss 1: 1/4 1/2
    transition = np.zeros((2, 2, 2))
    transition[0, 0, 0], transition[0, 1], transition[1, :, 1] = 1.0, 0.5, 1.0
    reward = np.array([[[1.0], [2.0]], [[7.0], [7.0]]])
    problem = finite_problem(transition, reward, start=0, terminal=[False, True], discount=1.0)
    every = enumerate_trajectories(problem, 2)
    np.testing.assert_array_equal(
        every.states, [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]]
    )
    np.testing.assert_array_equal(every.actions, [[0, 0], [0, 1], [0, 1], [1, 0], [1, 1], [1, 1], [1, 0]])
    np.testing.assert_array_equal(every.rewards[..., 0], [[1, 1], [1, 2], [1, 2], [2, 1], [2, 2], [2, 2], [2, 0]])
    np.testing.assert_array_equal(every.live[:, 1], [True] * 6 + [False])
    np.testing.assert_allclose(every.probability, [1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.5])
    policy = np.array([[[0.75, 0.25], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]])
    chance = trajectory_probability(problem, every, policy)
    np.testing.assert_allclose(chance, [3 / 8, 3 / 16, 3 / 16, 1 / 16, 1 / 32, 1 / 32, 1 / 8], rtol=1e-14)
    assert chance @ every.rewards.sum(axis=(1, 2)) == pytest.approx(policy_returns(problem, policy, horizon=2)[0])


def test_too_many_are_refused(random_problem):
    problem = finite_problem(**random_problem(0), discount=0.9)
    with pytest.raises(NoConvergence, match="139968 trajectories after 6 of 20 steps are too many"):
        enumerate_trajectories(problem, 20)
    assert len(enumerate_trajectories(problem, 1).states) == 18
