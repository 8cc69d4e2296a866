"""Whole-trajectory quantities against the enumeration of every trajectory, and against hand arithmetic."""

from __future__ import annotations

import pytest
import torch

import tradeoff.engine.episodes
import tradeoff.engine.scores
from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.episodes import (
    Episodes,
    alive_steps,
    coefficients,
    discounted,
    effective_sample_size,
    importance_weights,
    mixed,
    returns,
    unfold,
)
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical, Gaussian
from tradeoff.engine.scores import channel_gradients, linearise, log_probs, squared_norms, trajectory_gradients
from tradeoff.engine.trajectories import fold
from tradeoff.envs.errors import NumericalTrouble

EXACT = {"rtol": 0.0, "atol": 1e-9}
WEIGHTS = torch.tensor([[0.7, -1.3]]).double()


def _omega(world, near, **options):
    """Samples of `near` and the weights that make them speak for the world's theta; the wrong way round on request."""
    data = world.every(near)
    log_ratio = log_probs(world.model, world.theta, data) - data.log_prob
    inverted = options.pop("inverted", False)
    return data, importance_weights(-log_ratio if inverted else log_ratio, data.alive, **options)


def test_trajectories_are_all_there_and_their_mean_return_is_exact(world) -> None:
    torch.testing.assert_close(world.chance(world.theta).sum().item(), 1.0)
    data = world.every(world.theta)
    assert 0 < data.alive[-1].float().mean() < 1, "some episodes end early, some do not"
    torch.testing.assert_close(returns(data.paid).mean(1)[0], world.returns(world.theta), **EXACT)


@pytest.mark.parametrize("whole", [False, True])
def test_weighted_returns_have_the_other_policys_mean_and_inverted_weights_do_not(world, near, whole) -> None:
    want = world.returns(world.theta)
    data, omega = _omega(world, near, whole=whole)
    torch.testing.assert_close(returns(data.paid, omega).mean(1)[0], want, **EXACT)
    _, wrong = _omega(world, near, whole=whole, inverted=True)
    assert (returns(data.paid, wrong).mean(1)[0] - want).abs().max() > 1e-3
    assert (want - world.returns(near)).abs().max() > 1e-3, "the two policies differ, or nothing was tested"


@pytest.mark.parametrize("causal, whole", [(True, False), (True, True), (False, True)])
def test_weighted_gradients_have_the_other_policys_mean_and_inverted_weights_do_not(world, near, causal, whole) -> None:
    want = world.gradient(world.theta, WEIGHTS[0])
    errors = []
    for inverted in (False, True):
        data, omega = _omega(world, near, whole=whole, inverted=inverted)
        _, pull = linearise(world.model, world.theta, data)
        found = pull(coefficients(mixed(data.paid, WEIGHTS), data.alive, omega, causal=causal))
        errors.append((found - want).abs().max().item())
    assert errors[0] < 1e-9 and errors[1] > 1e-3
    assert want.abs().max() > 0.05


def test_paying_the_past_with_weights_per_step_is_biased(world, near) -> None:
    # Why REINFORCE insists on whole-trajectory weights: omega_h leaves out the ratio at a later score's own step.
    data, omega = _omega(world, near)
    _, pull = linearise(world.model, world.theta, data)
    found = pull(coefficients(mixed(data.paid, WEIGHTS), data.alive, omega, causal=False))
    assert (found - world.gradient(world.theta, WEIGHTS[0])).abs().max() > 1e-3


def test_weights_per_step_vary_less(world, near) -> None:
    sizes = []
    for whole in (False, True):
        data, omega = _omega(world, near, whole=whole)
        chance = world.chance(near)
        paid = data.paid / (len(chance) * chance).view(1, 1, -1, 1)
        each = returns(paid, omega)[0]
        sizes.append((chance @ (each - chance @ each).square()).sum().item())
    assert sizes[0] < 0.95 * sizes[1]


@pytest.mark.parametrize("baseline", ["mean", "optimal", "learned"])
@pytest.mark.parametrize("weighted", [False, True])
def test_baselines_from_the_others_are_unbiased(short, near, baseline, weighted) -> None:
    # All batches of two trajectories, each with the product of its chances.
    behaviour = near if weighted else short.theta
    n, chance = short.states.shape[1], short.chance(behaviour)
    one = short.episodes(behaviour, torch.arange(n).unsqueeze(0))
    omega = importance_weights(log_probs(short.model, short.theta, one) - one.log_prob, one.alive)
    squares = squared_norms(short.model, short.theta, one)
    first, second = (x.flatten() for x in torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij"))
    promise = torch.randn(1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    promise = torch.where(one.alive, promise[0, short.states].unsqueeze(1), 0.0)  # any function of the state will do
    columns = (mixed(one.paid, WEIGHTS), one.alive, omega, squares, promise)
    reward, alive, level, size, expected = (torch.stack([x[:, 0, first], x[:, 0, second]], -1) for x in columns)
    options = {"squares": size, "expected": expected}
    plain, based = (coefficients(reward, alive, level, baseline=b, **options) for b in ("none", baseline))
    assert (plain - based).abs().max() > 0.1
    mean = based[..., 0].unflatten(1, (n, n)) @ chance  # [T, n] over the partners
    _, pull = linearise(short.model, short.theta, one)
    want = short.gradient(short.theta, WEIGHTS[0])
    torch.testing.assert_close(pull((n * chance * mean).unsqueeze(1)), want, **EXACT)


@pytest.mark.parametrize("baseline", ["mean", "optimal"])
def test_baselines_lower_the_variance(world, baseline) -> None:
    data = world.drawn(world.theta, 400, 8, torch.Generator().manual_seed(2))
    theta = world.theta.expand(400, -1, -1)
    squares = squared_norms(world.model, theta, data)
    _, pull = linearise(world.model, theta, data)
    reward = mixed(data.paid + 2.0 * data.alive.unsqueeze(-1), WEIGHTS.abs().expand(400, -1))
    spread = lambda b: pull(coefficients(reward, data.alive, baseline=b, squares=squares)).var(0).sum()  # noqa: E731
    assert spread(baseline) < 0.8 * spread("none")


@pytest.mark.parametrize("baseline", ["none", "mean"])
def test_centring_lowers_the_variance_of_weighted_gradients(baseline, monkeypatch) -> None:
    # Fifty coin tosses, each paid 1 give or take .1, weighed for a coin with odds of .52: the level of 1 moves with the
    # weights of later steps, which no baseline at the weight of its own step takes off. Measured: 981 and .33 without
    # baseline, 20 and .33 with one.
    monkeypatch.setattr(tradeoff.engine.episodes, "LARGEST_BLOCK", 100_000)  # several blocks
    draw, shape = torch.Generator().manual_seed(5), (50, 400, 12)
    first = torch.rand(shape, generator=draw) < 0.5
    reward = 1 + 0.1 * torch.randn(shape, generator=draw)
    omega = torch.where(first, 1.04, 0.96).log().cumsum(0).exp()
    score, alive = torch.where(first, 0.48, -0.52), torch.ones(shape, dtype=torch.bool)
    spread = [
        (coefficients(reward, alive, omega, baseline=baseline, centre=c) * score).sum(0).mean(1).var().item()
        for c in (False, True)
    ]
    assert spread[1] < 0.1 * spread[0] and spread[1] < 0.5


def test_a_centred_baseline_without_weights_is_the_baseline() -> None:
    # Rewards 1, 2, 6 in one step. The others' means are 4, 3.5 and 1.5, whatever was taken off all three.
    reward, alive = torch.tensor([[[1.0, 2, 6]]]), torch.ones(1, 1, 3, dtype=torch.bool)
    found = [coefficients(reward, alive, baseline=b, centre=True).flatten().tolist() for b in ("none", "mean")]
    assert found == [[-3.0, -1.5, 4.5]] * 2
    ones = coefficients(reward, alive, torch.ones(1, 1, 3), baseline="mean", centre=True)
    assert ones.flatten().tolist() == [-3.0, -1.5, 4.5]


def test_the_baseline_by_hand() -> None:
    # One step, rewards 1, 2, 6, |score|^2 1, 1, 2. The others' means: 4, 3.5, 1.5. Their optimal levels:
    # (2 + 2 * 6) / 3, (1 + 2 * 6) / 3, (1 + 2) / 2.
    reward, squares = torch.tensor([[[1.0, 2, 6]]]), torch.tensor([[[1.0, 1, 2]]])
    alive = torch.ones(1, 1, 3, dtype=torch.bool)
    mean = coefficients(reward, alive, baseline="mean")
    assert mean.flatten().tolist() == [-3.0, -1.5, 4.5]
    best = coefficients(reward, alive, baseline="optimal", squares=squares)
    torch.testing.assert_close(best.flatten(), torch.tensor([1 - 14 / 3, 2 - 13 / 3, 4.5]))
    alone = coefficients(reward[..., :1], alive[..., :1], baseline="mean")
    assert alone.item() == 1.0, "a single trajectory has no others to learn from"


def test_masks_discounts_and_weights_by_hand() -> None:
    # Two episodes of 2 and 3 steps, discount 1/2, ratios 2 then 1/2 then 4; what comes after the end counts nothing.
    ended = torch.tensor([[0, 0], [1, 0], [0, 1]], dtype=torch.bool).unsqueeze(1)
    alive = alive_steps(ended)
    assert alive[:, 0].tolist() == [[True, True], [True, True], [False, True]]
    paid = discounted(torch.full((3, 1, 2, 1), 8.0), alive, 0.5)
    assert paid[:, 0, :, 0].T.tolist() == [[8.0, 4.0, 0.0], [8.0, 4.0, 2.0]]
    assert returns(paid)[0, :, 0].tolist() == [12.0, 14.0]
    log_ratio = torch.tensor([2.0, 0.5, 4.0]).log().view(3, 1, 1).expand(3, 1, 2)
    omega = importance_weights(log_ratio, alive)
    torch.testing.assert_close(omega[:, 0].T, torch.tensor([[2.0, 1, 1], [2, 1, 4]]))
    whole = importance_weights(log_ratio, alive, whole=True)
    torch.testing.assert_close(whole[:, 0].T, torch.tensor([[1.0, 1, 1], [4, 4, 4]]))
    # 2 * 8 + 1 * 4; 2 * 8 + 1 * 4 + 4 * 2. Effective sample size: (1 + 4)^2 / (1 + 16).
    torch.testing.assert_close(returns(paid, omega)[0, :, 0], torch.tensor([20.0, 28.0]))
    torch.testing.assert_close(effective_sample_size(omega[-1]), torch.tensor([25 / 17]))
    ahead = coefficients(paid[..., 0], alive, omega)
    torch.testing.assert_close(ahead[:, 0].T, torch.tensor([[20.0, 4, 0], [28, 12, 8]]))


def test_exploding_weights_stop_with_advice() -> None:
    alive = torch.ones(500, 1, 1, dtype=torch.bool)
    assert importance_weights(torch.full((500, 1, 1), 0.01), alive)[-1].item() == pytest.approx(148.413, rel=1e-4)
    with pytest.raises(NumericalTrouble, match=r"500 steps has the logarithm 500: .* shorter steps"):
        importance_weights(torch.ones(500, 1, 1), alive)


@pytest.mark.parametrize("hidden", [(4,), (5, 3)])
@pytest.mark.parametrize(
    "head", [Categorical((2, 3), flat=False), Gaussian((-1.0,), (1.0,))], ids=["choices", "normal"]
)
def test_sums_of_scores_by_trajectory_and_by_channel_are_those_of_autograd(head, hidden, monkeypatch) -> None:
    monkeypatch.setattr(tradeoff.engine.scores, "LARGEST_CHUNK", 20)  # several chunks
    model, draw = ActorCritic(Features(3), head, 2, hidden), torch.Generator().manual_seed(3)
    theta = torch.randn(2, 2, model.network.parameters, generator=draw).double()
    inputs = torch.randn(2, 12, 3, generator=draw).double()
    action = head.sample(*model.outputs(model.actor(theta), inputs), head.noise((2, 12), draw).double())
    per_channel = torch.randn(4, 2, 3, 2, generator=draw).double()
    alive = torch.ones(4, 2, 3, dtype=torch.bool)
    data = Episodes(inputs, action, torch.zeros(4, 2, 3).double(), per_channel, alive)

    leaf = theta.clone().requires_grad_()
    log_prob = unfold(model.log_prob(leaf, inputs, action), 4)
    terms = per_channel * log_prob.unsqueeze(-1)
    rows = lambda total: torch.autograd.grad(total, leaf, retain_graph=True)[0][:, 0]  # noqa: E731
    want = torch.stack([rows(terms[..., c].sum() / 3) for c in range(2)], 1)
    torch.testing.assert_close(channel_gradients(model, theta, data, per_channel), want, **EXACT)
    one = per_channel[..., 0]
    want = torch.stack([rows(terms[:, :, b, 0].sum()) for b in range(3)], 1)
    torch.testing.assert_close(trajectory_gradients(model, theta, data, one), want, **EXACT)
    torch.testing.assert_close(linearise(model, theta, data)[1](one)[:, 0], want.mean(1), **EXACT)
    want = torch.stack([rows(x).square().sum() for x in log_prob.flatten()]).view(4, 2, 3)
    torch.testing.assert_close(squared_norms(model, theta, data), want, **EXACT)


def test_the_mixture_is_the_sum_of_its_channels(world) -> None:
    data = world.drawn(world.theta, 1, 5, torch.Generator().manual_seed(4))
    squares = squared_norms(world.model, world.theta, data)
    options = {"baseline": "optimal", "squares": squares}
    apart = torch.stack([coefficients(x, data.alive, **options) for x in data.paid.unbind(-1)], -1)
    together = coefficients(mixed(data.paid, WEIGHTS), data.alive, **options)
    torch.testing.assert_close((apart * WEIGHTS).sum(-1), together, **EXACT)
    assert fold(together).shape == (1, 20)
