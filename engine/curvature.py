"""Second derivatives of log-probabilities along a direction, for whole batches, with the passes written out.

For a stack of networks a product with a Hessian is a forward pass of derivatives and a backward pass of them
(Pearlmutter 1994), less than three times the price of a gradient where automatic differentiation takes ten.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ACTOR, ActorCritic
from tradeoff.engine.episodes import Episodes, flat, unfold
from tradeoff.engine.heads import Pull
from tradeoff.engine.networks import BENDS, Layers
from tradeoff.envs.errors import TradeoffError


@torch.no_grad()
def slopes(model: ActorCritic, theta: Tensor, direction: Tensor, episodes: Episodes) -> Tensor:
    """<score, direction> of every step [T, P, B], zero after the end; direction [P, 2, D]."""
    layers, along = model.actor(theta), model.actor(direction)
    tape = model.network.forward(layers, episodes.inputs)
    return _alive(_bend(model, layers, along, tape, _moved(model, layers, along, tape), episodes)[0], episodes)


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

    Raises: TradeoffError for an activation whose second derivative is not known.
    """
    if BENDS[model.activation].turn is None:
        known = ", ".join(name for name, bend in BENDS.items() if bend.turn is not None)
        raise TradeoffError(f"the second derivative of {model.activation} is not known; take one of {known}")
    layers, along = model.actor(theta), model.actor(direction)
    tape = model.network.forward(layers, episodes.inputs)
    moved, width, by = _moved(model, layers, along, tape), model.head.outputs, flat(coefficient)
    slope, second = _bend(model, layers, along, tape, moved, episodes)
    _, first = model.head.linearise(tape[-1][..., :width], layers.extra.unsqueeze(1), episodes.action)
    out, d_out = torch.zeros_like(tape[-1]), torch.zeros_like(tape[-1])
    out[..., :width], _ = first(by)
    d_out[..., :width], d_extra = second(by)
    if beside is not None:
        added = first(flat(beside(_alive(slope, episodes))))
        d_out[..., :width] += added[0]
        d_extra = d_extra + added[1]
    product = torch.zeros_like(theta)
    product[:, ACTOR] = _backward(model, layers, along, tape, moved, (out, d_out, d_extra))
    return product


def _alive(slope: Tensor, episodes: Episodes) -> Tensor:
    return torch.where(episodes.alive, unfold(slope, len(episodes.alive)), 0.0)


def _moved(model: ActorCritic, layers: Layers, along: Layers, tape: list[Tensor]) -> list[Tensor]:
    """Derivative of every entry of the tape along a direction in parameter space."""
    moved, last, slope = [torch.zeros_like(tape[0][:, :1])], len(layers.weights) - 1, BENDS[model.activation].slope
    for i, weight in enumerate(layers.weights):
        change = torch.baddbmm(along.biases[i], tape[i], along.weights[i])
        if i:
            change.baddbmm_(moved[i], weight)
        moved.append(change if i == last else slope(change, tape[i + 1]))
    return moved


def _bend(
    model: ActorCritic, layers: Layers, along: Layers, tape: list[Tensor], moved: list[Tensor], episodes: Episodes
) -> tuple[Tensor, Pull]:
    """Derivatives along the direction of log pi [P, n] and of its gradient: see Head.bend."""
    head, width = model.head, model.head.outputs
    at = tape[-1][..., :width], layers.extra.unsqueeze(1)
    return head.bend(*at, episodes.action, moved[-1][..., :width], along.extra.unsqueeze(1))


def _backward(
    model: ActorCritic,
    layers: Layers,
    along: Layers,
    tape: list[Tensor],
    moved: list[Tensor],
    top: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Derivative along the direction of the networks' backward pass [P, D].

    top: gradient at the outputs [P, n, outputs], its derivative, and that of the gradient at the extras [P, E].
    """
    (out, d_out, d_extra), bend = top, BENDS[model.activation]
    found = out.new_empty(len(out), model.network.parameters)
    into = model.network.layers(found)
    into.extra.copy_(d_extra)
    for i in reversed(range(len(layers.weights))):
        torch.bmm(tape[i].mT, d_out, out=into.weights[i])
        torch.sum(d_out, 1, keepdim=True, out=into.biases[i])
        if i:
            into.weights[i].baddbmm_(moved[i].mT, out)
            back = out @ layers.weights[i].mT
            d_back = torch.baddbmm(d_out @ layers.weights[i].mT, out, along.weights[i].mT)
            d_out, out = bend.slope(d_back, tape[i]), bend.slope(back, tape[i])
            if bend.turn is not None:
                bend.turn(d_out, back, tape[i], moved[i])
    return found
