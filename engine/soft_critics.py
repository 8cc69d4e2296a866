"""Ensembles of vector critics for methods that learn from replay.

Every critic has an output per column: first the entropy still to come, then m objectives, then k costs. Values are
in units of the typical step (`scale`), so that no channel drowns another; the entropy has a column of its own, so that
values stay what they are when prices, preferences or the temperature move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from tradeoff.engine.networks import Layers, StackedMLP

Pull = Callable[[Tensor], Tensor]


class Seen(NamedTuple):
    """A forward pass of the whole ensemble."""

    layers: Layers
    tape: list[Tensor]
    values: Tensor  # [P, E, n, outputs], or [P, E, n, A, outputs] of all options of a choice
    chosen: Tensor | None = None  # [P, 1, n, A, 1] one-hot, where values are those of one option each


@dataclass(frozen=True)
class Critics:
    """The shape of E critics per policy; parameters live outside, in theta [P, E, D].

    The objectives and the entropy are read as the lesser of the first two critics, costs as the mean of all plus
    `caution` standard deviations. Source: Haarnoja et al. 2018, arXiv:1812.05905; Wu et al. 2024, arXiv:2401.14758.
    """

    inputs: int  # i, what networks see of observation and context
    actions: int  # a numbers that are kept of an action
    objectives: int  # m
    costs: int  # k
    members: int = 2  # E
    caution: float = 0.0  # standard deviations over the ensemble that are added to costs
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    half: bool = False  # hidden layers in bfloat16
    options: int = 0  # A, where an action is a choice

    def __post_init__(self) -> None:
        if self.members < 1:
            raise ValueError(f"members must be at least 1, got {self.members}")
        if not self.caution >= 0:
            raise ValueError(
                f"caution must not be negative, got {self.caution}: costs would look smaller than they are"
            )

    @property
    def gains(self) -> int:
        """Columns that are pessimistic downwards: entropy and objectives."""
        return 1 + self.objectives

    @property
    def columns(self) -> int:
        """c = 1 + m + k."""
        return self.gains + self.costs

    @property
    def outputs(self) -> int:
        """Numbers that a critic answers."""
        return self.columns

    @cached_property
    def network(self) -> StackedMLP:
        """The network of one critic."""
        if self.options:
            return StackedMLP((self.inputs, *self.hidden, self.options * self.outputs), 0, self.activation)
        return StackedMLP((self.inputs + self.actions, *self.hidden, self.outputs), 0, self.activation)

    def init(self, policies: int, generator: Generator) -> Tensor:
        """theta [P, E, D]: every member by a draw of its own."""
        theta = self.network.init(policies * self.members, generator, 1.0)
        return theta.unflatten(0, (policies, self.members)).to(generator.device)

    def forward(self, theta: Tensor, x: Tensor) -> Seen:
        """Values of x [P, n, i + a], observations and kept actions: squashed numbers, or the number of an option."""
        if not self.options:
            return self._answer(theta, x)
        seen = self._answer(theta, x[..., :-1])
        chosen = one_hot(x[..., -1].long(), self.options).to(x.dtype)[:, None, ..., None]
        return seen._replace(values=(seen.values * chosen).sum(3), chosen=chosen)

    def _answer(self, theta: Tensor, x: Tensor) -> Seen:
        """All that the networks answer to what they see."""
        layers = self.network.layers(theta.flatten(0, 1), self.half)
        rows = x.unsqueeze(1).expand(-1, self.members, -1, -1).flatten(0, 1)
        tape = self.network.forward(layers, rows)
        values = tape[-1].unflatten(0, theta.shape[:2])
        return Seen(layers, tape, values.unflatten(-1, (self.options, -1)) if self.options else values)

    def each(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """Cautious value [P, n, A, c] of every option."""
        return self.read(self._answer(theta, inputs).values)[0]

    def judge(self, theta: Tensor, inputs: Tensor, action: Tensor) -> tuple[Tensor, Pull]:
        """Cautious value [P, n, c] of drawn actions (see Drawn), and its vector-Jacobian product towards those.

        A value of chances is the mean of the options' values: an exact sum instead of a sample.
        """
        if self.options:
            each = self.each(theta, inputs)
            return (each * action.unsqueeze(-1)).sum(2), lambda slope: (each * slope.unsqueeze(2)).sum(-1)
        seen = self.forward(theta, torch.cat([inputs, action], -1))
        value, pull = self.read(seen.values)
        return value, lambda slope: self.pull_actions(seen, pull(slope))

    def future(self, theta: Tensor, inputs: Tensor, action: Tensor) -> Tensor:
        """Values [P, E, n, outputs] of drawn actions, every member's own."""
        if self.options:
            return self.average(self._answer(theta, inputs).values, action)
        return self.forward(theta, torch.cat([inputs, action], -1)).values

    def average(self, values: Tensor, chance: Tensor) -> Tensor:
        """Mean [P, E, n, outputs] over options of values [P, E, n, A, outputs], by chances [P, n, A].

        Of entropy and objectives each option's lesser value counts, as it would had that option been drawn.
        """
        gains, rest = values[..., : self.gains], values[..., self.gains :]
        low = self._lesser(gains)[0].unsqueeze(1).expand_as(gains)
        return (torch.cat([low, rest], -1) * chance[:, None, ..., None]).sum(3)

    def read(self, values: Tensor) -> tuple[Tensor, Pull]:
        """One cautious value [P, n, c] of the ensemble's [P, E, n, outputs], and the vector-Jacobian product."""
        gains, costs = values[..., : self.gains], values[..., self.gains : self.columns]
        low, lesser = self._lesser(gains)
        high, share = self._cautious(costs)

        def pull(slope: Tensor) -> Tensor:
            found = torch.zeros_like(values)
            up, down = slope[..., : self.gains], slope[..., self.gains :]
            found[:, 0, :, : self.gains] = up if lesser is None else up * lesser
            if lesser is not None:
                found[:, 1, :, : self.gains] = up * ~lesser
            found[..., self.gains : self.columns] = share * down.unsqueeze(1)
            return found

        return torch.cat([low, high], -1), pull

    def plain(self, values: Tensor) -> Tensor:
        """The values [P, n, c] that `read` would answer if nothing were added to costs."""
        return torch.cat(
            [self._lesser(values[..., : self.gains])[0], values[..., self.gains : self.columns].mean(1)], -1
        )

    def _lesser(self, gains: Tensor) -> tuple[Tensor, Tensor | None]:
        """The lesser of the first two members [P, n, 1 + m], and where that is the first one."""
        if self.members == 1:
            return gains[:, 0], None
        first, second = gains[:, 0], gains[:, 1]
        return torch.minimum(first, second), first <= second

    def _cautious(self, costs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean plus `caution` unbiased standard deviations [P, n, k], and its derivative [P, E, n, k]."""
        even = costs.new_full((), 1 / self.members).expand(costs.shape)
        if self.members == 1 or not self.caution:
            return costs.mean(1), even
        spread, centre = torch.std_mean(costs, 1, keepdim=True)
        apart = (costs - centre) / (spread.clamp(min=1e-12) * (self.members - 1))
        return (centre + self.caution * spread).squeeze(1), even + self.caution * apart

    def target(self, paid: Tensor, go_on: Tensor, future: Tensor, log_prob: Tensor) -> Tensor:
        """What the values [P, E, n, outputs] should be.

        Args:
            paid: [P, n, c] of the step: 0 for the entropy, rewards, costs.
            go_on: [P, n] discount, 0 where the task ended.
            future: [P, E, n, outputs] values of the successors, by the target networks.
            log_prob: [P, n] of the successors' actions, in units of the entropy's scale.

        Objectives and entropy share the lesser of two futures, costs have every member's own, which keeps the ensemble
        apart. The entropy that the action itself brings counts from the next step on.
        """
        low = self._lesser(future[..., : self.gains])[0].clone()
        low[..., 0] -= log_prob
        own = future[..., self.gains : self.columns]
        ahead = torch.cat([low.unsqueeze(1).expand(-1, self.members, -1, -1), own], -1)
        return ahead.mul_(go_on[:, None, :, None]).add_(paid.unsqueeze(1))

    def paid(self, channels: Tensor, scale: Tensor) -> Tensor:
        """What a step pays [P, n, c] of channels [P, n, m + k], in units of scale [P, outputs]."""
        units = scale[:, 1 : self.columns].unsqueeze(1)
        return torch.nn.functional.pad(torch.where(units > 0, channels / units, 0.0), (1, 0))

    def gradient(self, seen: Seen, target: Tensor) -> tuple[Tensor, Tensor]:
        """Descent direction [P, E, D] of the squared error, and that error [P], averaged over samples."""
        gap = target - seen.values
        return self.push(seen, gap * (2 / gap.shape[2])), gap.square().mean((1, 2, 3))

    def push(self, seen: Seen, slope: Tensor) -> Tensor:
        """Gradient [P, E, D] with respect to theta of sum(slope * values)."""
        if seen.chosen is not None:
            slope = (slope.unsqueeze(3) * seen.chosen).flatten(3)
        flat = slope.flatten(0, 1)
        return self.network.backward(seen.layers, seen.tape, flat, flat.new_zeros(len(flat), 0)).view(
            *slope.shape[:2], -1
        )

    def pull_actions(self, seen: Seen, slope: Tensor) -> Tensor:
        """Gradient [P, n, a] with respect to the actions of sum(slope * values), slope [P, E, n, outputs]."""
        found = self.network.pull_inputs(seen.layers, seen.tape, slope.flatten(0, 1), self.actions)
        return found.unflatten(0, slope.shape[:2]).sum(1)

    def rescale(self, theta: Tensor, ratio: Tensor) -> None:
        """Multiply the outputs of all members by ratio [P, outputs], in place."""
        layers = self.network.layers(theta.flatten(0, 1))
        every = ratio.repeat(1, max(self.options, 1)).repeat_interleave(self.members, 0).unsqueeze(1)
        layers.weights[-1].mul_(every)
        layers.biases[-1].mul_(every)

    def scales(self, steps: Tensor) -> Tensor:
        """Unit of every output [P, outputs], given a typical step [P, m + k] of the channels."""
        return torch.cat([steps.new_full((len(steps), 1), float(self.actions)), steps], 1)
