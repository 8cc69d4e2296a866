"""What every batched environment promises, and the exact models behind the finite ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from envs import TradeoffError, finite_arrays, finite_model, list_environments, make, make_tabular
from envs.queues import arrival_rates

TORCH = [listed.id for listed in list_environments() if listed.backend == "torch"]


def random_action(env, generator):
    space = env.spec.action_space
    if hasattr(space, "n"):
        return torch.randint(int(space.n), (env.num_envs,), generator=generator)
    return torch.rand(env.num_envs, *space.shape, generator=generator) * 50


@pytest.mark.parametrize("id", TORCH)
def test_an_environment_depends_on_its_own_seed_only(id):
    many, one = make(id, 6, seed=10, max_episode_steps=30), make(id, 1, seed=13, max_episode_steps=30)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        action = random_action(many, generator)
        a, b = many.step(action), one.step(action[3:4])
        assert all(torch.equal(x[3], y[0]) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("id", TORCH)
def test_a_saved_state_goes_on_bit_for_bit(id):
    generator = torch.Generator().manual_seed(0)
    env = make(id, 5, seed=1, max_episode_steps=20)
    for _ in range(33):
        env.step(random_action(env, generator))
    other = make(id, 5, seed=2, max_episode_steps=20)
    other.load_state_dict(env.state_dict())
    for _ in range(50):
        action = random_action(env, generator)
        assert all(torch.equal(x, y) for x, y in zip(env.step(action), other.step(action), strict=True))


@pytest.mark.parametrize("id", TORCH)
def test_episodes_are_cut_at_the_horizon_and_observations_fit_the_space(id):
    env = make(id, 3, seed=0, max_episode_steps=4)
    generator, since = torch.Generator().manual_seed(0), torch.zeros(3, dtype=torch.int64)
    for _ in range(40):
        step = env.step(random_action(env, generator))
        since += 1
        assert torch.equal(step.truncated, (since == 4) & ~step.terminated)
        since[step.terminated | step.truncated] = 0
        for row in step.final_observation.numpy():
            assert env.spec.observation_space.contains(row.astype(env.spec.observation_space.dtype)), row
        assert step.reward.shape == (3, len(env.spec.objectives)) and step.cost.shape == (3, 0)


def test_actions_outside_the_space_are_refused():
    with pytest.raises(TradeoffError, match=r"action 4 of deep-sea-treasure-v0: it takes 0 to 3"):
        make("deep-sea-treasure-v0", 2).step(torch.tensor([0, 4]))
    with pytest.raises(TradeoffError, match=r"water-reservoir-v0 takes actions of shape \(2, 1\)"):
        make("water-reservoir-v0", 2).step(torch.ones(2))


def test_deep_sea_treasure_model_pays_what_the_formula_says():
    """Right 9 times, down 10 times: 23.7 at step 19, discounted (23.7 g^18, -(1 - g^19) / (1 - g))."""
    model, g = finite_model("deep-sea-treasure-v0"), 0.99
    state, total = int(model.start.argmax()), np.zeros(2)
    for t, action in enumerate([3] * 9 + [1] * 10):
        total += g**t * model.reward[state, action]
        state = int(model.transition[state, action].argmax())
    assert model.terminal[state]
    np.testing.assert_allclose(total, [23.7 * g**18, -(1 - g**19) / (1 - g)], rtol=1e-12)


@pytest.mark.parametrize("id", [listed.id for listed in list_environments() if listed.exact])
def test_models_are_distributions_and_agree_with_the_simulation(id):
    """20,000 random steps: observed rewards against expected ones, at four standard errors."""
    model, env = finite_model(id), make(id, 100, seed=0)
    np.testing.assert_allclose(model.transition.sum(-1), 1.0, atol=1e-12)
    assert (model.reward[model.terminal] == 0).all() and model.start.sum() == 1
    generator, residuals = torch.Generator().manual_seed(0), []
    for _ in range(200):
        state, action = env.state[0].clone(), random_action(env, generator)
        step = env.step(action)
        residuals.append(step.reward.numpy() - model.reward[state, action])
    residual = np.concatenate(residuals)
    error = residual.std(0) / np.sqrt(len(residual)) + 1e-6
    assert (np.abs(residual.mean(0)) < 4 * error).all()


def test_tabular_environment_follows_its_arrays():
    """Two states: from 0, action 1 leads to 1 with probability 1/4. 20,000 draws: 0.25 +- 0.0031 at one sigma."""
    transition = np.zeros((2, 2, 2))
    transition[0] = [[1, 0], [0.75, 0.25]]
    transition[1] = [[0, 1], [1, 0]]
    reward = np.arange(8.0).reshape(2, 2, 2)
    cost = np.array([[[0.0], [1.0]], [[2.0], [3.0]]])
    model = finite_arrays(transition, reward, cost=cost, horizon=1)
    env = make_tabular(model, 20_000, costs=("heat",), limits=(1.0,))
    step = env.step(torch.ones(20_000, dtype=torch.int64))
    assert abs(step.final_observation.mean().item() - 0.25) < 4 * 0.0031
    assert step.reward.unique(dim=0).tolist() == [[2.0, 3.0]] and step.cost.unique().tolist() == [1.0]
    assert env.spec.costs == ("heat",) and step.truncated.all()
    with pytest.raises(ValueError, match=r"transition\[0, 1\] is no distribution"):
        finite_arrays(transition * [[[1], [2]], [[1], [1]]], reward)


def test_queues_serve_and_fill():
    """M = 6: rates sum to 0.795; longest-queue-first serves nearly all arrivals: 0.795 served per step."""
    assert sum(arrival_rates(6)) == pytest.approx(6 * 0.05 + 15 * 0.033)
    assert sum(arrival_rates(5)) == pytest.approx(0.8)
    env = make("server-queues-v0", 400, seed=0)
    seen, served = env.reset(0), 0.0
    for _ in range(500):
        step = env.step(seen.argmax(1))
        seen, served = step.observation, served + step.reward.sum().item()
    assert step.truncated.all()
    # the variance of 200,000 Poisson steps of rate 0.795 is 0.795 / 200,000: one sigma is 0.002; what waits is missing
    assert 0.795 - 0.012 < served / 200_000 < 0.795 + 0.006
