"""P policies and their vector critics as one stack of 2 P networks.

`theta [P, 2, D]`: row 0 of a policy is its actor, row 1 its critic with one value per channel. Both have the same
hidden layers, so that one batched product serves both; outputs that one of them does not need stay untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import log

import torch
from torch import Generator, Tensor

from tradeoff.engine.features import Features
from tradeoff.engine.heads import Head
from tradeoff.engine.networks import Layers, StackedMLP
from tradeoff.engine.normalisers import Moments, Standard, normalise, per_scale, scale_of
from tradeoff.engine.surrogates import Surrogate
from tradeoff.engine.trajectories import Batch
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.native import NativeSpaces

ACTOR, CRITIC = 0, 1


@dataclass(frozen=True)
class ActorCritic:
    """The shape of every policy in a population; parameters live outside, in theta."""

    features: Features
    head: Head
    channels: int  # m + k values per critic
    hidden: tuple[int, ...] = (64, 64)
    context: int = 0  # q further inputs: preference, accrued reward, cost limit
    activation: str = "tanh"  # between the layers; or "relu"
    native: NativeSpaces | None = field(default=None, compare=False)  # what a finished policy takes and answers

    @cached_property
    def network(self) -> StackedMLP:
        """The network that actor and critic share in shape."""
        outputs = max(self.head.outputs, self.channels)
        return StackedMLP(
            (self.features.width + self.context, *self.hidden, outputs), self.head.extras, self.activation
        )

    def init(self, policies: int, generator: Generator, spread: float = 1.0) -> Tensor:
        """theta [P, 2, D]: actors start almost uniform (last gain 0.01), critics with gain 1.

        spread: first standard deviation of continuous actions, in half widths of their box.
        """
        actor = self.network.init(policies, generator, 0.01)
        self.network.layers(actor).extra.fill_(log(spread))
        return torch.stack([actor, self.network.init(policies, generator, 1.0)], 1)

    def inputs(self, observation: Tensor, by: Standard, context: Tensor) -> Tensor:
        """What the networks see [..., P, B, i] of observations [..., P, B, d] and context [..., P, B, q]."""
        x = self.features(observation)
        x = x if self.features.one_hot else normalise(x, by)
        if context.shape[-1] != self.context:
            raise TradeoffError(
                f"the policies take {self.context} numbers besides what they observe (limits, say), "
                f"{context.shape[-1]} were given; choose them when acting or evaluating"
            )
        return torch.cat([x, context], -1) if self.context else x

    def actor(self, theta: Tensor) -> Layers:
        """Views of the actors' layers."""
        return self.network.layers(theta[:, ACTOR])

    def outputs(self, actor: Layers, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What the head reads, for inputs [P, n, i]: out [P, n, outputs] and extra [P, 1, extras]."""
        return self.network.forward(actor, inputs)[-1][..., : self.head.outputs], actor.extra.unsqueeze(1)

    def log_prob(self, theta: Tensor, inputs: Tensor, action: Tensor) -> Tensor:
        """Log-probability [P, n] of actions [P, n, c]; differentiable twice with respect to theta."""
        return self.head.log_prob(*self.outputs(self.actor(theta), inputs), action)

    def values(self, theta: Tensor, inputs: Tensor, returns: Moments) -> Tensor:
        """Critics' values [P, n, channels] in the channels' own units."""
        out = self.network.forward(self.network.layers(theta[:, CRITIC]), inputs)[-1][..., : self.channels]
        return out * scale_of(returns).float().unsqueeze(1) + returns.mean.float().unsqueeze(1)

    def keep_values(self, theta: Tensor, old: Moments, new: Moments) -> None:
        """Rewrite the critics' last layer in place so that a change of the return normaliser changes no value.

        Where the old one knew no scale there was no value to keep: the outputs stay what they are, in the new unit.
        Source: van Hasselt et al. 2016, arXiv:1602.07714 (PopArt), eq. 9.
        """
        layers, c = self.network.layers(theta[:, CRITIC]), self.channels
        known, inverse = (scale_of(old) > 0) & (scale_of(new) > 0), per_scale(new)
        scale = torch.where(known, scale_of(old) * inverse, 1.0).float().unsqueeze(1)
        shift = torch.where(known, (old.mean - new.mean) * inverse, 0.0).float().unsqueeze(1)
        layers.weights[-1][..., :c].mul_(scale)
        layers.biases[-1][..., :c].mul_(scale).add_(shift)

    @torch.no_grad()
    def gradient(
        self, theta: Tensor, batch: Batch, surrogate: Surrogate, entropy: float = 0.0, critic: float = 0.5
    ) -> tuple[Tensor, Tensor]:
        """Ascent direction of surrogate + entropy * H - critic * squared error, averaged over samples, per policy.

        Returns: gradient [P, 2, D] and the objective [P].
        """
        layers = self.network.layers(theta.flatten(0, 1))
        inputs = batch.inputs.unsqueeze(1).expand(-1, 2, -1, -1).flatten(0, 1)
        tape = self.network.forward(layers, inputs)
        out, extra = tape[-1].unflatten(0, (-1, 2)), layers.extra.unflatten(0, (-1, 2))
        d_out, d_extra = torch.zeros_like(out), torch.zeros_like(extra)
        n, width = batch.log_prob.shape[1], self.head.outputs

        head = out[:, ACTOR, :, :width], extra[:, ACTOR].unsqueeze(1)
        log_prob, pull = self.head.linearise(*head, batch.action)
        objective, slope = surrogate(log_prob - batch.log_prob, batch.advantage)
        d_out[:, ACTOR, :, :width], d_extra[:, ACTOR] = pull(slope / n)
        if entropy:
            bonus = differentiate(lambda o, e: entropy * self.head.entropy(o, e).mean(-1).sum(), *head)
            d_out[:, ACTOR, :, :width] += bonus[0]
            d_extra[:, ACTOR] += bonus[1].squeeze(1)

        values, d_values = (x[:, CRITIC, :, : self.channels] for x in (out, d_out))
        torch.sub(batch.target, values, out=d_values).mul_(2 * critic / n)
        gradient = self.network.backward(layers, tape, d_out.flatten(0, 1), d_extra.flatten(0, 1))
        return gradient.unflatten(0, (-1, 2)), objective.mean(-1)

    @torch.no_grad()
    def critic_gradient(self, theta: Tensor, inputs: Tensor, target: Tensor, mass: Tensor) -> Tensor:
        """Descent direction [P, D] of the critics' squared error, averaged over samples that count.

        inputs: [P, n, i]; target: [P, n, channels] in the critics' normalised unit; mass: [P, n, 1], 1 or 0.
        """
        layers = self.network.layers(theta[:, CRITIC])
        tape = self.network.forward(layers, inputs)
        d_out = torch.zeros_like(tape[-1])
        share = 2 * mass / mass.sum(1, keepdim=True)
        d_out[..., : self.channels] = (target - tape[-1][..., : self.channels]) * share
        return self.network.backward(layers, tape, d_out, torch.zeros_like(layers.extra))

    @torch.no_grad()
    def channel_gradients(self, theta: Tensor, batch: Batch) -> Tensor:
        """Policy gradient of every channel from one batch and one forward pass: [P, channels, D].

        Samples of another policy than theta are importance-weighted by step.
        """
        layers = self.actor(theta)
        tape = self.network.forward(layers, batch.inputs)
        head = tape[-1][..., : self.head.outputs], layers.extra.unsqueeze(1)
        log_prob, pull = self.head.linearise(*head, batch.action)
        ratio = (log_prob - batch.log_prob).exp() / batch.log_prob.shape[1]
        rows = []
        for advantage in batch.advantages.unbind(-1):
            d_out = torch.zeros_like(tape[-1])
            d_out[..., : self.head.outputs], d_extra = pull(ratio * advantage)
            rows.append(self.network.backward(layers, tape, d_out, d_extra))
        return torch.stack(rows, 1)


def differentiate(function: Callable[..., Tensor], *at: Tensor) -> tuple[Tensor, ...]:
    """Gradients of a scalar function of tensors, by autograd, outside any graph."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in at]
        found = torch.autograd.grad(function(*leaves), leaves, allow_unused=True)
    return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(at, found, strict=True))
