"""The parts of soft actor-critic: networks, squashed normals, cautious critics, settings; each against a second way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator

from tradeoff.engine.networks import StackedMLP
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.engine.soft_critics import Critics
from tradeoff.engine.soft_head import StateGaussian


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_gradients_of_networks_agree_with_autograd(activation: str):
    network, generator = StackedMLP((3, 5, 4, 2), 1, activation), Generator().manual_seed(0)
    theta = network.init(2, generator, 1.0).double().requires_grad_()
    x = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64).requires_grad_()
    slope = torch.randn(2, 7, 2, generator=generator, dtype=torch.float64)
    tape = network.forward(network.layers(theta), x)
    wanted = torch.autograd.grad((slope * tape[-1]).sum(), (theta, x))
    with torch.no_grad():
        layers = network.layers(theta)
        torch.testing.assert_close(network.backward(layers, tape, slope, torch.zeros(2, 1)), wanted[0])
        torch.testing.assert_close(network.pull_inputs(layers, tape, slope, 2), wanted[1][..., -2:])


def test_actions_and_their_density_along_the_noise():
    # The density of the squashed action, by the change of variables: N(u) / prod(1 - tanh(u)^2) / no scale of the box.
    head, generator = StateGaussian((-1.0, -1.0), (1.0, 1.0)), Generator().manual_seed(0)
    out = torch.randn(1, 6, 4, generator=generator, dtype=torch.float64).requires_grad_()
    noise = torch.randn(1, 6, 2, generator=generator, dtype=torch.float64)
    drawn = head.draw(out, noise)
    u = head.sample(out, out[:, :1, :0], noise)
    normal = torch.distributions.Normal(out[..., :2], out[..., 2:].exp())
    density = torch.distributions.TransformedDistribution(normal, torch.distributions.TanhTransform()).log_prob(
        u.tanh()
    )
    torch.testing.assert_close(drawn.log_prob, density.sum(-1))
    torch.testing.assert_close(head.log_prob(out, out[:, :1, :0], u), density.sum(-1))
    d_action, d_log_prob = torch.randn(1, 6, 2, dtype=torch.float64), torch.randn(1, 6, dtype=torch.float64)
    wanted = torch.autograd.grad((d_action * drawn.action).sum() + (d_log_prob * drawn.log_prob).sum(), out)[0]
    torch.testing.assert_close(drawn.pull(d_action, d_log_prob).detach(), wanted)
    held = u.detach()
    score = torch.autograd.grad((d_log_prob * head.log_prob(out, out[:, :1, :0], held)).sum(), out)[0]
    torch.testing.assert_close(head.linearise(out.detach(), out[:, :1, :0], held)[1](d_log_prob)[0], score)


def test_a_cut_spread_has_no_slope():
    head = StateGaussian((-1.0,), (1.0,))
    out = torch.tensor([[[0.0, 3.0]]])  # log standard deviation 3 is cut to 2
    drawn = head.draw(out, torch.ones(1, 1, 1))
    assert drawn.action.item() == pytest.approx(np.tanh(np.exp(2.0)))
    assert drawn.pull(torch.ones(1, 1, 1), torch.ones(1, 1))[0, 0, 1].item() == 0.0


@pytest.mark.parametrize(("members", "caution"), [(1, 0.0), (2, 0.0), (4, 0.7)])
def test_cautious_values_and_their_slope(members: int, caution: float):
    critics = Critics(1, 1, 2, 2, members, caution)
    generator = Generator().manual_seed(0)
    values = torch.randn(1, members, 3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    read, pull = critics.read(values)
    costs = values[..., 3:]
    spread = costs.std(1) if members > 1 else 0.0
    torch.testing.assert_close(read[..., :3], values[:, :2, :, :3].amin(1))
    torch.testing.assert_close(read[..., 3:], costs.mean(1) + caution * spread)
    slope = torch.randn(1, 3, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(pull(slope).detach(), torch.autograd.grad((read * slope).sum(), values)[0])


def test_soft_targets_by_hand():
    # Columns: entropy, one objective, one cost. Discount 1/2, log-probability -3 in the entropy's unit.
    # lesser futures: entropy min(2, 4) = 2, objective min(8, 6) = 6; costs are every member's own, 10 and 20.
    # entropy: 0 + (2 + 3) / 2 = 2.5; objective: 1 + 6 / 2 = 4; costs: 7 + 10 / 2 = 12 and 7 + 20 / 2 = 17.
    # Where the task ended only what was paid remains.
    critics = Critics(1, 1, 1, 1, 2)
    future = torch.tensor([[[[2.0, 8.0, 10.0]], [[4.0, 6.0, 20.0]]]]).expand(1, 2, 2, 3)
    paid, log_prob = torch.tensor([[[0.0, 1.0, 7.0]]]).expand(1, 2, 3), torch.tensor([[-3.0, -3.0]])
    target = critics.target(paid, torch.tensor([[0.5, 0.0]]), future, log_prob)
    torch.testing.assert_close(target[0, :, 0], torch.tensor([[2.5, 4.0, 12.0], [2.5, 4.0, 17.0]]))
    torch.testing.assert_close(target[0, :, 1], torch.tensor([[0.0, 1.0, 7.0], [0.0, 1.0, 7.0]]))


def test_gradients_of_critics_agree_with_autograd():
    critics, generator = Critics(2, 1, 1, 1, 3, hidden=(8,), activation="tanh"), Generator().manual_seed(0)
    theta = critics.init(2, generator).double().requires_grad_()
    x = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    target = torch.randn(2, 3, 5, 3, generator=generator, dtype=torch.float64)
    seen = critics.forward(theta, x)
    wanted = torch.autograd.grad(-(target - seen.values).square().mean(2).sum(), theta)[0]
    with torch.no_grad():
        gradient, error = critics.gradient(critics.forward(theta, x), target)
    torch.testing.assert_close(gradient, wanted)
    torch.testing.assert_close(error, (target - seen.values).square().mean((1, 2, 3)).detach())


def test_bfloat16_layers_are_close_and_values_are_not_rounded():
    # bfloat16 keeps 8 bits: one part in 256 per factor.
    network, generator = StackedMLP((3, 32, 32, 1), 0, "relu"), Generator().manual_seed(0)
    theta, x = network.init(2, generator, 1.0), torch.randn(2, 50, 3, generator=generator)
    exact, half = network.layers(theta), network.layers(theta, half=True)
    assert [w.dtype for w in half.weights] == [torch.bfloat16, torch.bfloat16, torch.float32]
    tape, rounded = network.forward(exact, x), network.forward(half, x)
    assert rounded[-1].dtype == torch.float32
    torch.testing.assert_close(rounded[-1], tape[-1], rtol=0.02, atol=0.02)
    assert not torch.equal(rounded[-1], rounded[-1].bfloat16().float())
    slope, none = torch.ones_like(x[..., :1]), torch.zeros(2, 0)
    gradients = [network.backward(*run, slope, none) for run in ((exact, tape), (half, rounded))]
    assert gradients[1].dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(*gradients).min() > 0.999
    pulled = [network.pull_inputs(*run, slope, 2) for run in ((exact, tape), (half, rounded))]
    assert torch.nn.functional.cosine_similarity(*(p.flatten(1) for p in pulled)).min() > 0.99


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch", 0), ("updates", 0.0), ("gamma", 1.5), ("polyak", -0.1), ("temperature", float("nan")), ("hidden", ()),
     ("temperature_rate", -1.0), ("capacity", 8), ("entropy", float("nan")), ("entropy", float("inf"))],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(field: str, value: object):
    with pytest.raises(ValueError, match=field):
        SoftConfig(**{field: value})
