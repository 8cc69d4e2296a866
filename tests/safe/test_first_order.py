"""P3O, FOCOPS, CUP and RCPO: gradients against finite differences and closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tradeoff.engine.actor_critic import ACTOR, CRITIC, ActorCritic
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical
from tradeoff.engine.surrogates import ppo_clip
from tradeoff.engine.trajectories import Batch
from tradeoff.safe.constraints import Constraint
from tradeoff.safe.first_order import FOCOPS, ExactPenalty, Projection

CLIP = 0.2


@pytest.fixture
def sampled():
    """A float64 model, parameters a little away from the policy that acted, and its samples; 1 objective, 2 costs."""
    draw = torch.Generator().manual_seed(0)
    random = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    head, n = Categorical((3,)), 60
    model = ActorCritic(Features(3), head, 3, (4,))
    behaviour = model.init(1, draw).double()
    behaviour[:, ACTOR] += 0.3 * random(1, behaviour.shape[-1])
    inputs = random(1, n, 3)
    out, extra = model.outputs(model.actor(behaviour), inputs)
    action = head.sample(out, extra, head.noise((1, n), draw).double())
    advantages = random(1, n, 3)
    batch = Batch(inputs, action, head.log_prob(out, extra, action), advantages, advantages[..., 0], random(1, n, 3))
    theta = behaviour.clone()
    theta[:, ACTOR] += 0.2 * random(1, behaviour.shape[-1])
    return model, theta, behaviour, batch


def _oracle(model):
    return lambda theta, batch: model.gradient(theta, batch, ppo_clip(CLIP))[0]


def _slope(objective, theta, along, h=1e-6):
    return ((objective(theta + h * along) - objective(theta - h * along)) / (2 * h)).item()


def _ways(theta, count=4):
    """Random directions in the actor's parameters."""
    draw = torch.Generator().manual_seed(1)
    for _ in range(count):
        along = torch.zeros_like(theta)
        along[:, ACTOR] = torch.randn(theta[:, ACTOR].shape, generator=draw, dtype=theta.dtype)
        yield along


@pytest.mark.parametrize("violation", [-0.5, 0.0, 0.4])
def test_p3o_climbs_the_exact_penalty(sampled, bound, violation) -> None:
    # mean min(r A, clip(r) A) - 3 sum_i max(0, mean max(r A_i, clip(r) A_i) + violation_i): the second cost stays kept.
    model, theta, _, batch = sampled
    rules = bound(Constraint(cost="a", limit=0.0), Constraint(cost="b", limit=0.0))
    broken = torch.tensor([[violation, -5.0]])
    estimator = ExactPenalty(model, ppo_clip(CLIP), SimpleNamespace(constraints=rules, violation_per_step=broken), 3.0)
    gradient = estimator.gradient(theta, {"current": batch}, _oracle(model))

    def objective(theta):
        ratio = (model.log_prob(theta, batch.inputs, batch.action) - batch.log_prob).exp()
        held = ratio.clamp(1 - CLIP, 1 + CLIP)
        cost = batch.advantages[..., 1:] - batch.advantages[..., 1:].mean(1, keepdim=True)
        lost = torch.maximum(ratio.unsqueeze(-1) * cost, held.unsqueeze(-1) * cost).mean(1) + broken
        return torch.minimum(ratio * batch.advantage, held * batch.advantage).mean(1) - 3 * lost.clamp_min(0).sum(-1)

    for along in _ways(theta):
        assert (gradient * along).sum().item() == pytest.approx(_slope(objective, theta, along), abs=1e-6)
    plain = _oracle(model)(theta, batch)
    assert torch.equal(gradient[:, CRITIC], plain[:, CRITIC])
    assert torch.equal(gradient, plain) == (violation == -0.5)
    with pytest.raises(ValueError, match="penalty"):
        ExactPenalty(model, ppo_clip(CLIP), estimator.measured, 0.0)


def test_focops_climbs_inside_its_radius_only(sampled) -> None:
    model, theta, behaviour, batch = sampled
    estimator = FOCOPS(model, temperature=1.5, radius=0.02)
    assert estimator.plan(behaviour) == {"current": behaviour}
    gradient = estimator.gradient(theta, {"current": batch}, _oracle(model))
    old = model.outputs(model.actor(behaviour), batch.inputs)
    near = model.head.divergence(*model.outputs(model.actor(theta), batch.inputs), *old) <= 0.02
    assert 5 < near.sum() < 55

    def objective(theta):
        now = model.outputs(model.actor(theta), batch.inputs)
        ratio = (model.head.log_prob(*now, batch.action) - batch.log_prob).exp()
        return (near * (ratio * batch.advantage / 1.5 - model.head.divergence(*now, *old))).mean(1)

    for along in _ways(theta):
        assert (gradient * along).sum().item() == pytest.approx(_slope(objective, theta, along), abs=1e-6)
    torch.testing.assert_close(gradient[:, CRITIC], _oracle(model)(theta, batch)[:, CRITIC])
    with pytest.raises(ValueError, match="radius"):
        FOCOPS(model, radius=0.0)


def test_cup_projects_towards_lower_costs_and_the_anchor(sampled) -> None:
    model, theta, behaviour, batch = sampled
    gradient = Projection(model, 0.7, behaviour).gradient(theta, {"current": batch}, _oracle(model))
    anchor = model.outputs(model.actor(behaviour), batch.inputs)

    def objective(theta):
        now = model.outputs(model.actor(theta), batch.inputs)
        ratio = (model.head.log_prob(*now, batch.action) - batch.log_prob).exp()
        return (0.7 * ratio * batch.advantage - model.head.divergence(*anchor, *now)).mean(1)

    for along in _ways(theta):
        assert (gradient * along).sum().item() == pytest.approx(_slope(objective, theta, along), abs=1e-6)
    torch.testing.assert_close(gradient[:, CRITIC], _oracle(model)(theta, batch)[:, CRITIC])
