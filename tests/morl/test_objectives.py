"""Formalisms of objectives, each trained by the engine to an optimum that is known by other means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cvxpy
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Generator, Tensor

from tests.envs.test_reward_machine import FETCH, LABELS, corridor_model, label
from tradeoff.engine import (
    ActorCritic,
    Learner,
    LearnerConfig,
    Linear,
    Rollout,
    fresh_population,
    make_features,
    make_head,
)
from tradeoff.engine.compositions import Composition, gpomdp
from tradeoff.engine.episodes import occupancy_channels
from tradeoff.engine.episodic import EpisodicLearner, episodic_learner
from tradeoff.engine.normalisers import standard
from tradeoff.engine.updates import Adam
from tradeoff.envs import EnvSpec, finite_arrays, make_tabular
from tradeoff.envs.accrued import AccruedReward
from tradeoff.envs.finite import FiniteEnv, explore
from tradeoff.envs.reward_machine import MachineReward, machine_model, reward_machine
from tradeoff.evaluation import FiniteProblem, best_policy, concave_optimum, finite_problem, policy_returns
from tradeoff.morl import utilities as u
from tradeoff.morl.channels import AverageReturns, regularised
from tradeoff.morl.criteria import ESR, SER, accrued
from tradeoff.morl.occupancy import entropy
from tradeoff.morl.orderings import max_min
from tradeoff.morl.scalarizers import SERScalarizer


def _learn(
    make_env: Callable[..., Any], scalarizer: Any, turns: int, *, batch: int = 64, **options: Any
) -> EpisodicLearner:
    made = gpomdp(0.0, batch, baseline="mean", separate=options.pop("separate", True))
    learner = episodic_learner(
        lambda n, seed: make_env(n), scalarizer, Composition(made.estimator, Adam(options.pop("rate", 0.05))),
        Generator().manual_seed(0), hidden=options.pop("hidden", (8,)), **options,
    )  # fmt: skip
    for turn in range(turns):
        learner.iterate(1.0 - turn / turns)
    return learner


def _chances(learner: Any, observations: Tensor) -> Tensor:
    """pi(a|s) [P, n, A] at observations [n, d]."""
    model, people = learner.model, learner.population
    seen = observations.expand(len(people), *observations.shape)
    inputs = model.inputs(seen, standard(people.observations), seen[..., :0])
    return model.outputs(model.actor(people.theta), inputs)[0].softmax(-1).detach()


def lottery(num_envs: int) -> FiniteEnv:
    """Arm 0 draws (4, 0) or (0, 4), arm 1 pays (1.5, 1.5) for sure. One step."""
    draws = [[(0.5, "over", (4.0, 0.0), True), (0.5, "over", (0.0, 4.0), True)], [(1.0, "over", (1.5, 1.5), True)]]
    tables = explore(["start"], 2, lambda state, action: draws[action], lambda state: float(state == "over"))
    spec = EnvSpec(
        id="lottery", observation_space=spaces.MultiDiscrete([2]), action_space=spaces.Discrete(2),
        objectives=("left", "right"), horizon=1, discount=1.0,
    )  # fmt: skip
    return FiniteEnv(spec, tables, num_envs)


def test_the_utility_of_the_mean_takes_the_lottery_and_the_mean_utility_the_sure_arm() -> None:
    # u = sqrt + sqrt. Means (2, 2): 2.83 against 2.45. Each draw is worth sqrt 4 = 2, the sure arm 2.45.
    root = u.square_root()
    ser = _learn(lottery, SERScalarizer(SER(root), 2, floor=0.1), 40)
    esr = _learn(lambda n: accrued(lottery(n), ESR(root)), Linear(torch.tensor([[1.0, 0, 0]])), 40)
    assert _chances(ser, torch.zeros(1, 1))[0, 0, 0] > 0.95
    assert _chances(esr, torch.tensor([[1.0, 0, 0, 0, 1]]))[0, 0, 1] > 0.95
    assert esr.returns[0, 0].item() == pytest.approx(2 * 1.5**0.5, abs=0.05)
    assert ser.returns.sqrt().sum().item() == pytest.approx(2 * 2**0.5, abs=0.1)


def test_an_outer_utility_reaches_a_stochastic_optimum_that_no_weights_have_alone() -> None:
    # Arms (1, 0), (0, 1), (.4, .4): log J0 + log J1 and min(J0, J1) are best at even odds of the first two.
    model = finite_arrays(
        [[[0, 1.0]] * 3, [[0, 1.0]] * 3], [[[1, 0], [0, 1], [0.4, 0.4]]] * 2, terminal=[False, True], horizon=1
    )
    make = lambda n: make_tabular(model, n)  # noqa: E731
    for utility in (u.proportional_fair(shift=0.01), max_min()):
        learner = _learn(make, SERScalarizer(SER(utility), 2), 200, batch=128)
        chance = _chances(learner, torch.zeros(1, 1))[0, 0]
        np.testing.assert_allclose(chance, [0.5, 0.5, 0], atol=0.06)


def test_mean_and_variance_of_the_lottery() -> None:
    # E[G], E[G^2] as channels; f = mean - var: G is 4 or 0 (mean 2, variance 4) or 1.5. With weight .02: 1.92 > 1.5.
    moments = lambda g: torch.stack([g[:, 0], g[:, 0] ** 2], -1)  # noqa: E731
    make = lambda n: AccruedReward(lottery(n), moments, names=("mean", "square"))  # noqa: E731
    f = lambda x, price: x[:, 0] - price[:, 0] * (x[:, 1] - x[:, 0] ** 2)  # noqa: E731
    rule = SERScalarizer(SER(u.by_autograd(f, price=[[1.0], [0.02]])), 2)
    learner = _learn(make, rule, 60, policies=2, batch=128)
    chance = _chances(learner, torch.tensor([[1.0, 0, 0, 0, 1]]))[:, 0, 0]
    assert chance[0] < 0.05 and chance[1] > 0.95
    np.testing.assert_allclose(learner.returns[1, :2], [2, 8], atol=1.0)


def test_a_reward_machine_is_learned_to_the_value_of_the_product() -> None:
    # Key, then door, slips of 1/10; exact by value iteration on 15 states (discount .9, no clock within reach).
    product = machine_model(corridor_model(0.1, 30), FETCH, LABELS)
    problem = finite_problem(
        product.transition, product.reward, start=product.start, terminal=product.terminal, discount=0.9
    )
    best = best_policy(problem, [1.0, 0.1], horizon=30)
    make = lambda n: MachineReward(make_tabular(corridor_model(0.1, 30), n, discount=0.9), FETCH, label)  # noqa: E731
    learner = _learn(make, Linear(torch.tensor([[1.0, 0.1]])), 60, hidden=(16,), separate=False)
    observations = torch.eye(8)[:5].repeat_interleave(3, 0) + torch.eye(8)[5:].repeat(5, 1)
    policy = _chances(learner, observations)[0].double().numpy()
    reached = policy_returns(problem, policy / policy.sum(-1, keepdims=True), horizon=30) @ [1.0, 0.1]
    assert best.value > 2 and reached > 0.97 * best.value


def test_the_chance_to_satisfy_a_formula_of_events() -> None:
    # "Key before door": the machine pays 1 when done, 0 for the door first. Discount 1: its return is the chance.
    # Slips of 1/4, start between both. Exact: gambler's ruin on 0..4 from 2 with p = 3/4 to the key: 1 / (1 + (1/3)^2).
    formula = reward_machine([[0, 1, 2], [1, 1, 1], [2, 2, 2]], [[0, 1, 0], [0, 0, 0], [0, 0, 0]], ends=[1, 2])
    make = lambda n: MachineReward(make_tabular(corridor_model(0.25, 200), n), formula, label)  # noqa: E731
    learner = _learn(make, Linear(torch.tensor([[1.0, 0.0]])), 30, discount=1.0, batch=256, separate=False)
    assert learner.returns[0, 0].item() == pytest.approx(0.9, abs=0.06)
    assert _chances(learner, torch.eye(8)[2:3] + torch.eye(8)[5:6])[0, 0, 0] > 0.95


def test_regularised_learning_reaches_the_soft_optimum() -> None:
    # One step, pay (1, 0), alpha = 1/2: pi ~ exp(pay / alpha) = (e^2, 1), with a reference times (1/4, 3/4): (e^2, 3).
    model = finite_arrays([[[0, 1.0]] * 2] * 2, [[[1.0], [0.0]]] * 2, terminal=[False, True], horizon=1)
    make = lambda n: make_tabular(model, n)  # noqa: E731
    lean = torch.tensor([0.25, 0.75]).log()
    plain = _learn(make, Linear(torch.tensor([[1.0, 0.5]])), 60, batch=256, channels=regularised(), separate=False)
    toward = _learn(
        make, Linear(torch.tensor([[1.0, 0.5]])), 60, batch=256, separate=False,
        channels=regularised(lambda seen, action: lean[action[..., 0].long()]),
    )  # fmt: skip
    e = np.exp(2)
    assert _chances(plain, torch.zeros(1, 1))[0, 0, 0].item() == pytest.approx(e / (e + 1), abs=0.02)
    assert _chances(toward, torch.zeros(1, 1))[0, 0, 0].item() == pytest.approx(e / (e + 3), abs=0.02)


def _soft_optimum(problem: FiniteProblem, steps: int) -> tuple[np.ndarray, float]:
    """pi [S, A] of the first step and its value, with temperature 1, by soft value iteration."""
    values = np.zeros(len(problem.start))
    for _ in range(steps):
        q = problem.reward[..., 0] + problem.discount * (problem.transition @ values).reshape(len(values), -1)
        values = np.where(problem.terminal, 0.0, np.log(np.exp(q).sum(-1)))
    return np.exp(q - values[:, None]), float(problem.start @ values)


def test_regularised_learning_looks_ahead_at_later_entropy() -> None:
    # First step: left pays .2 and leads to a choice of which one action costs 5, right to two equal ones, whose entropy
    # is worth .9 log 2 in advance.
    transition = np.zeros((4, 2, 4))
    transition[0, 0, 1] = transition[0, 1, 2] = 1
    transition[1:, :, 3] = 1
    reward = np.array([[[0.2], [0]], [[0], [-5]], [[0], [0]], [[0], [0]]])
    terminal = [False, False, False, True]
    problem = finite_problem(transition, reward, start=0, terminal=terminal, discount=0.9)
    policy, value = _soft_optimum(problem, 2)
    make = lambda n: make_tabular(finite_arrays(transition, reward, terminal=terminal, horizon=2), n)  # noqa: E731
    learner = _learn(
        make, Linear(torch.ones(1, 2)), 120, batch=256, channels=regularised(), separate=False, discount=0.9
    )
    np.testing.assert_allclose(_chances(learner, torch.arange(3.0)[:, None])[0], policy[:3], atol=0.03)
    assert learner.returns.sum().item() == pytest.approx(value, abs=0.1)
    assert policy[0, 1] > 0.55, "without later entropy left would be better"


def test_average_reward_is_climbed_where_nothing_ever_ends() -> None:
    """State 0: stay for 1 a step, or go for nothing; state 1 pays 2.6 and leads back: 1.3 a step.

    Discount 1/2: 1 / (1 - 1/2) = 2 against (2.6 / 2) / (1 - 1/4) = 1.73; discount .95: 20 against 25.3.
    A bandit without end, log utility of the averages with weights (.9, .3): odds 3 to 1.
    """
    model = finite_arrays([[[1, 0], [0, 1]], [[1, 0], [1, 0]]], [[[1.0], [0]], [[2.6], [2.6]]])
    for gamma, average in ((0.5, 1.0), (0.95, 1.3)):
        learner = _continuing(model, Linear(torch.ones(1, 1)), gamma)
        assert learner.episodes.carry["mean"][0, 0].item() == pytest.approx(average, abs=0.08)
    bandit = finite_arrays(np.ones((1, 2, 1)), [[[1.0, 0], [0, 1]]])
    fair = _continuing(bandit, SERScalarizer(SER(u.proportional_fair([0.9, 0.3])), 2), 0.5)
    np.testing.assert_allclose(_chances(fair, torch.zeros(1, 1))[0, 0], [0.75, 0.25], atol=0.08)


def _continuing(model: Any, scalarizer: Any, gamma: float) -> Learner:
    config = LearnerConfig(
        rollout_steps=32, environments=16, epochs=4, minibatches=4, learning_rate=0.02, hidden=(8,), gamma=gamma
    )
    env, generator = make_tabular(model, 16), Generator().manual_seed(0)
    net = ActorCritic(
        make_features(env.spec.observation_space), make_head(env.spec.action_space), len(env.spec.objectives), (8,)
    )
    people = fresh_population(net, 1, generator)
    learner = Learner(net, Rollout(env, 1, 32), people, scalarizer, config, generator, discount=1.0)
    learner.episodes = AverageReturns()
    for turn in range(40):
        learner.iterate(1 - turn / 40)
    return learner


def test_entropy_of_the_occupancy_on_a_chain_of_four_states() -> None:
    """Left and right, slips of 1/10, start at an end, 12 steps: the concave program over occupancies knows the best."""
    transition = np.zeros((4, 2, 4))
    for s in range(4):
        for a, to in enumerate((max(s - 1, 0), min(s + 1, 3))):
            transition[s, a, to] += 0.9
            transition[s, 1 - a, to] += 0.1
    model = finite_arrays(transition, np.zeros((4, 2, 1)), horizon=12)
    problem = finite_problem(transition, model.reward, start=0, discount=0.95)
    mass = (1 - 0.95**12) / (1 - 0.95)
    best = concave_optimum(problem, lambda j, d: cvxpy.sum(cvxpy.entr(cvxpy.sum(d, axis=1) / mass)), horizon=12)
    rule = SERScalarizer(SER(entropy(mass=mass, actions=2)), 8, floor=1e-3)
    learner = _learn(
        lambda n: make_tabular(model, n), rule, 150, batch=128, discount=0.95, channels=occupancy_channels(4, 2)
    )
    policy = _chances(learner, torch.arange(4.0)[:, None])[0].double().numpy()
    assert best.gap(policy / policy.sum(-1, keepdims=True)) < 1e-2
