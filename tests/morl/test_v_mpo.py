"""V-MPO's sample weights, its dual variables and its gradient, by closed forms and against torch.distributions."""

from __future__ import annotations

from math import log

import pytest
import torch
from gymnasium import spaces
from scipy.optimize import minimize_scalar
from torch import Generator, Tensor
from torch.distributions import Categorical, Normal, kl_divergence

from tradeoff.engine.actor_critic import ACTOR, ActorCritic
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import make_head
from tradeoff.engine.trajectories import Batch
from tradeoff.morl.v_mpo import VMPO, Duals, divergence_from_uniform, target_weights, temperature_dual

QUARTERS = 0.75 * log(1.5) + 0.25 * log(0.5)  # KL of (3/4, 1/4) from (1/2, 1/2)
BOX = spaces.Box(-5.0, 5.0, (3,), dtype="float32")
DUALS = Duals(eps_eta=QUARTERS, eps_alpha=0.01, eps_alpha_std=1e-4, eta=1.0, alpha=2.0, learning_rate=0.05)


def test_the_better_half_is_weighed_by_advantage_over_temperature() -> None:
    # Policy 0: temperature 2, advantages (2 log 3, 0 | -1, -2): exp gives 3 : 1. Policy 1: temperature 1, the better
    # half is (5, 5): equal weights. Of five samples the best two count, of one sample that one.
    advantage = torch.tensor([[-1.0, 2 * log(3.0), -2.0, 0.0], [5.0, -1.0, 0.0, 5.0]])
    weights = target_weights(advantage, torch.tensor([[2.0], [1.0]]))
    torch.testing.assert_close(weights, torch.tensor([[0.0, 0.75, 0.0, 0.25], [0.5, 0.0, 0.0, 0.5]]))
    torch.testing.assert_close(divergence_from_uniform(weights), torch.tensor([QUARTERS, 0.0]))
    assert target_weights(torch.arange(5.0).view(1, 5), torch.ones(1, 1)).count_nonzero() == 2
    assert target_weights(torch.tensor([[7.0]]), torch.ones(1, 1)).tolist() == [[1.0]]


def test_slope_of_the_dual_is_the_bound_minus_the_divergence() -> None:
    advantage = torch.randn(3, 20, generator=Generator().manual_seed(0), dtype=torch.float64)
    eta = torch.tensor([[0.3], [1.0], [4.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(temperature_dual(advantage, eta, 0.1).sum(), eta)
    divergence = divergence_from_uniform(target_weights(advantage, eta.detach()))
    torch.testing.assert_close(slope.squeeze(1), 0.1 - divergence)


def test_where_the_dual_is_least_the_divergence_is_its_bound() -> None:
    # Two samples in the better half, (a, 0): psi = (p, 1 - p) with p = 1 / (1 + exp(-a / eta)). A bound of
    # KL((3/4, 1/4) || equal) wants p = 3/4, so eta = a / log 3.
    pair = torch.tensor([[2.0, 0.0, -1.0, -3.0]], dtype=torch.float64)
    assert least_temperature(pair, QUARTERS) == pytest.approx(2 / log(3), rel=1e-5)
    many = torch.randn(1, 40, generator=Generator().manual_seed(1), dtype=torch.float64)
    for bound in (0.01, 0.1, 1.0):
        found = torch.tensor([[least_temperature(many, bound)]], dtype=torch.float64)
        assert divergence_from_uniform(target_weights(many, found)).item() == pytest.approx(bound, rel=1e-4)


def least_temperature(advantage: Tensor, bound: float) -> float:
    """Where the dual function is least, by a search of scipy's."""
    value = lambda eta: temperature_dual(advantage, torch.tensor([[eta]], dtype=torch.float64), bound).item()  # noqa: E731
    return float(minimize_scalar(value, bounds=(1e-3, 100.0), method="bounded", options={"xatol": 1e-9}).x)


def batch_for(model: ActorCritic, theta: Tensor, n: int, generator: Generator) -> Batch:
    inputs = torch.randn(len(theta), n, 3, generator=generator)
    out, extra = model.outputs(model.actor(theta), inputs)
    action = model.head.sample(out, extra, model.head.noise((len(theta), n), generator))
    advantage = torch.randn(len(theta), n, generator=generator)
    target = torch.zeros(len(theta), n, 1)
    return Batch(inputs, action, model.head.log_prob(out, extra, action), target, advantage, target)


@pytest.mark.parametrize("space", [spaces.Discrete(4), spaces.Box(-1.0, 1.0, (2,), dtype="float32")])
def test_gradient_is_that_of_the_published_loss(space: spaces.Space) -> None:
    generator = Generator().manual_seed(2)
    model = ActorCritic(make_features(BOX, ()), make_head(space), 1, (5,))
    theta = model.init(2, generator)
    theta[:, ACTOR] += 0.3 * torch.randn(theta[:, ACTOR].shape, generator=generator)
    rule = VMPO(model, 2, DUALS, torch.device("cpu"))
    assert rule.plan(theta)["current"] is theta
    batch = batch_for(model, theta, 12, generator)
    moved = theta + 0.1 * torch.randn(theta.shape, generator=generator)
    psi = target_weights(batch.advantage, torch.ones(2, 1))

    actor = moved[:, ACTOR].clone().requires_grad_()
    out, extra = model.outputs(model.network.layers(actor), batch.inputs)
    old_out, old_extra = model.outputs(model.actor(theta), batch.inputs)
    if isinstance(space, spaces.Discrete):
        log_prob = Categorical(logits=out).log_prob(batch.action[..., 0])
        apart = kl_divergence(Categorical(logits=old_out), Categorical(logits=out)).mean(1)
    else:
        std, old_std = extra.exp().expand_as(out), old_extra.exp().expand_as(out)
        log_prob = Normal(out, std).log_prob(batch.action).sum(-1)
        by_mean = kl_divergence(Normal(old_out, old_std), Normal(out, old_std))
        by_std = kl_divergence(Normal(old_out, old_std), Normal(old_out, std))
        apart = (by_mean + by_std).sum(-1).mean(1)
    ((psi * log_prob).sum(1) - 2.0 * apart).sum().backward()  # both multipliers are 2

    found = rule.gradient(moved, {"current": batch}, lambda at, _: torch.zeros_like(at))
    torch.testing.assert_close(found[:, ACTOR], actor.grad, rtol=1e-4, atol=1e-6)


def test_dual_variables_follow_their_bounds() -> None:
    # At the policy that sampled both divergences are 0, below their bounds: the multipliers fall. The temperature goes
    # to a / log 3, where the sample weights are 3/4 and 1/4.
    generator = Generator().manual_seed(3)
    model = ActorCritic(make_features(BOX, ()), make_head(spaces.Discrete(2)), 1, (4,))
    theta = model.init(1, generator)
    rule = VMPO(model, 1, DUALS, torch.device("cpu"))
    rule.plan(theta)
    batch = batch_for(model, theta, 4, generator)._replace(advantage=torch.tensor([[2.0, 0.0, -1.0, -3.0]]))
    for _ in range(400):
        rule.gradient(theta, {"current": batch}, lambda at, _: torch.zeros_like(at))
    assert rule.values[0, 0, 0].item() == pytest.approx(2 / log(3), rel=1e-2)
    assert rule.values[0, 0, 1] < 0.1
    far = theta.clone()
    far[:, ACTOR] += torch.randn(far[:, ACTOR].shape, generator=generator)
    before = rule.values[0, 0, 1].item()
    for _ in range(30):
        rule.gradient(far, {"current": batch}, lambda at, _: torch.zeros_like(at))
    assert rule.values[0, 0, 1] > before, "far from the policy that sampled they rise"
    again = VMPO(model, 1, DUALS, torch.device("cpu"))
    again.load_state_dict(rule.state_dict())
    assert torch.equal(again.values, rule.values)
