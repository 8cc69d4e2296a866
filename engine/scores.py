"""Scores of stacked policies over whole batches: sums also per trajectory or per channel, and squared norms.

score = gradient of log pi(a|s) with respect to theta. Gradients come as [P, 2, D] like theta, zero for the critics.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ACTOR, ActorCritic
from tradeoff.engine.episodes import Episodes, flat, unfold
from tradeoff.engine.networks import BENDS, Layers
from tradeoff.engine.trajectories import fold

Pull = Callable[[Tensor], Tensor]
"""coefficient [T, P, B] -> mean over trajectories of sum_t coefficient * score [P, 2, D]."""

LARGEST_CHUNK = 2**20  # numbers in the largest intermediate of `channel_gradients`


@torch.no_grad()
def linearise(model: ActorCritic, theta: Tensor, episodes: Episodes) -> tuple[Tensor, Pull]:
    """Log-probabilities [T, P, B] under theta, and weighted sums of scores: one forward pass, a backward per pull."""
    layers = model.actor(theta)
    tape = model.network.forward(layers, episodes.inputs)
    head = tape[-1][..., : model.head.outputs], layers.extra.unsqueeze(1)
    log_prob, pull = model.head.linearise(*head, episodes.action)

    @torch.no_grad()
    def weighted(coefficient: Tensor) -> Tensor:
        d_out = torch.zeros_like(tape[-1])
        d_out[..., : model.head.outputs], d_extra = pull(flat(coefficient))
        return _with_critics(model.network.backward(layers, tape, d_out, d_extra), theta)

    return unfold(log_prob, len(episodes.alive)), weighted


def _with_critics(actor: Tensor, theta: Tensor) -> Tensor:
    gradient = torch.zeros_like(theta)
    gradient[:, ACTOR] = actor
    return gradient


@torch.no_grad()
def log_probs(model: ActorCritic, theta: Tensor, episodes: Episodes) -> Tensor:
    """Log-probabilities [T, P, B] of the actions under theta."""
    return unfold(model.log_prob(theta, episodes.inputs, episodes.action), len(episodes.alive))


@torch.no_grad()
def squared_norms(model: ActorCritic, theta: Tensor, episodes: Episodes) -> Tensor:
    """|score|^2 of every step [T, P, B], from the outer-product form of a layer's gradient: no score is ever built."""
    tape, deltas, extra = _rows(model, theta, episodes)
    total = extra.square().sum(-1)
    for x, delta in zip(tape, deltas, strict=True):
        total = total + (x.square().sum(-1) + 1) * delta.square().sum(-1)
    return unfold(total, len(episodes.alive))


@torch.no_grad()
def channel_gradients(model: ActorCritic, theta: Tensor, episodes: Episodes, coefficient: Tensor) -> Tensor:
    """Policy gradient of every channel [P, c, D]; coefficient [T, P, B, c].

    One forward and one backward pass; weights are then summed for all channels in one product per layer and chunk of
    samples. Costs c times the memory of a gradient, and c times the arithmetic of its last products.
    """
    tape, deltas, extra = _rows(model, theta, episodes)
    by = fold(coefficient) / coefficient.shape[2]
    channels = by.shape[-1]
    found = theta.new_zeros(len(theta), channels, model.network.parameters)
    into = model.network.layers(found.flatten(0, 1))
    for x, delta, weight, bias in zip(tape, deltas, into.weights, into.biases, strict=True):
        chunk = max(1, LARGEST_CHUNK // (len(theta) * channels * min(x.shape[-1], delta.shape[-1])))
        for xs, ds, cs in zip(x.split(chunk, 1), delta.split(chunk, 1), by.split(chunk, 1), strict=True):
            weight += _outer_products(xs, ds, cs).flatten(0, 1)
        bias += (by.mT @ delta).flatten(0, 1).unsqueeze(1)
    into.extra.add_((by.mT @ extra).flatten(0, 1))
    return found


def _outer_products(x: Tensor, delta: Tensor, by: Tensor) -> Tensor:
    """sum_n by[n, c] x[n, i] delta[n, o] as [P, c, i, o], spreading the narrower of the two over the channels."""
    narrow = min(x, delta, key=lambda side: side.shape[-1])
    spread = (by.unsqueeze(-1) * narrow.unsqueeze(-2)).flatten(2)  # [P, n, c * narrow]
    if narrow is x:
        return (spread.mT @ delta).unflatten(1, (by.shape[-1], -1))
    return (x.mT @ spread).unflatten(-1, (by.shape[-1], -1)).transpose(1, 2)


@torch.no_grad()
def trajectory_gradients(model: ActorCritic, theta: Tensor, episodes: Episodes, coefficient: Tensor) -> Tensor:
    """sum_t coefficient * score of every trajectory [P, B, D]: each trajectory becomes a network of the stack.

    Takes B times the memory of a gradient: for diagnostics.
    """
    alone, single = _alone(theta, episodes)
    _, pull = linearise(model, alone, single)
    return pull(coefficient.flatten(1, 2).unsqueeze(2))[:, ACTOR].unflatten(0, coefficient.shape[1:])


def trajectory_channel_gradients(model: ActorCritic, theta: Tensor, episodes: Episodes, coefficient: Tensor) -> Tensor:
    """The same for every channel: [P, B, c, D] of coefficients [T, P, B, c]. Takes B * c times a gradient's memory."""
    alone, single = _alone(theta, episodes)
    found = channel_gradients(model, alone, single, coefficient.flatten(1, 2).unsqueeze(2))
    return found.unflatten(0, coefficient.shape[1:3])


def _alone(theta: Tensor, episodes: Episodes) -> tuple[Tensor, Episodes]:
    """A copy of its policy for every trajectory: theta [P * B, 2, D] and episodes of one trajectory each."""
    steps, _, count = episodes.alive.shape
    apart = lambda x: x.unflatten(1, (steps, -1)).transpose(1, 2).flatten(0, 1)  # noqa: E731  [P, T * B] -> [P * B, T]
    single = Episodes(
        apart(episodes.inputs), apart(episodes.action),
        *(x.flatten(1, 2).unsqueeze(2) for x in (episodes.log_prob, episodes.paid, episodes.alive)),
    )  # fmt: skip
    return theta.repeat_interleave(count, 0), single


def _rows(model: ActorCritic, theta: Tensor, episodes: Episodes) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Inputs of each layer [P, n, i], gradients of log pi as to its outputs [P, n, o], and to the extras [P, n, E]."""
    layers = model.actor(theta)
    tape = model.network.forward(layers, episodes.inputs)
    out, (policies, n) = torch.zeros_like(tape[-1]), tape[-1].shape[:2]
    alone = tape[-1][..., : model.head.outputs].flatten(0, 1).unsqueeze(1)  # each sample as a policy of its own,
    free = layers.extra.repeat_interleave(n, 0).unsqueeze(1)  # so that the extras' gradients stay apart
    _, pull = model.head.linearise(alone, free, episodes.action.flatten(0, 1).unsqueeze(1))
    d_out, d_extra = pull(alone.new_ones(policies * n, 1))
    out[..., : model.head.outputs] = d_out.view(policies, n, -1)
    return tape[:-1], _deltas(layers, tape, out, model.network.activation), d_extra.view(policies, n, -1)


def _deltas(layers: Layers, tape: list[Tensor], out: Tensor, activation: str) -> list[Tensor]:
    found, slope = [out], BENDS[activation].slope
    for i in reversed(range(1, len(layers.weights))):
        found.insert(0, slope(found[0] @ layers.weights[i].mT, tape[i]))
    return found
