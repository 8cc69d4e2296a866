"""Soft actor-critic with vector critics: gradients, targets by hand, values that are known, exact resume."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Generator, Tensor

from tests.engine.conftest import learner_values
from tradeoff.engine import ActorCritic, Linear, Rollout, make_features
from tradeoff.engine.rollout import EpisodeReturns
from tradeoff.engine.soft import SoftLearner, soft_population
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.engine.soft_critics import Critics
from tradeoff.engine.soft_head import make_soft_head
from tradeoff.engine.updates import SGD
from tradeoff.envs.batched import BatchedEnv, Outcome
from tradeoff.envs.protocol import EnvSpec

SMALL = SoftConfig(rollout_steps=8, environments=2, batch=32, warmup=16, capacity=512, hidden=(16, 16))


class Ring(BatchedEnv):
    """States 0, 1, 2, 0, ... whatever is done; leaving state s pays (1, 0, 2)[s] and costs (0, 1, 0)[s]."""

    def __init__(self, num_envs: int, ends: bool, horizon: int = 5) -> None:
        self.ends = ends
        spec = EnvSpec(
            id="ring", observation_space=spaces.Discrete(3), action_space=spaces.Box(-1, 1, (1,), np.float32),
            objectives=("pay",), costs=("wear",), horizon=horizon,
        )  # fmt: skip
        super().__init__(spec, num_envs)

    def start(self, uniform: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros(self.num_envs, dtype=torch.int64),)

    def transition(self, state: tuple[Tensor, ...], action: Tensor, uniform: Tensor) -> Outcome:
        s = state[0]
        pay, wear = torch.tensor([1.0, 0.0, 2.0])[s], torch.tensor([0.0, 1.0, 0.0])[s]
        return Outcome(((s + 1) % 3,), pay.unsqueeze(1), (s == 2) & self.ends, wear.unsqueeze(1))

    def observe(self, state: tuple[Tensor, ...]) -> Tensor:
        return state[0].unsqueeze(1)


class Valley(BatchedEnv):
    """One step from s, uniform in [-1, 1]: up pays -(a - s)^2, down pays -(a + s)^2, and a^2 is the cost."""

    start_draws = 1

    def __init__(self, num_envs: int, seed: int = 0) -> None:
        spec = EnvSpec(
            id="valley", observation_space=spaces.Box(-1, 1, (1,), np.float32),
            action_space=spaces.Box(-1, 1, (1,), np.float32), objectives=("up", "down"), costs=("effort",), horizon=1,
        )  # fmt: skip
        super().__init__(spec, num_envs, seed=seed)

    def start(self, uniform: Tensor) -> tuple[Tensor, ...]:
        return (2 * uniform.float() - 1,)

    def transition(self, state: tuple[Tensor, ...], action: Tensor, uniform: Tensor) -> Outcome:
        (s,) = state
        pay = torch.cat([-(action - s).square(), -(action + s).square()], 1)
        return Outcome(state, pay, torch.ones(self.num_envs, dtype=torch.bool), action.square())

    def observe(self, state: tuple[Tensor, ...]) -> Tensor:
        return state[0].clone()


def _learner(env: BatchedEnv, config: SoftConfig, weights: Sequence[Sequence[float]], **critics: float) -> SoftLearner:
    generator, spec = Generator().manual_seed(0), env.spec
    features, head = make_features(spec.observation_space), make_soft_head(spec.action_space)
    m, k = len(spec.objectives), len(spec.costs)
    model = ActorCritic(features, head, m + k, config.hidden, activation="relu")
    half = config.precision == "bfloat16"
    shape = Critics(features.width, len(head.low), m, k, config.members, hidden=config.hidden, half=half, **critics)
    return SoftLearner(
        model, Rollout(env, len(weights), config.rollout_steps), soft_population(model, len(weights), generator),
        Linear(torch.tensor(weights)), config, generator, critics=shape, episodes=EpisodeReturns(1.0),
    )  # fmt: skip


def test_gradient_of_the_actor_agrees_with_autograd():
    learner = _learner(Valley(4), replace(SMALL, batch=8, temperature=0.3), [[1.0, 0.5, -0.2], [0.0, 1.0, -0.7]])
    learner.iterate()
    learner.population.returns.variance.mul_(3.0)  # scales other than one
    learner.updates, before = [SGD(1.0)], learner.population.theta.clone()
    weights = learner.scalarizer.weights(torch.empty(0))
    sample = next(iter(learner._prepare(1)))
    theta = before.clone().requires_grad_()
    heat, scale = learner.temperature.squeeze(-1), learner.scale
    out = learner.model.outputs(learner.model.actor(theta), sample.inputs)[0]
    drawn = learner.head.draw(out, sample.noise[1])
    value = learner.critics.read(
        learner.critics.forward(learner.theta, torch.cat([sample.inputs, drawn.action], -1)).values
    )[0]
    priced = torch.cat([heat, weights], 1) * scale
    wanted = ((value * priced.unsqueeze(1)).sum(-1) - heat * drawn.log_prob).mean(1)
    unit = (priced.abs().sum(1, keepdim=True) + heat).unsqueeze(-1)  # steps are free of the objective's unit
    slope = torch.autograd.grad(wanted.sum(), theta)[0] / unit
    with torch.no_grad():
        torch.testing.assert_close(learner._act(sample, weights, 1.0), wanted.detach())
    torch.testing.assert_close(learner.population.theta - before, slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ends", [False, True])
def test_critics_find_the_values_of_a_ring(ends: bool):
    # Discount 1/2. Going on for ever v = r + v' / 2 around (1, 0, 2): v0 = (1 + 0 + 2/4) / (1 - 1/8) = 12/7,
    # v1 = (0 + 2/2 + 1/4) / (7/8) = 10/7, v2 = (2 + 1/2) / (7/8) = 20/7; wear: 4/7, 8/7, 2/7. Truncation after
    # 5 steps changes nothing. Where state 2 ends the task: 3/2, 1, 2; wear 1/2, 1, 0.
    config = replace(SMALL, gamma=0.5, learning_rate=3e-3, polyak=0.05, updates=12.0, normalise=False)
    learner = _learner(Ring(2, ends), config, [[1.0, 0.0]])
    for _ in range(8):
        learner.iterate()
    pairs = torch.cat([torch.eye(3), torch.zeros(3, 1)], 1).unsqueeze(0)
    found = learner.critics.forward(learner.theta, pairs).values[0] * learner.scale
    pay = [1.5, 1.0, 2.0] if ends else [12 / 7, 10 / 7, 20 / 7]
    wear = [0.5, 1.0, 0.0] if ends else [4 / 7, 8 / 7, 2 / 7]
    for member in found:
        torch.testing.assert_close(member[:, 1:], torch.tensor([pay, wear]).T, rtol=0.03, atol=0.03)


def test_actors_find_the_best_action_for_their_weights():
    # w1 (a - s)^2 + w2 (a + s)^2 + p a^2 is least at a = (w1 - w2) s / (w1 + w2 + p): s; -s; s / 2 for price 1.
    config = replace(SMALL, environments=16, learning_rate=3e-3, capacity=8192, updates=0.5, temperature=0.02,
                     temperature_rate=0.0, normalise=False, warmup=256, batch=64)  # fmt: skip
    weights = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, -0.5]]
    learner = _learner(Valley(16 * 3), config, weights)
    for _ in range(16):
        learner.iterate()
    s = torch.tensor([[-0.6], [0.0], [0.6]]).expand(3, 3, 1)
    found = learner.model.outputs(learner.model.actor(learner.population.theta), s)[0][..., :1].tanh()
    for row, factor in zip(found, (1.0, -1.0, 0.5), strict=True):
        torch.testing.assert_close(row, factor * s[0], rtol=0, atol=0.1)


def test_policies_learn_apart():
    # The second of two policies is the same whether the first one climbs up or down.
    def second(first: list[float]) -> list[Tensor]:
        learner = _learner(Valley(4), SMALL, [first, [1.0, 0.0, -0.1]])
        for _ in range(3):
            learner.iterate()
        return [learner.population.theta[1], learner.theta[1], learner.late[1]]

    for one, other in zip(second([1.0, 0.0, 0.0]), second([0.0, 1.0, 0.0]), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_targets_follow_slowly_and_units_change_no_value():
    learner = _learner(Valley(4), replace(SMALL, polyak=0.25), [[1.0, 0.0, 0.0]] * 2)
    learner.iterate()  # 16 steps: one iteration of 16 updates
    before = learner.late.clone()
    sample = next(iter(learner._prepare(1)))
    with torch.no_grad():
        learner._update(sample, torch.zeros(2, 3), 1.0)
    torch.testing.assert_close(learner.late, 0.75 * before + 0.25 * learner.theta)
    values = learner_values(learner, sample)
    data = learner._sample()
    data["rollout"].reward.mul_(7.0)
    learner._remember(data)
    torch.testing.assert_close(learner_values(learner, sample), values, rtol=1e-4, atol=1e-4)


def test_targets_come_from_the_late_networks():
    # Late networks that answer 0 everywhere leave what was paid, 3 for the objective, and the entropy of the successor.
    learner = _learner(Valley(2), replace(SMALL, gamma=0.5), [[1.0, 0.0, 0.0]])
    learner._sample()
    learner.late.zero_()
    sample = next(iter(learner._prepare(1)))
    sample = sample._replace(paid=torch.tensor([0.0, 3.0, 0.0, 0.0]).expand(1, 32, 4), go_on=torch.full((1, 32), 0.5))
    out = learner._outputs(sample.next_inputs)[-1]
    ahead = -0.5 * learner.head.draw(out, sample.noise[0]).log_prob
    wanted = torch.cat([ahead.unsqueeze(-1), sample.paid[..., 1:]], -1).unsqueeze(1)
    seen = learner.critics.forward(learner.theta, sample.pairs).values
    with torch.no_grad():
        learner._criticise(sample, 1.0)
    torch.testing.assert_close(learner.tally.errors[0], (wanted - seen).square().mean((1, 2, 3)))


def test_actors_move_every_so_many_updates():
    learner = _learner(Valley(2), replace(SMALL, actor_every=3), [[1.0, 0.0, 0.0]])
    learner._sample()
    moved = []
    for sample in learner._prepare(6):
        before = learner.population.theta.clone()
        with torch.no_grad():
            learner._update(sample, torch.tensor([[1.0, 0.0, 0.0]]), 1.0)
        moved.append(int(not torch.equal(before, learner.population.theta)))
    assert moved == [0, 0, 1, 0, 0, 1]


def test_the_temperature_follows_the_entropy():
    # The actor's entropy is below the aim: 1 nat per action. One step of Adam moves the logarithm by its rate, upwards.
    learner = _learner(Valley(2), replace(SMALL, temperature_rate=0.01, entropy=1.0), [[1.0, 0.0, 0.0]])
    before = learner.log_temperature.clone()
    learner._warm(torch.zeros(1, 8), 1.0)
    torch.testing.assert_close(learner.log_temperature - before, torch.full((1, 1, 1), 0.01))
    learner._warm(torch.full((1, 8), -30.0), 1.0)
    assert learner.log_temperature < before + 0.01


def test_nothing_is_learnt_before_the_replay_is_warm():
    learner = _learner(Valley(4), replace(SMALL, warmup=33, environments=2), [[1.0, 0.0, 0.0]] * 2)
    before = learner.population.theta.clone()
    for turn, moved in ((1, False), (2, False), (3, True)):  # 16 steps per policy and iteration
        learner.iterate()
        assert len(learner.replay) == 16 * turn
        assert torch.equal(learner.population.theta, before) is not moved


def test_a_resumed_learner_is_the_same_learner():
    def fresh() -> SoftLearner:
        return _learner(Valley(4), replace(SMALL, actor_every=2, members=3), [[1.0, 0.0, -0.5]] * 2, caution=0.5)

    whole = fresh()
    for _ in range(2):
        whole.iterate()
    saved, noise = copy.deepcopy(whole.state_dict()), whole.generator.get_state()
    whole.iterate()
    other = fresh()
    other.load_state_dict(saved)
    other.generator.set_state(noise)
    other.iterate()
    for name, x in (("theta", whole.population.theta), ("critics", whole.theta), ("late", whole.late)):
        y = {"theta": other.population.theta, "critics": other.theta, "late": other.late}[name]
        assert torch.equal(x, y), name
    assert torch.equal(whole.replay.rows[:, : len(whole.replay)], other.replay.rows[:, : len(other.replay)])


def test_bfloat16_learns_as_float32_does():
    def run(precision: str) -> Tensor:
        learner = _learner(Valley(4), replace(SMALL, precision=precision), [[1.0, 0.0, 0.0]] * 2)
        learner.iterate()
        return learner.population.theta

    exact, rounded = run("float32"), run("bfloat16")
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.05, atol=0.02)
