"""Gradient and advantage estimators against the enumeration of every trajectory of a small problem.

Three states, two actions, four steps, two channels, start in state 0: 2 * 6^3 = 432 trajectories.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical
from tradeoff.engine.returns import discounted_returns, gae
from tradeoff.engine.surrogates import importance_weighted, score_function
from tradeoff.engine.trajectories import Batch, fold

STATES, ACTIONS, HORIZON = 3, 2, 4
MODEL = ActorCritic(Features(1, (0,), (STATES,)), Categorical((ACTIONS,)), 2, (4,))
EYE = torch.eye(STATES).double()
_draw = Generator().manual_seed(0)
KERNEL = torch.rand(STATES, ACTIONS, STATES, generator=_draw).double().softmax(-1)
REWARD = torch.randn(STATES, ACTIONS, 2, generator=_draw).double()
THETA = torch.randn(1, 2, MODEL.network.parameters, generator=_draw).double()


def _policy(theta: Tensor) -> Tensor:
    """pi(a|s) as [S, A]."""
    out, _ = MODEL.outputs(MODEL.actor(theta), EYE.unsqueeze(0))
    return out[0].softmax(-1)


def _values(theta: Tensor, gamma: float) -> list[Tensor]:
    """V[h][s, channel] with h steps made; V[HORIZON] = 0. Backward induction."""
    policy, values = _policy(theta), [torch.zeros(STATES, 2).double()]
    for _ in range(HORIZON):
        q = REWARD + gamma * torch.einsum("san,nc->sac", KERNEL, values[0])
        values.insert(0, torch.einsum("sa,sac->sc", policy, q))
    return values


def _trajectories(theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States and successors [T, n], actions [T, n], and the probability [n] of each trajectory."""
    policy, rows, chances = _policy(theta), [], []
    for actions, later in product(product(range(ACTIONS), repeat=HORIZON), product(range(STATES), repeat=HORIZON - 1)):
        states, chance = (0, *later), 1.0
        for t, (s, a) in enumerate(zip(states, actions, strict=True)):
            chance = chance * policy[s, a] * (KERNEL[s, a, states[t + 1]] if t + 1 < HORIZON else 1.0)
        rows.append((states, (*later, 0), actions))
        chances.append(chance)
    states, successors, actions = torch.tensor(rows).permute(1, 2, 0)
    return states, successors, actions, torch.stack(chances)


def _ends(count: int) -> tuple[Tensor, Tensor]:
    terminated = torch.zeros(HORIZON, count, dtype=torch.bool)
    terminated[-1] = True
    return terminated, torch.zeros_like(terminated)


def _batch(theta: Tensor, states: Tensor, actions: Tensor, advantages: Tensor) -> Batch:
    """Samples whose mean, weighted by the caller's probabilities, is an expectation: [T, n] folded into one."""
    inputs = fold(EYE[states].unsqueeze(1))
    action = fold(actions.unsqueeze(1)).unsqueeze(-1)
    scaled = fold(advantages.unsqueeze(1)) * states.numel()
    log_prob = MODEL.log_prob(theta, inputs, action).detach()
    return Batch(inputs, action, log_prob, scaled, scaled.sum(-1), torch.zeros_like(scaled))


def _finite_differences(gamma: float) -> Tensor:
    """Gradient [2, D] of the exact returns of both channels."""
    rows = []
    for i in range(MODEL.network.parameters):
        step = torch.zeros_like(THETA)
        step[0, 0, i] = 1e-5
        rows.append((_values(THETA + step, gamma)[0][0] - _values(THETA - step, gamma)[0][0]) / 2e-5)
    return torch.stack(rows, -1)


def test_trajectories_are_all_there() -> None:
    states, _, actions, chance = _trajectories(THETA)
    assert len(chance) == 432
    torch.testing.assert_close(chance.sum().item(), 1.0)
    for gamma in (0.9, 1.0):
        weights = gamma ** torch.arange(HORIZON).double()
        mean = torch.einsum("t,n,tnc->c", weights, chance, REWARD[states, actions])
        torch.testing.assert_close(mean, _values(THETA, gamma)[0][0])


@pytest.mark.parametrize("gamma", [0.9, 1.0])
@pytest.mark.parametrize("baseline", [0.0, 3.0])
def test_score_function_gradient_is_unbiased(gamma: float, baseline: float) -> None:
    # E[sum_t gamma^t score_t (G_t - b(s_t))] is the gradient of J for any baseline b, here GAE's with lambda = 1.
    states, successors, actions, chance = _trajectories(THETA)
    level = baseline * torch.randn(STATES, 2, generator=Generator().manual_seed(3)).double()
    seen = REWARD[states, actions], level[states], level[successors]
    advantages = gae(*seen, *_ends(len(chance)), gamma, 1.0)
    weights = gamma ** torch.arange(HORIZON).double().view(-1, 1, 1) * chance.view(1, -1, 1)
    batch = _batch(THETA, states, actions, weights * advantages)
    want = _finite_differences(gamma)
    torch.testing.assert_close(MODEL.channel_gradients(THETA, batch)[0], want, rtol=1e-6, atol=1e-8)
    both, _ = MODEL.gradient(THETA, batch, score_function, critic=0.0)
    torch.testing.assert_close(both[0, 0], want.sum(0), rtol=1e-6, atol=1e-8)
    assert want.abs().max() > 0.01


def test_returns_to_go_have_the_value_as_their_mean() -> None:
    states, _, actions, chance = _trajectories(THETA)
    reward = REWARD[states, actions]
    returns = discounted_returns(reward, torch.full_like(reward, 99.0), *_ends(len(chance)), 0.9)
    torch.testing.assert_close(chance @ returns[0], _values(THETA, 0.9)[0][0])


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_with_the_exact_values_gae_has_the_true_advantage_as_its_mean(lam: float) -> None:
    gamma, (states, successors, actions, chance) = 0.9, _trajectories(THETA)
    exact = _values(THETA, gamma)
    value = torch.stack([exact[t][states[t]] for t in range(HORIZON)])
    beyond = torch.stack([exact[t + 1][successors[t]] for t in range(HORIZON)])
    advantage = gae(REWARD[states, actions], value, beyond, *_ends(len(chance)), gamma, lam)
    for t, s, a in product(range(HORIZON), range(STATES), range(ACTIONS)):
        here = chance * (states[t] == s) * (actions[t] == a)
        if here.sum() > 0:
            q = REWARD[s, a] + gamma * KERNEL[s, a] @ exact[t + 1]
            torch.testing.assert_close(here @ advantage[t] / here.sum(), q - exact[t][s])


def test_importance_weighted_samples_of_another_policy_have_the_right_mean() -> None:
    # E_b[pi/b A] = sum_a pi(a|s) A(s, a), states uniform: objective and gradient, from the six pairs themselves.
    behaviour = torch.tensor([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]).double()
    advantage = torch.randn(STATES, ACTIONS, generator=Generator().manual_seed(4)).double()
    states, actions = (x.flatten() for x in torch.meshgrid(torch.arange(3), torch.arange(2), indexing="ij"))
    chance = behaviour[states, actions] / STATES
    column = (chance * advantage[states, actions] * len(states)).unsqueeze(0)
    batch = _batch(THETA, states.unsqueeze(0), actions.unsqueeze(0), torch.zeros(1, 6, 2).double())
    batch = batch._replace(log_prob=behaviour[states, actions].log().unsqueeze(0), advantage=column)
    gradient, objective = MODEL.gradient(THETA, batch, importance_weighted, critic=0.0)
    leaf = THETA.clone().requires_grad_()
    want = (_policy(leaf) * advantage).sum(-1).mean()
    want.backward()
    torch.testing.assert_close(objective.item(), want.item())
    torch.testing.assert_close(gradient, leaf.grad, rtol=1e-9, atol=1e-12)
