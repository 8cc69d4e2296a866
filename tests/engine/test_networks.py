"""Stacks of networks against torch.nn and autograd."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import Generator, Tensor, nn

from tradeoff.engine.networks import StackedMLP

SHAPES = [(3, 2), (5, 8, 4), (17, 64, 64, 6), (4, 3, 7, 5, 2)]


def _random(sizes: tuple[int, ...], extras: int, count: int, dtype: torch.dtype) -> tuple[StackedMLP, Tensor]:
    network = StackedMLP(sizes, extras)
    generator = Generator().manual_seed(len(sizes))
    return network, torch.randn(count, network.parameters, generator=generator, dtype=dtype) * 0.5


def _as_torch(network: StackedMLP, theta: Tensor, row: int) -> nn.Sequential:
    """The same network out of torch.nn's own parts."""
    layers, parts = network.layers(theta), []
    for weight, bias in zip(layers.weights, layers.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[2], dtype=theta.dtype)
        linear.weight.data, linear.bias.data = weight[row].T.clone(), bias[row, 0].clone()
        parts += [linear, nn.Tanh()]
    return nn.Sequential(*parts[:-1])


@pytest.mark.parametrize("sizes", SHAPES)
def test_forward_equals_torch_sequential_with_the_same_weights(sizes: tuple[int, ...]) -> None:
    network, theta = _random(sizes, 2, 3, torch.float64)
    x = torch.randn(3, 11, sizes[0], dtype=torch.float64)
    out = network.forward(network.layers(theta), x)[-1]
    for row in range(3):
        torch.testing.assert_close(out[row], _as_torch(network, theta, row)(x[row]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@pytest.mark.parametrize("sizes", SHAPES)
def test_backward_equals_autograd(sizes: tuple[int, ...], dtype: torch.dtype, close: float) -> None:
    network, theta = _random(sizes, 2, 3, dtype)
    x, out, extra = torch.randn(3, 11, sizes[0]), torch.randn(3, 11, sizes[-1]), torch.randn(3, 2)
    x, out, extra = x.to(dtype), out.to(dtype), extra.to(dtype)
    layers = network.layers(theta)
    by_hand = network.backward(layers, network.forward(layers, x), out, extra)
    leaf = theta.clone().requires_grad_()
    layers = network.layers(leaf)
    ((network.forward(layers, x)[-1] * out).sum() + (layers.extra * extra).sum()).backward()
    torch.testing.assert_close(by_hand, leaf.grad, rtol=close, atol=close)


def test_rows_share_nothing() -> None:
    network, theta = _random((5, 8, 4), 1, 3, torch.float64)
    x, out, extra = (torch.randn(3, *s, dtype=torch.float64) for s in ((6, 5), (6, 4), (1,)))

    def both(theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        layers = network.layers(theta)
        tape = network.forward(layers, x)
        return tape[-1], network.backward(layers, tape, out, extra)

    before = both(theta, x)
    theta, x = theta.clone(), x.clone()
    theta[1], x[1] = torch.randn_like(theta[1]), torch.randn_like(x[1])
    for old, new in zip(before, both(theta, x), strict=True):
        torch.testing.assert_close(new[[0, 2]], old[[0, 2]], rtol=0, atol=1e-15)
        assert (new[1] - old[1]).abs().max() > 0.1


def test_number_of_parameters_by_hand() -> None:
    # 17 * 64 + 64 = 1152; 64 * 64 + 64 = 4160; 64 * 6 + 6 = 390; 6 free ones: 5708.
    network = StackedMLP((17, 64, 64, 6), 6)
    assert network.parameters == 1152 + 4160 + 390 + 6 == 5708
    assert network.init(3, Generator().manual_seed(0), 1.0).shape == (3, 5708)


@pytest.mark.parametrize("gain", [0.01, 1.0])
def test_init_is_orthogonal_with_its_gain(gain: float) -> None:
    # Whichever side of W [i, o] is shorter is orthonormal times the gain: W^T W = gain^2 I or W W^T = gain^2 I.
    network = StackedMLP((5, 16, 16, 3), 2)
    layers = network.layers(network.init(4, Generator().manual_seed(0), gain))
    for weight, want in zip(layers.weights, (sqrt(2.0), sqrt(2.0), gain), strict=True):
        short = weight if weight.shape[1] <= weight.shape[2] else weight.mT
        eye = torch.eye(short.shape[1]).expand(4, -1, -1)
        torch.testing.assert_close(short @ short.mT, want**2 * eye, rtol=1e-5, atol=want**2 * 1e-5)
        assert (weight[0] - weight[1]).abs().max() > 0.1 * want, "the rows of a stack must differ"
    assert all((bias == 0).all() for bias in layers.biases) and (layers.extra == 0).all()


def test_orthogonal_matrices_are_uniform() -> None:
    # Uniform over rotations and reflections, an entry of a 2 x 2 matrix has mean 0 and mean square 1/2. QR without the
    # signs of R's diagonal gives entries of mean about -0.64 (one corner is never positive). Standard error: 0.011.
    network = StackedMLP((2, 2))
    weight = network.layers(network.init(4000, Generator().manual_seed(1), 1.0)).weights[0]
    assert weight.mean(0).abs().max() < 0.045
    torch.testing.assert_close(weight.square().mean(0), torch.full((2, 2), 0.5), rtol=0, atol=0.03)
