"""Stacks of K small networks that share nothing and run as one batched program.

The parameters of a stack are one tensor `theta [K, D]`: a row per network. Rows can be copied, averaged, saved, stepped
along and measured without knowing what is inside, which is what estimators, updates and archives need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod, sqrt
from typing import NamedTuple

import torch
from torch import Generator, Tensor


class Layers(NamedTuple):
    """Views into `theta [K, D]`."""

    weights: list[Tensor]  # [K, inputs, outputs] per layer
    biases: list[Tensor]  # [K, 1, outputs] per layer
    extra: Tensor  # [K, E] parameters that no layer uses


class Bend(NamedTuple):
    """What happens between two layers."""

    value: Callable[[Tensor], Tensor]  # in place
    slope: Callable[[Tensor, Tensor], Tensor]  # (gradient behind, value) -> gradient before
    turn: Callable[[Tensor, Tensor, Tensor, Tensor], None] | None = None  # adds to its first argument, in place, what
    # (gradient behind, value, change of the value) owe to the change of the slope; None: there is no second derivative


def _tanh_turn(into: Tensor, gradient: Tensor, value: Tensor, change: Tensor) -> None:
    """tanh'' = -2 tanh tanh'."""
    into.addcmul_(value * change, gradient, value=-2.0)


BENDS = {
    "tanh": Bend(torch.tanh_, torch.ops.aten.tanh_backward, _tanh_turn),
    "relu": Bend(
        torch.relu_,
        lambda gradient, value: torch.ops.aten.threshold_backward(gradient, value, 0.0),
        lambda into, gradient, value, change: None,  # its slope is constant on either side of 0
    ),
}


@dataclass(frozen=True)
class StackedMLP:
    """K multilayer perceptrons with tanh or relu between the layers, and E free parameters beside them.

    The backward pass is written out: for networks this small, recording a graph costs more than the arithmetic (a
    17-64-64 minibatch step takes 235 us so, 520 us through autograd). `forward` stays differentiable by autograd all
    the same, for whoever needs second derivatives.
    """

    sizes: tuple[int, ...]  # numbers of units: inputs, hidden ..., outputs
    extras: int = 0  # E, for example the log standard deviations of a Gaussian
    activation: str = "tanh"  # or "relu"

    def __post_init__(self) -> None:
        if self.activation not in BENDS:
            raise ValueError(f"activation must be {' or '.join(BENDS)}, got {self.activation!r}")

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """Shape of each weight and bias in a row of theta, in turn."""
        return [shape for i, o in pairwise(self.sizes) for shape in ((i, o), (1, o))]

    @cached_property
    def lengths(self) -> list[int]:
        """Length of each piece of a row of theta: weights and biases in turn, then the extras."""
        return [*map(prod, self.shapes), self.extras]

    @cached_property
    def parameters(self) -> int:
        """D, the length of a row of theta."""
        return sum(self.lengths)

    def init(self, count: int, generator: Generator, gain_out: float) -> Tensor:
        """Orthogonal weights (gain sqrt 2, `gain_out` in the last layer), zero biases and extras. Returns [K, D]."""
        theta = torch.zeros(count, self.parameters)
        weights = self.layers(theta).weights
        for weight in weights:
            gain = gain_out if weight is weights[-1] else sqrt(2.0)
            weight.copy_(gain * _orthogonal(weight.shape, generator))
        return theta

    def layers(self, theta: Tensor, half: bool = False) -> Layers:
        """Split theta [K, D] into its layers without copying. half: all but the last one as copies in bfloat16."""
        *pieces, extra = theta.split(self.lengths, dim=-1)
        if half:
            pieces = [*(piece.bfloat16() for piece in pieces[:-2]), *pieces[-2:]]
        shaped = [piece.view(-1, *shape) for piece, shape in zip(pieces, self.shapes, strict=True)]
        return Layers(shaped[0::2], shaped[1::2], extra)

    def forward(self, layers: Layers, x: Tensor) -> list[Tensor]:
        """Run x [K, B, inputs]; returns the activations of every layer, x first, the outputs [K, B, outputs] last."""
        tape, bend = [x], BENDS[self.activation].value
        for weight, bias in zip(layers.weights, layers.biases, strict=True):
            x = torch.baddbmm(bias, tape[-1].to(weight.dtype), weight)
            tape.append(bend(x) if weight is not layers.weights[-1] else x)
        return tape

    def backward(self, layers: Layers, tape: list[Tensor], out: Tensor, extra: Tensor) -> Tensor:
        """Vector-Jacobian product.

        Args:
            layers: as given to `forward`.
            tape: as returned by `forward`.
            out: [K, B, outputs] gradient with respect to the outputs.
            extra: [K, E] gradient with respect to the extras.

        Returns: [K, D] gradient with respect to theta.
        """
        pieces, slope = [extra], BENDS[self.activation].slope  # joined at the end: views of one row cost more to make
        for i in reversed(range(len(layers.weights))):
            weight = layers.weights[i]
            out = out.to(weight.dtype)
            pieces += [out.sum(1), torch.bmm(tape[i].to(weight.dtype).mT, out).flatten(1)]
            if i:
                out = slope(torch.bmm(out, weight.mT).to(tape[i].dtype), tape[i])
        return torch.cat(pieces[::-1], -1)

    def pull_inputs(self, layers: Layers, tape: list[Tensor], out: Tensor, last: int) -> Tensor:
        """Gradient with respect to the last inputs alone [K, B, last], for `out` [K, B, outputs] as in `backward`."""
        slope, kind = BENDS[self.activation].slope, out.dtype
        for i in reversed(range(1, len(layers.weights))):
            weight = layers.weights[i]
            out = slope(torch.bmm(out.to(weight.dtype), weight.mT).to(tape[i].dtype), tape[i])
        first = layers.weights[0]
        return torch.bmm(out.to(first.dtype), first[:, -last:].mT).to(kind)


def _orthogonal(shape: torch.Size, generator: Generator) -> Tensor:
    """A batch [K, i, o] of matrices with orthonormal rows or columns, whichever are fewer."""
    k, rows, columns = shape
    tall = torch.randn(k, max(rows, columns), min(rows, columns), generator=generator)
    q, r = torch.linalg.qr(tall)
    q = q * torch.diagonal(r, dim1=-2, dim2=-1).sign().unsqueeze(-2)  # without the signs QR is not uniform
    return q if rows >= columns else q.mT
