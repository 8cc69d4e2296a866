"""Distributions for learning from replay: squashed normals along the noise that made an action, and whole choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import NamedTuple

import torch
from gymnasium import spaces
from torch import Generator, Tensor
from torch.nn.functional import softplus

from tradeoff.engine.heads import LOG_2PI, Categorical, Gaussian, Pull, bend_normal, box_bounds
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.envs.errors import TradeoffError

NARROWEST, WIDEST = -20.0, 2.0  # log standard deviations beyond are cut; Haarnoja et al. 2018


class Drawn(NamedTuple):
    """Actions as functions of the outputs and of a fixed noise."""

    action: Tensor  # [P, n, a] in (-1, 1); for a choice the chances of all its options [P, n, A]
    log_prob: Tensor  # [P, n] density of the squashed action, or its mean over the options [nats]
    pull: Callable[[Tensor, Tensor], Tensor]  # (d action as above, d log_prob [P, n]) -> ascent in out [P, n, outputs]


@dataclass(frozen=True)
class StateGaussian:
    """tanh of independent normals whose means and log standard deviations are both outputs of the network.

    An action is kept before it is squashed; the environment gets low + (tanh u + 1) (high - low) / 2.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @cached_property
    def plain(self) -> Gaussian:
        """The same distribution with the log standard deviations as extras."""
        return Gaussian(self.low, self.high, squash=True)

    @property
    def outputs(self) -> int:
        """A mean and a log standard deviation per action number."""
        return 2 * len(self.low)

    @property
    def numbers(self) -> int:
        """Numbers that are kept of an action."""
        return len(self.low)

    @property
    def options(self) -> int:
        """None: actions are numbers."""
        return 0

    def aim(self, config: SoftConfig) -> float:
        """Entropy aimed at [nats]."""
        return config.entropy * self.numbers

    def kept(self, action: Tensor) -> Tensor:
        """What critics see of an action [..., a]."""
        return action.tanh()

    @property
    def extras(self) -> int:
        """None."""
        return 0

    def split(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, [P, n, a] each."""
        mean, spread = out.chunk(2, -1)
        return mean, spread.clamp(NARROWEST, WIDEST)

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Standard normal noise [*shape, a]."""
        return self.plain.noise(shape, generator)

    def draw_noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """What `draw` needs [*shape, a]."""
        return self.noise(shape, generator)

    def sample(self, out: Tensor, extra: Tensor, noise: Tensor) -> Tensor:
        """See Head.sample; not yet squashed."""
        return self.plain.sample(*self.split(out), noise)

    def mode(self, out: Tensor, extra: Tensor) -> Tensor:
        """See Head.mode."""
        return self.split(out)[0]

    def log_prob(self, out: Tensor, extra: Tensor, action: Tensor) -> Tensor:
        """See Head.log_prob."""
        return self.plain.log_prob(*self.split(out), action)

    def linearise(self, out: Tensor, extra: Tensor, action: Tensor) -> tuple[Tensor, Pull]:
        """See Head.linearise: z / std for the mean, z^2 - 1 for the log standard deviation where it is not cut."""
        mean, spread = self.split(out)
        inverse = (-spread).exp()
        z, free = (action - mean) * inverse, self._free(out)

        def pull(slope: Tensor) -> tuple[Tensor, Tensor]:
            score = torch.cat([z * inverse, (z.square() - 1) * free], -1)
            return score * slope.unsqueeze(-1), out.new_zeros(out.shape[0], 0)

        return self.plain.log_prob(mean, spread, action), pull

    def bend(self, out: Tensor, extra: Tensor, action: Tensor, d_out: Tensor, d_extra: Tensor) -> tuple[Tensor, Pull]:
        """See Head.bend."""
        mean, spread = self.split(out)
        inverse, free, (d_mean, d_spread) = (-spread).exp(), self._free(out), d_out.chunk(2, -1)
        bent = bend_normal((action - mean) * inverse, inverse, d_mean, d_spread * free)
        second = torch.cat([bent.mean, bent.spread * free], -1)

        def pull(slope: Tensor) -> tuple[Tensor, Tensor]:
            return second * slope.unsqueeze(-1), out.new_zeros(out.shape[0], 0)

        return bent.along.sum(-1), pull

    def draw(self, out: Tensor, noise: Tensor) -> Drawn:
        """Squashed actions from noise [P, n, a], their density, and the derivative of both along fixed noise.

        log_prob = sum [-e^2 / 2 - log std - log(2 pi) / 2 - log(1 - tanh(u)^2)]; its slope in u is 2 tanh(u).
        """
        mean, spread = self.split(out)
        moved = spread.exp() * noise
        u = mean + moved
        action = u.tanh()
        terms = spread + 0.5 * noise.square() + 2 * (log(2.0) - u - softplus(-2 * u))
        log_prob = -terms.sum(-1) - 0.5 * LOG_2PI * len(self.low)

        def pull(d_action: Tensor, d_log_prob: Tensor) -> Tensor:
            d_log_prob = d_log_prob.unsqueeze(-1)
            d_u = torch.ops.aten.tanh_backward(d_action, action).addcmul_(action, d_log_prob, value=2.0)
            return torch.cat([d_u, (d_u * moved - d_log_prob) * self._free(out)], -1)

        return Drawn(action, log_prob, pull)

    def _free(self, out: Tensor) -> Tensor:
        """[P, n, a] where the log standard deviation is not cut."""
        spread = out[..., len(self.low) :]
        return (spread > NARROWEST) & (spread < WIDEST)

    def entropy(self, out: Tensor, extra: Tensor) -> Tensor:
        """Of u, before squashing (the squashed entropy has no closed form)."""
        return self.plain.entropy(*self.split(out))

    def divergence(self, out: Tensor, extra: Tensor, old_out: Tensor, old_extra: Tensor) -> Tensor:
        """See Head.divergence."""
        return self.plain.divergence(*self.split(out), *self.split(old_out))

    def to_env(self, action: Tensor) -> Tensor:
        """See Head.to_env."""
        return self.plain.to_env(action)


@dataclass(frozen=True)
class SoftCategorical(Categorical):
    """One choice among A options. What `draw` answers is not one of them but the chances of all, so nothing is sampled.

    Sources: Christodoulou 2019, arXiv:1910.07207 (the sums); Chan et al. 2022, arXiv:2107.08285 (the actor's step).
    """

    @property
    def numbers(self) -> int:
        """See StateGaussian.numbers."""
        return 1

    @property
    def options(self) -> int:
        """A."""
        return self.outputs

    def aim(self, config: SoftConfig) -> float:
        """See StateGaussian.aim."""
        return config.choice_entropy * log(self.options)

    def kept(self, action: Tensor) -> Tensor:
        """See StateGaussian.kept: the option's number."""
        return action

    def draw_noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """None [*shape, 0]."""
        return torch.empty(*shape, 0, device=generator.device)

    def draw(self, out: Tensor, noise: Tensor) -> Drawn:
        """Chances p, and sum p log p.

        `pull` leads to the best chances, q = softmax(d_action / heat) with heat = -d_log_prob > 0, by (heat + short)
        (q - p): the slope of -KL(q || p), times what p falls short of q by, short = heat KL(p || q), and heat. That of
        the objective itself, p (slope - p . slope), is the same close to q; far from it, it vanishes with p, and an
        option once given up would never come back. By heat (q - p) alone actors freeze where the temperature falls.
        """
        log_p = out.log_softmax(-1)
        p = log_p.exp()

        def pull(d_action: Tensor, d_log_prob: Tensor) -> Tensor:
            heat = -d_log_prob.unsqueeze(-1)
            log_q = (d_action / heat).log_softmax(-1)
            short = heat * (p * (log_p - log_q)).sum(-1, keepdim=True)
            return (heat + short) * (log_q.exp() - p)

        return Drawn(p, (p * log_p).sum(-1), pull)


SoftHead = StateGaussian | SoftCategorical


class UnfitActions(TradeoffError, TypeError):
    """Actions that are neither numbers nor one choice, where a method from replay was asked for."""


def make_soft_head(space: spaces.Space, env: str = "the environment") -> SoftHead:
    """The distribution for the actions of an environment, by its id.

    Raises: UnfitActions for a space that is neither Box nor Discrete.
    """
    if isinstance(space, spaces.Discrete):
        return SoftCategorical((int(space.n),))
    if not isinstance(space, spaces.Box):
        raise UnfitActions(
            f"the actions of {env} are {space}; methods that learn from replay need a Box of numbers or one Discrete "
            "choice: take a method that also makes several choices at once, such as lagrangian, pid-lagrangian, cpo or "
            "reload"
        )
    return StateGaussian(*box_bounds(space))
