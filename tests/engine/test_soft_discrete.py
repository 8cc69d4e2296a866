"""Soft actor-critic that chooses among options: exact sums by hand, against autograd and against exact evaluation."""

from __future__ import annotations

import copy
from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Generator, Tensor

from tests.engine.conftest import learner_values
from tradeoff.engine import ActorCritic, Linear, Rollout, make_features
from tradeoff.engine.policy import model_from_state, model_state
from tradeoff.engine.rollout import EpisodeReturns
from tradeoff.engine.soft import Sample, SoftLearner, soft_population
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.engine.soft_critics import Critics
from tradeoff.engine.soft_head import SoftCategorical, UnfitActions, make_soft_head
from tradeoff.engine.updates import SGD
from tradeoff.envs.batched import BatchedEnv
from tradeoff.envs.tabular import finite_arrays, make_tabular
from tradeoff.evaluation import finite_problem, policy_returns

SMALL = SoftConfig(rollout_steps=8, environments=2, batch=32, warmup=16, capacity=512, hidden=(16, 16))
AFTER = np.array([[1, 2], [2, 0], [0, 3], [3, 3]])  # of states 0, 1, 2 and the end, by option
PAY = np.array([[1.0, 0.0], [0.0, 2.0], [2.0, 1.0], [0.0, 0.0]])
WEAR = np.array([[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [3.0, 1.0]], [[0.0, 0.0]] * 2])
OVER = np.arange(4) == 3


def _forks(num_envs: int) -> BatchedEnv:
    """Three states with two options each, one of which ends the episode; 1 objective, 2 costs."""
    model = finite_arrays(np.eye(4)[AFTER], PAY[..., None], cost=WEAR, terminal=OVER, horizon=6)
    return make_tabular(model, num_envs)


def _learner(config: SoftConfig = SMALL, weights: Any = ((1.0, -0.3, -0.1),), **critics: float) -> SoftLearner:
    env, generator = _forks(len(weights) * config.environments), Generator().manual_seed(0)
    features, head = make_features(env.spec.observation_space), make_soft_head(env.spec.action_space)
    model = ActorCritic(features, head, 3, config.hidden, activation="relu")
    shape = Critics(
        features.width, head.numbers, 1, 2, config.members, hidden=config.hidden, options=head.options, **critics
    )
    return SoftLearner(
        model, Rollout(env, len(weights), config.rollout_steps), soft_population(model, len(weights), generator),
        Linear(torch.tensor(weights)), config, generator, critics=shape, episodes=EpisodeReturns(1.0),
    )  # fmt: skip


def _chances(learner: SoftLearner, theta: Tensor) -> Tensor:
    """[P, 4, A] of all states."""
    states = torch.eye(4, dtype=theta.dtype).expand(len(theta), 4, 4)
    return learner.model.outputs(learner.model.actor(theta), states)[0].softmax(-1)


def test_chances_and_the_way_to_the_best_by_hand():
    # p = (1/2, 1/4, 1/4): sum p log p = -(1/2 + 1/2 + 1/2) log 2. Heat 2 and slopes (0, 2 log 2, 0): q ~ (1, 2, 1) is
    # (1/4, 1/2, 1/4), KL(p || q) = log 2 / 2 - log 2 / 4, so p falls short by log 2 / 2:
    # (2 + log 2 / 2) (-1/4, 1/4, 0).
    head = SoftCategorical((3,))
    drawn = head.draw(torch.tensor([[[log(2.0), 0.0, 0.0]]]), torch.zeros(1, 1, 0))
    torch.testing.assert_close(drawn.action, torch.tensor([[[0.5, 0.25, 0.25]]]))
    torch.testing.assert_close(drawn.log_prob, torch.tensor([[-1.5 * log(2.0)]]))
    way = drawn.pull(torch.tensor([[[0.0, 2 * log(2.0), 0.0]]]), torch.tensor([[-2.0]]))
    torch.testing.assert_close(way, (2 + log(2.0) / 2) * torch.tensor([[[-0.25, 0.25, 0.0]]]))


def test_without_heat_the_way_is_as_long_as_what_is_missed():
    # Even chances of values 0 and 1 miss 1/2, whatever is left of the heat: 1/2 (q - p) = 1/2 (-1/2, 1/2).
    drawn = SoftCategorical((2,)).draw(torch.zeros(1, 1, 2), torch.zeros(1, 1, 0))
    way = drawn.pull(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[-1e-7]]))
    torch.testing.assert_close(way, torch.tensor([[[-0.25, 0.25]]]))


def test_close_to_the_best_chances_the_way_is_the_slope_of_the_objective():
    generator = Generator().manual_seed(0)
    out, aside = torch.randn(2, 2, 5, 4, generator=generator, dtype=torch.float64)
    slope, heat = 0.3 * (out.log_softmax(-1) + 1e-5 * aside), torch.full((2, 5), 0.3, dtype=torch.float64)
    leaf = out.clone().requires_grad_()
    p = leaf.softmax(-1)
    wanted = torch.autograd.grad((p * (slope - 0.3 * p.log())).sum(), leaf)[0]
    found = SoftCategorical((4,)).draw(out, out[..., :0]).pull(slope, -heat)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-9)


def test_an_option_that_was_given_up_comes_back():
    # Its chance is e^-40 and it is the best by far: the slope of the objective is below 1e-15, the way to it is heat
    # and the 100 that are missed.
    drawn = SoftCategorical((2,)).draw(torch.tensor([[[40.0, 0.0]]]), torch.zeros(1, 1, 0))
    way = drawn.pull(torch.tensor([[[0.0, 100.0]]]), torch.tensor([[-0.5]]))
    torch.testing.assert_close(way, torch.tensor([[[-100.5, 100.5]]]))


@pytest.mark.parametrize("caution", [0.0, 0.7])
def test_steps_of_the_actor_agree_with_autograd(caution: float):
    # The objective is sum_a p(a|s) [f(s, a) - temperature log p(a|s)] with f = sum_i w_i Q_i, cautious for each option;
    # the step is the slope of w sum_a q(a|s) log p(a|s), q = softmax(f / temperature), and
    # w = temperature (1 + KL(p || q)).
    learner = _learner(replace(SMALL, temperature=0.3, members=3), [[1.0, 0.0, -0.5], [0.2, -0.7, -0.1]],
                       caution=caution)  # fmt: skip
    learner.iterate()
    learner.population.returns.variance.mul_(3.0)  # scales other than one
    learner.updates, weights = [SGD(1.0)], learner.scalarizer.weights(torch.empty(0)).double()
    sample = Sample(*(x.double() for x in next(iter(learner._prepare(1)))))
    learner.theta, learner.log_temperature = learner.theta.double(), learner.log_temperature.double()
    learner.moments["temperature"] = learner.rules["temperature"].init(learner.log_temperature)
    before = learner.population.theta.double()
    learner.population.theta = before.clone()
    theta = before.clone().requires_grad_()
    heat = learner.temperature.clone()
    log_p = learner.model.outputs(learner.model.actor(theta), sample.inputs)[0].log_softmax(-1)
    index = torch.arange(2.0).double().view(1, 1, 2, 1).expand(*log_p.shape, 1)
    rows = torch.cat([sample.inputs.unsqueeze(2).expand(-1, -1, 2, -1), index], -1).flatten(1, 2)
    value = learner.critics.read(learner.critics.forward(learner.theta, rows).values)[0].unflatten(1, (-1, 2))
    priced = torch.cat([heat.squeeze(-1), weights], 1) * learner.scale
    f = (value * priced[:, None, None]).sum(-1)
    log_q = (f / heat).log_softmax(-1)
    weight = heat.squeeze(-1) * (1 + (log_p.exp() * (log_p - log_q)).sum(-1)).detach()
    unit = priced.abs().sum(1).view(-1, 1, 1) + heat  # steps are free of the objective's unit
    slope = torch.autograd.grad((weight * (log_q.exp() * log_p).sum(-1)).mean(1).sum(), theta)[0] / unit
    with torch.no_grad():
        objective = (log_p.exp() * (f - heat * log_p)).sum(-1).mean(1)
        torch.testing.assert_close(learner._act(sample, weights, 1.0), objective)
    torch.testing.assert_close(learner.population.theta - before, slope, rtol=1e-9, atol=1e-12)


def test_gradients_of_critics_reach_the_option_that_was_taken():
    critics = Critics(2, 1, 1, 1, 3, hidden=(8,), activation="tanh", options=3)
    generator = Generator().manual_seed(0)
    theta = critics.init(2, generator).double().requires_grad_()
    inputs = torch.randn(2, 5, 2, generator=generator, dtype=torch.float64)
    index = torch.randint(3, (2, 5, 1), generator=generator)
    target = torch.randn(2, 3, 5, 3, generator=generator, dtype=torch.float64)
    every = critics.network.forward(critics.network.layers(theta.flatten(0, 1)), inputs.repeat_interleave(3, 0))[-1]
    at = index.repeat_interleave(3, 0).unsqueeze(-1).expand(-1, -1, 1, 3)
    values = every.view(6, 5, 3, 3).gather(2, at).view(2, 3, 5, 3)
    wanted = torch.autograd.grad(-(target - values).square().mean(2).sum(), theta)[0]
    with torch.no_grad():
        seen = critics.forward(theta, torch.cat([inputs, index.double()], -1))
        torch.testing.assert_close(seen.values, values.detach())
        torch.testing.assert_close(critics.gradient(seen, target)[0], wanted)


def test_targets_by_hand():
    # Columns entropy, objective, cost, for each of two options, of two members. Chances 3/4 and 1/4, discount 1/2.
    # objective: option by option the lesser of (4, 8) and of (8, 4), both 4 (the lesser mean is 5): 1 + 4 / 2 = 3.
    # entropy: 2 everywhere, and H = 3/4 log 4/3 + 1/4 log 4 of the choice: (2 + H) / 2.
    # costs: every member's own mean, 3/4 * 4 = 3 and 1/4 * 4 = 1: 7 + 3 / 2 and 7 + 1 / 2.
    # In the second state the task ended: what was paid remains.
    learner, answers = _learner(), torch.tensor([[2.0, 4, 4, 0, 2, 8, 0, 0], [2.0, 8, 0, 0, 2, 4, 4, 0]])
    learner._sample()
    learner.late.zero_()
    learner.critics.network.layers(learner.late.flatten(0, 1)).biases[-1].copy_(answers.unsqueeze(1))
    learner.population.theta.zero_()
    learner._layers().biases[-1][..., 0] = log(3.0)
    sample = next(iter(learner._prepare(1)))
    paid, ends = torch.tensor([0.0, 1.0, 7.0, 0.0]), torch.tensor([0.5, 0.0]).repeat(16)
    found: list[Tensor] = []
    gradient = learner.critics.gradient
    object.__setattr__(learner.critics, "gradient", lambda seen, y: found.append(y) or gradient(seen, y))
    with torch.no_grad():
        learner._criticise(sample._replace(paid=paid.expand(1, 32, 4), go_on=ends.unsqueeze(0)), 1.0)
    entropy = 0.75 * log(4 / 3) + 0.25 * log(4)
    first = [[1 + entropy / 2, 3.0, 8.5, 0.0], [1 + entropy / 2, 3.0, 7.5, 0.0]]
    torch.testing.assert_close(found[0][0, :, 0], torch.tensor(first))
    torch.testing.assert_close(found[0][0, :, 1], paid.expand(2, 4))


def test_critics_find_the_values_of_a_policy():
    # A policy that stays what it is, against exact evaluation. The entropy still to come is one more channel, which an
    # option pays with the entropy of the state it leads to. Successors are summed over, not drawn: little noise stays.
    gamma = 0.5
    config = replace(SMALL, gamma=gamma, learning_rate=3e-3, polyak=0.05, updates=12.0, actor_every=10**9)
    learner = _learner(config)
    learner.population.theta = learner.model.network.init(1, Generator().manual_seed(3), 1.0).unsqueeze(1)
    policy = _chances(learner, learner.population.theta)[0].double().numpy()
    policy /= policy.sum(-1, keepdims=True)
    entropy = np.where(OVER, 0.0, -(policy * np.log(policy)).sum(-1))
    paid = np.concatenate([gamma * entropy[AFTER][..., None], PAY[..., None], WEAR], -1)
    starts = (finite_problem(np.eye(4)[AFTER], paid, start=s, discount=gamma, terminal=OVER) for s in range(3))
    values = np.stack([*(policy_returns(problem, policy) for problem in starts), np.zeros(4)])
    wanted = paid + gamma * values[AFTER]
    for _ in range(8):
        learner.iterate()
    pairs = torch.cat([torch.eye(4)[:3].repeat_interleave(2, 0), torch.arange(2.0).repeat(3).unsqueeze(1)], 1)
    found = learner.critics.forward(learner.theta, pairs.unsqueeze(0)).values[0] * learner.scale
    assert policy[:3].max() > 0.6  # far from equal chances
    for member in found:
        torch.testing.assert_close(member, torch.tensor(wanted[:3]).view(6, 4).float(), rtol=0.02, atol=0.02)


def test_units_change_no_value():
    learner = _learner(weights=[[1.0, 0.0, 0.0]] * 2)
    learner.iterate()
    sample = next(iter(learner._prepare(1)))
    values = learner_values(learner, sample)
    data = learner._sample()
    data["rollout"].reward.mul_(7.0)
    learner._remember(data)
    torch.testing.assert_close(learner_values(learner, sample), values, rtol=1e-4, atol=1e-4)


def test_the_temperature_aims_at_a_share_of_the_largest_entropy():
    # A quarter of log 2. One step of Adam moves the logarithm by its rate: down where there is more, up where less.
    learner = _learner(replace(SMALL, temperature_rate=0.01, choice_entropy=0.25))
    assert learner.head.aim(learner.config) == pytest.approx(0.25 * log(2.0))
    for level, moved in ((0.26, -0.01), (0.24, 0.01)):
        learner = _learner(replace(SMALL, temperature_rate=0.01, choice_entropy=0.25))
        learner._warm(torch.full((1, 8), -level * log(2.0)), 1.0)
        torch.testing.assert_close(learner.log_temperature, torch.full((1, 1, 1), moved))
    learner.log_temperature.fill_(-20.0)  # so low it may fall: e^-104 is zero, and chances are divided by it
    learner._warm(torch.full((1, 8), -0.5 * log(2.0)), 1.0)
    assert learner.log_temperature.item() == -20.0
    with pytest.raises(ValueError, match=r"choice_entropy must lie in \[0, 1\]"):
        SoftConfig(choice_entropy=1.1)


def test_three_policies_with_two_costs_learn_apart():
    # Weights on the objective alone and on either cost alone. The others are the same if the first one climbs down.
    # Least of cost 0, and free of it: 0 -> 1 -> 0. Of cost 1: 0 -> 2 -> 0, free as well; from state 1 straight to 0.
    def trained(first: list[float]) -> tuple[SoftLearner, Tensor]:
        config = replace(SMALL, updates=4.0, learning_rate=3e-3, temperature=0.1, gamma=0.5, warmup=64)
        learner = _learner(config, [first, [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
        for _ in range(8):
            learner.iterate()
        return learner, _chances(learner, learner.population.theta)

    (one, chances), (other, _) = trained([1.0, 0.0, 0.0]), trained([-1.0, 0.0, 0.0])
    assert torch.equal(one.population.theta[1:], other.population.theta[1:])
    assert torch.equal(one.theta[1:], other.theta[1:])
    assert not torch.equal(one.population.theta[0], other.population.theta[0])
    torch.testing.assert_close(chances[1, :2, 1], torch.tensor([0.0, 1.0]), rtol=0, atol=0.15)
    torch.testing.assert_close(chances[2, :3, 1], torch.tensor([1.0, 1.0, 0.0]), rtol=0, atol=0.15)


def test_a_resumed_learner_is_the_same_learner():
    def fresh() -> SoftLearner:
        return _learner(replace(SMALL, actor_every=2, members=3), [[1.0, -0.5, -0.5]] * 2, caution=0.5)

    whole = fresh()
    for _ in range(2):
        whole.iterate()
    saved, noise = copy.deepcopy(whole.state_dict()), whole.generator.get_state()
    whole.iterate()
    other = fresh()
    other.load_state_dict(saved)
    other.generator.set_state(noise)
    other.iterate()
    for x, y in ((whole, other), (whole.population, other.population)):
        assert torch.equal(x.theta, y.theta)
    assert torch.equal(whole.replay.rows[:, : len(whole.replay)], other.replay.rows[:, : len(other.replay)])


def test_a_saved_model_acts_as_it_did():
    learner = _learner()
    learner.iterate()
    again = model_from_state(model_state(learner.model))
    seen, theta = torch.eye(4).unsqueeze(0), learner.population.theta
    actions = [m.head.to_env(m.head.mode(*m.outputs(m.actor(theta), seen))[0]) for m in (learner.model, again)]
    assert torch.equal(*actions) and actions[0].shape == (4,)


def test_several_choices_at_once_are_refused():
    with pytest.raises(UnfitActions, match=r"the actions of x-v0 are MultiDiscrete\(\[2 3\]\); .* one Discrete .* cpo"):
        make_soft_head(spaces.MultiDiscrete([2, 3]), "x-v0")
