"""Second derivatives against autograd run twice, for every head and for several layers."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.curvature import curvature, slopes
from tradeoff.engine.episodes import Episodes
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical, Gaussian
from tradeoff.engine.networks import BENDS
from tradeoff.engine.soft_head import StateGaussian
from tradeoff.engine.trajectories import fold
from tradeoff.envs.errors import TradeoffError

HEADS = {
    "categorical": Categorical((3,)),
    "two choices": Categorical((2, 3), flat=False),
    "gaussian": Gaussian((-1.0, -2.0), (1.0, 2.0)),
    "squashed": Gaussian((-1.0, -2.0), (1.0, 2.0), squash=True),
    "spread by state": StateGaussian((-1.0, -2.0), (1.0, 2.0)),
}


@pytest.mark.parametrize("activation", BENDS)
@pytest.mark.parametrize("hidden", [(4,), (5, 4, 3)])
@pytest.mark.parametrize("name", HEADS)
def test_both_equal_autograd(name, hidden, activation) -> None:
    head, draw = HEADS[name], Generator().manual_seed(0)
    model = ActorCritic(
        Features(3), head, 7, hidden, activation=activation
    )  # more channels than outputs: some outputs are the critics' alone
    theta, direction = torch.randn(2, 2, 2, model.network.parameters, generator=draw).double()
    inputs = torch.randn(2, 5 * 4, 3, generator=draw).double()
    out, extra = model.outputs(model.actor(theta), inputs)
    action = head.sample(out, extra, head.noise((2, 20), draw).double())
    alive = torch.rand(5, 2, 4, generator=draw) < 0.7
    coefficient, more = torch.randn(2, 5, 2, 4, generator=draw).double() * alive
    data = Episodes(inputs, action, torch.zeros(5, 2, 4).double(), torch.zeros(5, 2, 4, 1).double(), alive)

    leaf = theta.clone().requires_grad_()
    log_prob = model.log_prob(leaf, inputs, action)
    (first,) = torch.autograd.grad((log_prob * fold(coefficient) / 4).sum(), leaf, create_graph=True)
    (want,) = torch.autograd.grad((first * direction).sum(), leaf, retain_graph=True)
    torch.testing.assert_close(curvature(model, theta, direction, data, coefficient), want, rtol=1e-9, atol=1e-9)
    assert want.abs().max() > 0.1

    each = [torch.autograd.grad(x, leaf, retain_graph=True)[0] for x in log_prob.flatten()]
    slope = torch.stack([(g * direction).sum() for g in each]).view(2, 5, 4).transpose(0, 1)
    found = slopes(model, theta, direction, data)
    torch.testing.assert_close(found, torch.where(alive, slope, 0.0), rtol=1e-9, atol=1e-9)

    (added,) = torch.autograd.grad((log_prob * fold(more * found) / 4).sum(), leaf, retain_graph=True)
    both = curvature(model, theta, direction, data, coefficient, lambda slope: more * slope)
    torch.testing.assert_close(both, want + added, rtol=1e-9, atol=1e-9)


def test_an_activation_without_a_second_derivative_is_refused(monkeypatch) -> None:
    monkeypatch.setitem(BENDS, "tanh", BENDS["tanh"]._replace(turn=None))
    model = ActorCritic(Features(3), HEADS["categorical"], 1, (4,))
    theta = model.init(1, Generator().manual_seed(0))
    data = Episodes(*(torch.zeros(0) for _ in range(5)))
    with pytest.raises(TradeoffError, match="second derivative of tanh is not known; take one of relu"):
        curvature(model, theta, theta, data, torch.zeros(0))
