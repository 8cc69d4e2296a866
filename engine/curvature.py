"""Second derivatives of log-probabilities along a direction, for whole batches, with the passes written out.

For a stack of tanh networks a product with a Hessian is a forward pass of derivatives and a backward pass of them
(Pearlmutter 1994), about three times the price of a gradient where automatic differentiation takes ten. Only the head's
own second derivatives, which are cheap, are left to autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from engine.actor_critic import ACTOR, ActorCritic
from engine.episodes import Episodes, flat, unfold
from engine.networks import Layers

tanh_backward = torch.ops.aten.tanh_backward  # (g, y) -> g (1 - y^2)


class Top(NamedTuple):
    """What happens at the networks' outputs: gradients of sum(coefficient * log pi), and their derivatives."""

    slope: Tensor  # [P, n] derivative of log pi along the direction
    out: Tensor  # [P, n, outputs]
    d_out: Tensor  # [P, n, outputs] derivative of `out` along the direction
    d_extra: Tensor  # [P, E]


@torch.no_grad()
def slopes(model: ActorCritic, theta: Tensor, direction: Tensor, episodes: Episodes) -> Tensor:
    """<score, direction> of every step [T, P, B], zero after the end; direction [P, 2, D]."""
    layers, along = model.actor(theta), model.actor(direction)
    tape = model.network.forward(layers, episodes.inputs)
    top = _top(model, layers, along, tape, _moved(layers, along, tape), episodes, torch.zeros_like(episodes.log_prob))
    return _alive(top.slope, episodes)


@torch.no_grad()
def curvature(
    model: ActorCritic,
    theta: Tensor,
    direction: Tensor,
    episodes: Episodes,
    coefficient: Tensor,
    beside: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Mean over trajectories of sum_t coefficient * Hessian(log pi) direction [P, 2, D].

    beside: (slopes [T, P, B]) -> coefficients [T, P, B] of the scores themselves, to be added; they cost nothing more.
    """
    layers, along = model.actor(theta), model.actor(direction)
    tape = model.network.forward(layers, episodes.inputs)
    moved = _moved(layers, along, tape)
    top = _top(model, layers, along, tape, moved, episodes, coefficient)
    if beside is not None:
        width = model.head.outputs
        head = tape[-1][..., :width], layers.extra.unsqueeze(1)
        added = model.head.linearise(*head, episodes.action)[1](flat(beside(_alive(top.slope, episodes))))
        top.d_out[..., :width] += added[0]
        top = top._replace(d_extra=top.d_extra + added[1])
    product = torch.zeros_like(theta)
    product[:, ACTOR] = _backward(model, layers, along, tape, moved, top)
    return product


def _alive(slope: Tensor, episodes: Episodes) -> Tensor:
    return torch.where(episodes.alive, unfold(slope, len(episodes.alive)), 0.0)


def _moved(layers: Layers, along: Layers, tape: list[Tensor]) -> list[Tensor]:
    """Derivative of every entry of the tape along a direction in parameter space."""
    moved, last = [torch.zeros_like(tape[0][:, :1])], len(layers.weights) - 1
    for i, weight in enumerate(layers.weights):
        change = torch.baddbmm(along.biases[i], tape[i], along.weights[i])
        if i:
            change.baddbmm_(moved[i], weight)
        moved.append(change if i == last else tanh_backward(change, tape[i + 1]))
    return moved


def _top(
    model: ActorCritic,
    layers: Layers,
    along: Layers,
    tape: list[Tensor],
    moved: list[Tensor],
    episodes: Episodes,
    coefficient: Tensor,
) -> Top:
    """Second derivatives of the head: the gradient is linear in the coefficients, so one double pass gives all."""
    width = model.head.outputs
    with torch.enable_grad():
        by = flat(coefficient).requires_grad_()
        at = tape[-1][..., :width].detach().requires_grad_(), layers.extra.unsqueeze(1).detach().requires_grad_()
        total = (by * model.head.log_prob(*at, episodes.action)).sum()
        first = torch.autograd.grad(total, at, create_graph=True, materialize_grads=True)
        change = (first[0] * moved[-1][..., :width]).sum() + (first[1] * along.extra.unsqueeze(1)).sum()
        slope, *second = torch.autograd.grad(change, (by, *at), materialize_grads=True)
    out, d_out = torch.zeros_like(tape[-1]), torch.zeros_like(tape[-1])
    out[..., :width], d_out[..., :width] = first[0].detach(), second[0]
    return Top(slope, out, d_out, second[1].squeeze(1))


def _backward(
    model: ActorCritic, layers: Layers, along: Layers, tape: list[Tensor], moved: list[Tensor], top: Top
) -> Tensor:
    """Derivative along the direction of the networks' backward pass [P, D]."""
    found = top.out.new_empty(len(top.out), model.network.parameters)
    into = model.network.layers(found)
    into.extra.copy_(top.d_extra)
    out, d_out = top.out, top.d_out
    for i in reversed(range(len(layers.weights))):
        torch.bmm(tape[i].mT, d_out, out=into.weights[i])
        torch.sum(d_out, 1, keepdim=True, out=into.biases[i])
        if i:
            into.weights[i].baddbmm_(moved[i].mT, out)
            back = out @ layers.weights[i].mT
            d_back = torch.baddbmm(d_out @ layers.weights[i].mT, out, along.weights[i].mT)
            d_out = tanh_backward(d_back, tape[i]).addcmul_(tape[i] * moved[i], back, value=-2.0)
            out = tanh_backward(back, tape[i])
    return found
