"""Exact derivatives against hand arithmetic, finite differences and score functions summed over all trajectories."""

import numpy as np
import pytest
import torch

from tradeoff.evaluation import (
    InvalidPolicy,
    NoConvergence,
    enumerate_trajectories,
    exact_gradient,
    exact_hessian_vector,
    exact_jacobian,
    finite_problem,
    occupancy,
    policy_returns,
    torch_occupancy,
    trajectory_probability,
)

pytestmark = pytest.mark.usefixtures("one_thread")
CRITERIA = [({}, False), ({}, True), ({"horizon": 4}, False), ({"horizon": 4}, True), ({"average": True}, False)]


def softmax(logits):
    weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True)


def differences(function, theta, step):
    """Central differences [*value, *theta]."""
    rows = []
    for index in np.ndindex(theta.shape):
        move = np.zeros(theta.shape)
        move[index] = step
        rows.append((np.asarray(function(theta + move)) - np.asarray(function(theta - move))) / (2 * step))
    return np.moveaxis(np.array(rows), 0, -1).reshape(*np.shape(rows[0]), *theta.shape)


def test_two_arms_by_hand():
    # Arms pay 4 and 0, p = (1/4, 3/4): J = 1, dJ/dlogit_a = p_a (r_a - J) = (3/4, -3/4).
    # d2J/dlogit_1^2 = 4 p (1 - p) (1 - 2p) = 4 (3/16) (1/2) = 3/8, and the logits only matter by their difference.
    problem = finite_problem(np.ones((1, 2, 1)), np.array([[[4.0], [0.0]]]), start=0, discount=1.0)
    logits = np.log([[0.25, 0.75]])
    np.testing.assert_allclose(exact_jacobian(problem, logits, horizon=1), [[[0.75, -0.75]]], rtol=1e-14)
    np.testing.assert_allclose(exact_gradient(problem, logits, [2.0], horizon=1), [[1.5, -1.5]], rtol=1e-14)
    along = exact_hessian_vector(problem, logits, [[1.0, 0.0]], [1.0], horizon=1)
    np.testing.assert_allclose(along, [[0.375, -0.375]], rtol=1e-13)
    # f(J) = J^2: gradient 2 J J' = (3/2, -3/2); curvature 2 J'^2 + 2 J J'' = 9/8 + 3/4 = 15/8.
    square = lambda returns, taken: returns[0] ** 2  # noqa: E731
    np.testing.assert_allclose(exact_gradient(problem, logits, square, horizon=1), [[1.5, -1.5]], rtol=1e-14)
    along = exact_hessian_vector(problem, logits, [[1.0, 0.0]], square, horizon=1)
    np.testing.assert_allclose(along, [[1.875, -1.875]], rtol=1e-13)


@pytest.mark.parametrize(("criterion", "ends"), CRITERIA, ids=str)
def test_by_finite_differences(random_problem, criterion, ends):
    arrays = random_problem(0, states=4)
    problem = finite_problem(**arrays, discount=0.9, terminal=np.array([False, False, False, ends]))
    theta = np.random.default_rng(1).normal(size=(4, 2))
    returns = lambda logits: policy_returns(problem, softmax(logits), **criterion)  # noqa: E731
    found = exact_jacobian(problem, theta, **criterion)
    assert found.shape == (2, 4, 2) and np.abs(found).max() > 0.01
    np.testing.assert_allclose(found, differences(returns, theta, 1e-5), atol=1e-8)
    utility = lambda returns, taken: (returns[0] * returns[1]).sin() + (taken**2).sum()  # noqa: E731
    slope = lambda logits: exact_gradient(problem, logits, utility, **criterion)  # noqa: E731
    vector = np.random.default_rng(2).normal(size=(4, 2))
    wanted = np.einsum("ijkl,kl->ij", differences(slope, theta, 1e-5), vector)
    np.testing.assert_allclose(exact_hessian_vector(problem, theta, vector, utility, **criterion), wanted, atol=1e-7)


def test_utility_sees_the_occupancy_summed_over_steps(random_problem):
    problem = finite_problem(**random_problem(3), discount=0.9)
    theta = np.random.default_rng(4).normal(size=(3, 2))
    utility = lambda returns, taken: taken[0, 1] ** 2  # noqa: E731
    value = lambda logits: occupancy(problem, softmax(logits), horizon=3).sum(axis=0)[0, 1] ** 2  # noqa: E731
    found = exact_gradient(problem, theta, utility, horizon=3)
    np.testing.assert_allclose(found, differences(value, theta, 1e-5), atol=1e-9)


@pytest.mark.parametrize("by_step", [False, True])
def test_by_the_score_function_over_all_trajectories(random_problem, by_step):
    # dJ/dlogits = sum over trajectories of chance x discounted return x sum of scores, score = 1{s, a} - pi(. | s).
    problem = finite_problem(**random_problem(5), discount=0.9)
    theta = np.random.default_rng(6).normal(size=(4, 3, 2) if by_step else (3, 2))
    policy = np.broadcast_to(softmax(theta), (4, 3, 2))
    every = enumerate_trajectories(problem, 4)
    chance = trajectory_probability(problem, every, policy)
    score = np.zeros((len(chance), 4, 3, 2))
    trajectory, step = np.indices(every.actions.shape)
    score[trajectory, step, every.states[:, :-1]] = -policy[step, every.states[:, :-1]]
    score[trajectory, step, every.states[:, :-1], every.actions] += 1.0
    total = (every.rewards * 0.9 ** np.arange(4)[:, None]).sum(axis=1)
    wanted = np.einsum("n,nm,nhsa->mhsa", chance, total, score)
    found = exact_jacobian(problem, theta, horizon=4)
    np.testing.assert_allclose(found, wanted if by_step else wanted.sum(axis=1), atol=1e-12)


def test_any_mapping_from_parameters(random_problem):
    # One number moves the first action in every state: dJ/dt is the sum over states of what each state's move does.
    problem = finite_problem(**random_problem(7), discount=0.8)
    shared = lambda t: torch.stack([t.sigmoid(), 1 - t.sigmoid()]).expand(3, 2)  # noqa: E731
    by_state = exact_jacobian(problem, np.tile([0.3, 0.0], (3, 1)))
    np.testing.assert_allclose(exact_jacobian(problem, 0.3, shared), by_state[:, :, 0].sum(axis=1), rtol=1e-12)


def test_undiscounted_episodes_and_states_never_seen():
    # 0 ends with chance p or stays, each pays 1: J = 1 / p, dJ/dlogit_end = -p (1 - p) / p^2 = -3 at p = 1/4.
    # State 2 is a trap that nothing leads to: it must not spoil the system.
    transition = np.zeros((3, 2, 3))
    transition[0, 0, 1] = transition[0, 1, 0] = transition[1, :, 1] = transition[2, :, 2] = 1.0
    reward = np.ones((3, 2, 1))
    problem = finite_problem(transition, reward, start=0, terminal=[False, True, False], discount=1.0)
    theta = np.log([[0.25, 0.75], [0.5, 0.5], [0.5, 0.5]])
    wanted = np.zeros((1, 3, 2))
    wanted[0, 0] = -3.0, 3.0
    np.testing.assert_allclose(exact_jacobian(problem, theta), wanted, atol=1e-12)
    taken = torch_occupancy(problem, torch.tensor(theta).exp())
    np.testing.assert_allclose(taken.numpy(), [[1.0, 3.0], [0.0, 0.0], [0.0, 0.0]], rtol=1e-12)
    taken = torch_occupancy(problem, torch.tensor(theta).exp(), horizon=2)
    np.testing.assert_allclose(taken.numpy()[1], [[3 / 16, 9 / 16], [0.0, 0.0], [0.0, 0.0]], rtol=1e-12)
    # In the long run every episode is over: the average is 0 and stays 0.
    np.testing.assert_allclose(exact_jacobian(problem, theta, average=True), 0.0, atol=1e-12)
    taken = torch_occupancy(problem, torch.tensor(theta).exp(), average=True)
    np.testing.assert_allclose(taken.numpy(), 0.0, atol=1e-12)


def test_what_has_no_derivative_is_refused(two_state):
    with pytest.raises(NoConvergence, match="never ends"):
        exact_jacobian(finite_problem(**two_state, discount=1.0), np.zeros((2, 2)))
    split = finite_problem(np.eye(2)[:, None], np.ones((2, 1, 1)), start=[0.5, 0.5], discount=0.5)
    with pytest.raises(NoConvergence, match=r"2 recurrent classes \(around states 0, 1\)"):
        exact_jacobian(split, np.zeros((2, 1)), average=True)
    np.testing.assert_allclose(exact_jacobian(split, np.zeros((2, 1))), 0.0)
    with pytest.raises(InvalidPolicy, match=r"shape \(2,\)"):
        exact_jacobian(split, np.zeros(2))
