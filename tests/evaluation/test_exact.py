"""Exact returns against hand arithmetic, enumeration of trajectories and of policies, and published optima."""

from itertools import product

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from tradeoff.evaluation import (
    InvalidPoints,
    InvalidPolicy,
    InvalidProblem,
    NoConvergence,
    best_policy,
    concave_optimum,
    constrained_optimum,
    convex_coverage_set,
    enumerate_trajectories,
    finite_problem,
    occupancy,
    pareto_front,
    policy_from_occupancy,
    policy_returns,
    trajectory_probability,
)


def random_policy(seed, *shape):
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), size=shape[:-1])


def ladder(discount):
    """0 climbs to 1 with chance 1/2 (else stays), 1 to the terminal state 2; every step pays (1, state)."""
    transition = np.zeros((3, 1, 3))
    transition[0, 0, :2], transition[1, 0, 2], transition[2, 0, 2] = 0.5, 1.0, 1.0
    reward = np.array([[[1.0, 0.0]], [[1.0, 1.0]], [[9.0, 9.0]]])  # what a terminal state would pay is not earned
    return finite_problem(transition, reward, start=0, terminal=[False, False, True], discount=discount)


def test_two_states_by_hand(two_state):
    # Action 1 in state 0; in state 1 action 1 with 1/8.
    # Chain: 0 -> (.2, .8), 1 -> 7/8 (.7, .3) + 1/8 (.1, .9) = (.625, .375).
    # d0 = 1 + .9 (.2 d0 + .625 d1), d0 + d1 = 10: .82 d0 = 1 + .5625 (10 - d0), so d0 = 6.625 / 1.3825.
    first = 6.625 / 1.3825
    # Reward .2 in state 0 and .5 7/8 + 1/8 = .5625 in state 1; cost .3 and .2 7/8 + 1/8 = .3: 3 in all.
    problem = finite_problem(**two_state, discount=0.9)
    policy = [[0.0, 1.0], [0.875, 0.125]]
    found = policy_returns(problem, policy)
    np.testing.assert_allclose(found, [0.2 * first + 0.5625 * (10 - first), 3.0], rtol=1e-13)
    np.testing.assert_allclose(found / 10, [0.388788, 0.3], atol=5e-7)
    np.testing.assert_allclose(occupancy(problem, policy)[0], [0.0, first], rtol=1e-13)


def test_an_episode_that_ends(two_state):
    # Undiscounted: 2 visits to 0 on average, 1 to 1: (3, 1). Discount 1/2: d0 = 1 / (1 - 1/4) = 4/3, d1 = d0 / 4 = 1/3.
    np.testing.assert_allclose(policy_returns(ladder(1.0), np.ones((3, 1))), [3.0, 1.0], rtol=1e-14)
    np.testing.assert_allclose(policy_returns(ladder(0.5), np.ones((3, 1))), [5 / 3, 1 / 3], rtol=1e-14)
    found = best_policy(ladder(1.0), [1.0, 0.0])
    assert found.value == pytest.approx(3.0, rel=1e-12)
    np.testing.assert_allclose(found.values, [3.0, 1.0, 0.0], atol=1e-10)
    np.testing.assert_allclose(occupancy(ladder(0.5), np.ones((3, 1)))[:, 0], [4 / 3, 1 / 3, 0.0], rtol=1e-14)
    # Three steps: (1 + 1/2) + (1/2 + 1/4) + 0 + ...: at 0 with 1, 1/2, 1/4; at 1 with 0, 1/2, 1/4.
    taken = occupancy(ladder(1.0), np.ones((3, 1)), horizon=3)[:, :, 0]
    np.testing.assert_allclose(taken, [[1, 0, 0], [0.5, 0.5, 0], [0.25, 0.25, 0]], rtol=1e-14)
    np.testing.assert_allclose(policy_returns(ladder(1.0), np.ones((3, 1)), average=True), 0.0, atol=1e-14)
    # A trap that this policy does not enter (action 1 ends, action 0 is caught) does no harm.
    trap = np.eye(3)[[[1, 2], [1, 1], [2, 2]]]
    trapped = finite_problem(trap, np.ones((3, 2, 1)), start=0, terminal=[False, False, True], discount=1.0)
    np.testing.assert_allclose(policy_returns(trapped, np.tile([0.0, 1.0], (3, 1))), 1.0, rtol=1e-14)
    with pytest.raises(NoConvergence, match="state 1 never ends"):
        policy_returns(trapped, np.full((3, 2), 0.5))
    with pytest.raises(NoConvergence, match="state 0 never ends"):
        policy_returns(finite_problem(**two_state, discount=1.0), np.full((2, 2), 0.5))


@pytest.mark.parametrize("discount", [1.0, 0.8])
@pytest.mark.parametrize("by_step", [False, True])
def test_a_horizon_by_enumeration_of_trajectories(random_problem, discount, by_step):
    problem = finite_problem(**random_problem(1), discount=discount)
    policy = random_policy(2, *((4, 3, 2) if by_step else (3, 2)))
    every = enumerate_trajectories(problem, 4)
    chance = trajectory_probability(problem, every, policy)
    wanted = chance @ (every.rewards * discount ** np.arange(4)[:, None]).sum(axis=1)
    np.testing.assert_allclose(policy_returns(problem, policy, horizon=4), wanted, atol=1e-13)


def test_a_long_horizon_is_the_discounted_sum(random_problem):
    problem, policy = finite_problem(**random_problem(3, states=5), discount=0.9), random_policy(4, 5, 2)
    long = occupancy(problem, policy, horizon=400)  # 0.9^400 is 5e-19
    np.testing.assert_allclose(occupancy(problem, policy), long.sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(long.sum(axis=(1, 2)), 0.9 ** np.arange(400), rtol=1e-12)
    np.testing.assert_allclose(policy_from_occupancy(long[-1]), policy, atol=1e-12)
    np.testing.assert_allclose(policy_from_occupancy([[0.0, 0.0], [0.0, -1e-9]]), 0.5)


def test_average_reward_by_hand():
    # Flip with chance 1/4 from 0 and 1/2 from 1: in the long run 2/3 and 1/3 of the time there.
    flips = finite_problem(
        np.array([[[0.75, 0.25]], [[0.5, 0.5]]]), np.array([[[3.0]], [[6.0]]]), start=1, discount=0.9
    )
    np.testing.assert_allclose(policy_returns(flips, np.ones((2, 1)), average=True), 4.0, rtol=1e-14)
    # A cycle of two: half the time each, although the distribution of the state never settles.
    cycle = finite_problem(np.eye(2)[::-1][:, None], np.array([[[1.0]], [[2.0]]]), start=0, discount=1.0)
    np.testing.assert_allclose(policy_returns(cycle, np.ones((2, 1)), average=True), 1.5, rtol=1e-14)
    # 0 goes to the cycle {1, 2} with 1/4, to the trap 3 with 1/4, else stays: each with 1/2. 4 is never seen.
    fork = np.zeros((5, 1, 5))
    fork[0, 0, [0, 1, 3]] = 0.5, 0.25, 0.25
    fork[1, 0, 2] = fork[2, 0, 1] = fork[3, 0, 3] = fork[4, 0, 4] = 1.0
    problem = finite_problem(fork, np.eye(5)[:, None], start=0, discount=1.0)
    np.testing.assert_allclose(
        policy_returns(problem, np.ones((5, 1)), average=True), [0, 0.25, 0.25, 0.5, 0], atol=1e-14
    )


def test_the_average_is_the_limit_of_the_discounted(random_problem):
    arrays, policy = random_problem(5, states=4), random_policy(6, 4, 2)
    average = policy_returns(finite_problem(**arrays, discount=0.0), policy, average=True)
    near = policy_returns(finite_problem(**arrays, discount=1 - 1e-7), policy) * 1e-7
    np.testing.assert_allclose(average, near, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_policy_by_enumeration(random_problem, seed):
    problem, weights = finite_problem(**random_problem(seed), discount=0.85), np.array([0.7, -0.4])
    every = [policy_returns(problem, np.eye(2)[list(choice)]) @ weights for choice in product(range(2), repeat=3)]
    found = best_policy(problem, weights)
    assert found.value == pytest.approx(max(every), abs=1e-12)
    assert found.returns @ weights == pytest.approx(found.value, abs=1e-12)
    assert problem.start @ found.values == pytest.approx(found.value, abs=1e-10)
    np.testing.assert_allclose(found.policy, np.eye(2)[list(list(product(range(2), repeat=3))[int(np.argmax(every))])])


@pytest.mark.parametrize("discount", [1.0, 0.5])
def test_the_best_policy_of_three_steps_by_enumeration(random_problem, discount):
    problem = finite_problem(**random_problem(7, states=2), discount=discount)
    every = [
        policy_returns(problem, np.eye(2)[np.reshape(choice, (3, 2))], horizon=3)[0]
        for choice in product(range(2), repeat=6)
    ]
    found = best_policy(problem, [1.0, 0.0], horizon=3)
    assert found.value == pytest.approx(max(every), abs=1e-13) and found.returns[0] == pytest.approx(found.value)
    assert found.values.shape == (3, 2) and problem.start @ found.values[0] == pytest.approx(max(every), abs=1e-13)


@pytest.mark.parametrize(("map_name", "wanted"), [("8x8", 0.4146), ("4x4", 0.5420)])
def test_the_slippery_lake(frozen_lake, map_name, wanted):
    found = best_policy(finite_problem(**frozen_lake(map_name), discount=0.99), [1.0])
    assert found.value == pytest.approx(wanted, abs=5e-5)
    assert found.values[0] == pytest.approx(found.value, abs=1e-9)


def test_bad_input_is_refused(two_state):
    problem = finite_problem(**two_state, discount=0.9)
    with pytest.raises(InvalidPolicy, match=r"shape \(2,\); expected \(2, 2\)$"):
        policy_returns(problem, [1.0, 0.0])
    with pytest.raises(InvalidPolicy, match=r"expected \(2, 2\) or \(3, 2, 2\)"):
        policy_returns(problem, np.full((4, 2, 2), 0.5), horizon=3)
    with pytest.raises(InvalidPolicy, match=r"policy\[1\] is \[0.5, 0.6\]"):
        policy_returns(problem, [[1.0, 0.0], [0.5, 0.6]])
    with pytest.raises(InvalidPolicy, match=r"policy\[0\] is \[1.5, -0.5\]"):
        policy_returns(problem, [[1.5, -0.5], [0.5, 0.5]])
    with pytest.raises(InvalidPolicy, match=r"policy\[0\] is \[nan, 1.0\]"):
        policy_returns(problem, [[np.nan, 1.0], [0.5, 0.5]])
    with pytest.raises(InvalidPoints, match="weights"):
        best_policy(problem, [1.0])
    with pytest.raises(NoConvergence, match="after 50 sweeps"):
        best_policy(finite_problem(**two_state, discount=1.0), [1.0, 0.0], max_sweeps=50)


@pytest.mark.parametrize("horizon", [0, -1, 2.5, np.nan, True])
def test_a_horizon_that_is_no_number_of_steps_is_refused(two_state, horizon):
    problem, uniform = finite_problem(**two_state, discount=0.9), np.full((2, 2), 0.5)
    for call in (
        lambda: policy_returns(problem, uniform, horizon=horizon),
        lambda: best_policy(problem, [1, 0], horizon=horizon),
        lambda: constrained_optimum(problem, [1, 0], [(1, 3.0)], horizon=horizon),
        lambda: enumerate_trajectories(problem, horizon),
        lambda: pareto_front(**two_state, discount=0.9, horizon=horizon),
        lambda: convex_coverage_set(**two_state, discount=0.9, horizon=horizon),
    ):
        with pytest.raises(InvalidProblem, match=r"horizon is .*; expected a whole number of steps, at least 1"):
            call()


@pytest.mark.parametrize("dense", [True, False])
def test_probabilities_of_32_bits_are_normalised(dense):
    """A third in 32 bits is 1/3 + 2^-25 / 3, thrice that 1 + 2^-25; read as 64 bits it would earn too much for ever."""
    third = np.full((3, 1, 3), 1 / 3, np.float32)
    table = third if dense else csr_matrix(third.reshape(3, 3))
    start = np.full(3, 1 / 3, np.float32)
    assert third[0, 0].astype(float).sum() == 1 + 2.0**-25
    problem = finite_problem(table, np.ones((3, 1, 1)), start=start, discount=0.999)
    assert (problem.transition.data == 1 / 3).all() and (problem.start == 1 / 3).all()
    found = policy_returns(problem, np.ones((3, 1)))
    np.testing.assert_allclose(found, 1000.0, rtol=1e-12)  # 1 / (1 - 0.999); unnormalised 1000.03
    off = third.astype(float)
    off[1, 0, 2] += 1e-5
    with pytest.raises(InvalidProblem, match=r"transition\[1, 0\] is no distribution \(sum 1.00001"):
        finite_problem(off, np.ones((3, 1, 1)), start=0, discount=0.9)


def test_probabilities_of_64_bits_stay_as_they_are():
    tenths = np.full((10, 1, 10), 0.1)  # whose sum is 1 - 2^-53
    problem = finite_problem(tenths, np.ones((10, 1, 1)), start=tenths[0, 0], discount=0.9)
    assert (problem.transition.data == 0.1).all() and (problem.start == 0.1).all()


def test_arrays_that_are_no_probabilities_are_refused(two_state):
    for value in (np.nan, np.inf, -0.1, 0.4):
        broken = two_state["transition"].copy()
        broken[1, 0, 1] = value
        for transition in (broken, csr_matrix(broken.reshape(4, 2))):
            with pytest.raises(InvalidProblem, match=r"transition\[1, 0\] is no distribution"):
                finite_problem(**two_state | {"transition": transition}, discount=0.9)
    for start in ([np.nan, 1.0], [0.5, np.nan], [1.5, -0.5], [0.5, 0.4], np.nan, 2, 0.5):
        with pytest.raises(InvalidProblem, match="start"):
            finite_problem(**two_state | {"start": start}, discount=0.9)
    with pytest.raises(InvalidProblem, match="discount is nan"):
        finite_problem(**two_state, discount=np.nan)
    # What stands in the rows of a terminal state is not read.
    broken = two_state["transition"].copy()
    broken[1] = np.nan
    ended = finite_problem(**two_state | {"transition": broken}, discount=0.9, terminal=[False, True])
    assert policy_returns(ended, np.full((2, 2), 0.5)).tolist() == pytest.approx(
        [0.1 / (1 - 0.495), 0.15 / (1 - 0.495)]
    )


def test_episodes_that_are_over_before_they_begin(two_state):
    problem = finite_problem(**two_state | {"start": 1}, discount=0.9, terminal=[False, True])
    assert policy_returns(problem, np.full((2, 2), 0.5)).tolist() == [0.0, 0.0]
    assert best_policy(problem, [1, 0]).value == 0.0
    for criterion in ({}, {"horizon": 3}, {"average": True}):
        with pytest.raises(InvalidProblem, match="every start state is terminal"):
            constrained_optimum(problem, [1, 0], [(1, 3.0)], **criterion)
        with pytest.raises(InvalidProblem, match="every start state is terminal"):
            concave_optimum(problem, lambda returns, occupancy: returns[0], **criterion)
