"""Gradients of actors and critics against autograd; the return normaliser against itself."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic, differentiate
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical, Gaussian, Head
from tradeoff.engine.normalisers import Moments, standard
from tradeoff.engine.surrogates import Surrogate, importance_weighted, ppo_clip, score_function
from tradeoff.engine.trajectories import Batch

HEADS: dict[str, Head] = {
    "choice": Categorical((4,)),
    "choices": Categorical((2, 3), flat=False),
    "narrow": Categorical((2,)),  # fewer outputs than the critic has channels
    "gaussian": Gaussian((-1.0, -1.0), (1.0, 1.0)),
    "squashed": Gaussian((-1.0,) * 4, (1.0,) * 4, squash=True),
}
each_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())


def _case(head: Head, drift: float = 0.3, samples: int = 40) -> tuple[ActorCritic, Tensor, Batch]:
    """Three policies with 3 channels; the behaviour's log-probabilities stray by `drift`. Double precision."""
    model, draw = ActorCritic(Features(5), head, 3, (6, 7), context=2), Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    theta = 0.5 * normal(3, 2, model.network.parameters)
    inputs = normal(3, samples, 7)
    out, extra = model.outputs(model.actor(theta), inputs)
    action = head.sample(out, extra, head.noise((3, samples), draw).double())
    log_prob = head.log_prob(out, extra, action) + drift * normal(3, samples)
    return (
        model,
        theta,
        Batch(inputs, action, log_prob, normal(3, samples, 3), normal(3, samples), normal(3, samples, 3)),
    )


def _objective(model: ActorCritic, theta: Tensor, batch: Batch, surrogate: Surrogate) -> Tensor:
    return surrogate(model.log_prob(theta, batch.inputs, batch.action) - batch.log_prob, batch.advantage)[0].mean(1)


@each_head
@pytest.mark.parametrize(("entropy", "critic"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.5), (0.3, 0.7)])
def test_gradient_equals_autograd(head: Head, entropy: float, critic: float) -> None:
    model, theta, batch = _case(head)
    surrogate = ppo_clip(0.2)
    gradient, value = model.gradient(theta, batch, surrogate, entropy, critic)

    def total(leaf: Tensor) -> Tensor:
        head_at = model.outputs(model.actor(leaf), batch.inputs)
        values = model.network.forward(model.network.layers(leaf[:, 1]), batch.inputs)[-1][..., :3]
        error = (batch.target - values).square().sum(-1)
        bonus = entropy * head.entropy(*head_at) - critic * error
        return (_objective(model, leaf, batch, surrogate) + bonus.mean(1)).sum()

    (want,) = differentiate(total, theta)
    torch.testing.assert_close(gradient, want, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(value, _objective(model, theta, batch, surrogate))
    log_ratio = model.log_prob(theta, batch.inputs, batch.action) - batch.log_prob
    clipped = (surrogate(log_ratio, batch.advantage)[1] == 0).double().mean()
    assert 0.1 < clipped < 0.9, "the case must hold clipped and unclipped samples"


def test_policies_do_not_touch_each_other() -> None:
    model, theta, batch = _case(HEADS["choice"])
    before, _ = model.gradient(theta, batch, ppo_clip(0.2), 0.1)
    advantage = batch.advantage.clone()
    advantage[1] *= -3
    after, _ = model.gradient(theta, batch._replace(advantage=advantage), ppo_clip(0.2), 0.1)
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]], rtol=0, atol=1e-15)
    assert (after[1, 0] - before[1, 0]).abs().max() > 1e-3
    torch.testing.assert_close(after[1, 1], before[1, 1], rtol=0, atol=1e-15)


@each_head
def test_weighted_channel_gradients_are_the_gradient_of_the_weighted_advantage(head: Head) -> None:
    model, theta, batch = _case(head, drift=0.0)
    weights = torch.tensor([[0.5, 0.25, -1.0], [1, 0, 0], [0, 2, -3]], dtype=torch.float64)
    batch = batch._replace(advantage=(batch.advantages * weights.unsqueeze(1)).sum(-1))
    rows = model.channel_gradients(theta, batch)
    weighted = (weights.unsqueeze(-1) * rows).sum(1)
    want, _ = model.gradient(theta, batch, score_function, critic=0.0)
    assert rows.shape == (3, 3, model.network.parameters)
    torch.testing.assert_close(weighted, want[:, 0], rtol=1e-9, atol=1e-12)


def test_channel_gradients_weigh_samples_of_another_policy() -> None:
    model, theta, batch = _case(HEADS["gaussian"])
    rows = model.channel_gradients(theta, batch)
    for channel in range(3):
        alone = batch._replace(advantage=batch.advantages[..., channel])
        want, _ = model.gradient(theta, alone, importance_weighted, critic=0.0)
        torch.testing.assert_close(rows[:, channel], want[:, 0], rtol=1e-9, atol=1e-12)


@each_head
def test_log_prob_is_differentiable_twice(head: Head) -> None:
    model, theta, batch = _case(head, samples=5)
    direction = torch.randn(theta.shape, generator=Generator().manual_seed(1), dtype=torch.float64)

    def total(leaf: Tensor) -> Tensor:
        return (model.log_prob(leaf, batch.inputs, batch.action) * batch.advantage).sum()

    leaf = theta.clone().requires_grad_()
    (slope,) = torch.autograd.grad(total(leaf), leaf, create_graph=True)
    (product,) = torch.autograd.grad((slope * direction).sum(), leaf)
    step = 1e-5
    ahead, behind = (differentiate(total, theta + sign * step * direction)[0] for sign in (1, -1))
    torch.testing.assert_close(product, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)
    assert product[:, 0].abs().max() > 0.1 and (product[:, 1] == 0).all()


def _moments(mean: Any, variance: Any) -> Moments:
    rows = torch.tensor(mean).double(), torch.tensor(variance).double()
    return Moments(torch.ones(len(rows[0])).double(), *rows)


def test_values_are_in_the_channels_own_units() -> None:
    # A critic without hidden influence: outputs are its last biases (1, 2, -1); values are bias * std + mean:
    # 1 * 2 + 10 = 12, 2 * 3 - 5 = 1, -1 * 4 + 0 = -4.
    model = ActorCritic(Features(5), Categorical((2,)), 3, (4,))
    theta = torch.zeros(1, 2, model.network.parameters)
    model.network.layers(theta[:, 1]).biases[-1][..., :3] = torch.tensor([1.0, 2, -1])
    values = model.values(theta, torch.randn(1, 6, 5), _moments([[10.0, -5, 0]], [[4.0, 9, 16]]))
    torch.testing.assert_close(values, torch.tensor([12.0, 1, -4]).expand(1, 6, 3))


def test_a_change_of_the_return_normaliser_changes_no_value() -> None:
    model, theta, batch = _case(HEADS["choice"])
    draw = Generator().manual_seed(5)
    old, new = (
        Moments(
            torch.ones(3).double(), *(f(torch.randn(3, 3, generator=draw).double()) for f in (torch.clone, torch.exp))
        )
        for _ in range(2)
    )
    before, actors = model.values(theta, batch.inputs, old), theta[:, 0].clone()
    spare = model.network.layers(theta[:, 1]).weights[-1][..., 3:].clone()
    model.keep_values(theta, old, new)
    torch.testing.assert_close(model.values(theta, batch.inputs, new), before, rtol=1e-5, atol=1e-5)
    assert torch.equal(theta[:, 0], actors), "the actors must stay"
    assert torch.equal(model.network.layers(theta[:, 1]).weights[-1][..., 3:], spare)
    assert (model.values(theta, batch.inputs, old) - before).abs().max() > 0.1


def test_inputs_are_normalised_numbers_then_the_context() -> None:
    # (5 - 1) / 2 = 2 and (0 - 4) / 4 = -1; the context (7) goes in as it is.
    model = ActorCritic(Features(2), Categorical((2,)), 1, (4,), context=1)
    by = standard(_moments([[1.0, 4]], [[4.0, 16]]))
    seen = model.inputs(torch.tensor([[[5.0, 0]]]), by, torch.tensor([[[7.0]]]))
    torch.testing.assert_close(seen, torch.tensor([[[2.0, -1, 7]]]))
    coded = ActorCritic(Features(1, (0,), (3,)), Categorical((2,)), 1, (4,))
    seen = coded.inputs(torch.tensor([[[2]]]), standard(_moments([[1.0]], [[4.0]])), torch.zeros(1, 1, 0))
    assert seen.tolist() == [[[0, 0, 1]]], "a one-hot code is not normalised"


def test_fresh_actors_are_almost_uniform_and_critics_are_not() -> None:
    # Last gain 0.01 against 1: outputs of the actor are about a hundred times smaller.
    model = ActorCritic(Features(5), Categorical((4,)), 4, (64, 64))
    theta = model.init(8, Generator().manual_seed(0))
    x = torch.randn(8, 100, 5, generator=Generator().manual_seed(1))
    actor, critic = (model.network.forward(model.network.layers(theta[:, i]), x)[-1].std() for i in (0, 1))
    assert theta.shape == (8, 2, model.network.parameters) and 0.003 < actor / critic < 0.03


def test_the_first_spread_of_actions_is_as_asked() -> None:
    # A standard deviation of .5 half widths: the extras are its logarithm, and so is each sample's scale.
    model = ActorCritic(Features(3), Gaussian((-2.0, -2.0), (2.0, 2.0)), 1)
    theta = model.init(2, Generator().manual_seed(0), 0.5)
    extra = model.actor(theta).extra
    assert extra.flatten().tolist() == pytest.approx([log(0.5)] * 4)
    assert (model.network.layers(theta[:, 1]).extra == 0).all(), "critics have none"
    drawn = model.head.sample(torch.zeros(1, 1, 2), extra[:1].unsqueeze(1), torch.ones(1, 1, 2))
    assert drawn.flatten().tolist() == pytest.approx([0.5, 0.5])
    assert (model.actor(model.init(1, Generator().manual_seed(0))).extra == 0).all()
