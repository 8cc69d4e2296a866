"""Action distributions on the outputs of a stack: pure functions of outputs, extras and actions.

Every head works on `out [P, B, outputs]`, `extra [P, 1, extras]` and `action [P, B, c]`, with c numbers per action.
`linearise` gives the log-probability and its vector-Jacobian product; policy gradients are sums of slopes times scores,
so this is all that a first-order method needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import log, pi
from typing import NamedTuple, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Generator, Tensor
from torch.nn.functional import softplus

LOG_2PI = log(2 * pi)
Pull = Callable[[Tensor], tuple[Tensor, Tensor]]
"""slope [P, B] -> gradient of sum(slope * log_prob) with respect to out [P, B, outputs] and extra [P, extras]."""


class Head(Protocol):
    """What a distribution must offer."""

    @property
    def outputs(self) -> int:
        """Number of network outputs that it reads."""
        ...

    @property
    def extras(self) -> int:
        """Number of free parameters that it reads."""
        ...

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draw the noise of `shape` actions at once: [*shape, width]."""
        ...

    def sample(self, out: Tensor, extra: Tensor, noise: Tensor) -> Tensor:
        """Action [P, B, c] made from the noise of one step."""
        ...

    def mode(self, out: Tensor, extra: Tensor) -> Tensor:
        """Deterministic action [P, B, c]."""
        ...

    def log_prob(self, out: Tensor, extra: Tensor, action: Tensor) -> Tensor:
        """Log-probability or log-density [P, B] in nats."""
        ...

    def linearise(self, out: Tensor, extra: Tensor, action: Tensor) -> tuple[Tensor, Pull]:
        """`log_prob`, and its vector-Jacobian product, which shares the work."""
        ...

    def bend(self, out: Tensor, extra: Tensor, action: Tensor, d_out: Tensor, d_extra: Tensor) -> tuple[Tensor, Pull]:
        """Slope [P, B] of `log_prob` along d_out [P, B, outputs] and d_extra [P, 1, extras], and that of its Pull."""
        ...

    def entropy(self, out: Tensor, extra: Tensor) -> Tensor:
        """Entropy [P, B] in nats."""
        ...

    def divergence(self, out: Tensor, extra: Tensor, old_out: Tensor, old_extra: Tensor) -> Tensor:
        """KL(new || old) [P, B] in nats."""
        ...

    def to_env(self, action: Tensor) -> Tensor:
        """Action [N, c] as the environment wants it."""
        ...


@dataclass(frozen=True)
class Categorical:
    """One or several independent choices; `choices` holds the number of options of each (Discrete: one)."""

    choices: tuple[int, ...]
    flat: bool = True  # the environment wants [N] instead of [N, c]

    @property
    def outputs(self) -> int:
        """One logit per option."""
        return sum(self.choices)

    @property
    def extras(self) -> int:
        """None."""
        return 0

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Gumbel noise; the largest noisy logit is an exact sample."""
        uniform = torch.rand(*shape, self.outputs, generator=generator, device=generator.device)
        return -torch.log(-torch.log(uniform.clamp_(1e-30, 1 - 1e-7)))

    def sample(self, out: Tensor, extra: Tensor, noise: Tensor) -> Tensor:
        """See Head.sample."""
        return self.mode(out + noise, extra)

    def mode(self, out: Tensor, extra: Tensor) -> Tensor:
        """See Head.mode."""
        return torch.stack([part.argmax(-1) for part in out.split(self.choices, -1)], -1)

    def _log_softmax(self, out: Tensor) -> Tensor:
        if len(self.choices) == 1:
            return out.log_softmax(-1)
        return torch.cat([part.log_softmax(-1) for part in out.split(self.choices, -1)], -1)

    def _index(self, action: Tensor) -> Tensor:
        """Position of each chosen option among all the logits [P, B, c]."""
        offsets = np.concatenate([[0], np.cumsum(self.choices[:-1])]).tolist()
        return action + torch.tensor(offsets, device=action.device) if len(offsets) > 1 else action

    def log_prob(self, out: Tensor, extra: Tensor, action: Tensor) -> Tensor:
        """See Head.log_prob."""
        return self.linearise(out, extra, action)[0]

    def linearise(self, out: Tensor, extra: Tensor, action: Tensor) -> tuple[Tensor, Pull]:
        """Score of a softmax: one-hot minus probabilities."""
        log_p, index = self._log_softmax(out), self._index(action)

        def pull(slope: Tensor) -> tuple[Tensor, Tensor]:
            slope = slope.unsqueeze(-1)
            d_out = (log_p.exp() * -slope).scatter_add_(-1, index, slope.expand(index.shape))
            return d_out, out.new_zeros(out.shape[0], 0)

        return log_p.gather(-1, index).sum(-1), pull

    def bend(self, out: Tensor, extra: Tensor, action: Tensor, d_out: Tensor, d_extra: Tensor) -> tuple[Tensor, Pull]:
        """See Head.bend. A log-probability moves by d - p.d, with the probabilities p of its own choice."""
        p = self._log_softmax(out).exp_()
        means = [x.sum(-1, keepdim=True).expand_as(x) for x in (p * d_out).split(self.choices, -1)]
        moved = d_out - (means[0] if len(means) == 1 else torch.cat(means, -1))

        def pull(slope: Tensor) -> tuple[Tensor, Tensor]:
            return p * moved * -slope.unsqueeze(-1), out.new_zeros(out.shape[0], 0)

        return moved.gather(-1, self._index(action)).sum(-1), pull

    def entropy(self, out: Tensor, extra: Tensor) -> Tensor:
        """See Head.entropy."""
        log_p = self._log_softmax(out)
        return -(log_p.exp() * log_p).sum(-1)

    def divergence(self, out: Tensor, extra: Tensor, old_out: Tensor, old_extra: Tensor) -> Tensor:
        """See Head.divergence."""
        log_p = self._log_softmax(out)
        return (log_p.exp() * (log_p - self._log_softmax(old_out))).sum(-1)

    def to_env(self, action: Tensor) -> Tensor:
        """See Head.to_env."""
        return action.squeeze(-1) if self.flat else action


@dataclass(frozen=True)
class Gaussian:
    """Independent normals with a state-independent log standard deviation each (the extras).

    An action u is scaled to the box where both bounds are finite: low + (u + 1) (high - low) / 2, then clamped to it.
    With `squash` the sample is tanh(u) instead of a clamp, and densities are those of the squashed variable.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    squash: bool = False

    @property
    def outputs(self) -> int:
        """One mean per action number."""
        return len(self.low)

    @property
    def extras(self) -> int:
        """One log standard deviation per action number."""
        return len(self.low)

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Standard normal noise."""
        return torch.randn(*shape, self.outputs, generator=generator, device=generator.device)

    def sample(self, out: Tensor, extra: Tensor, noise: Tensor) -> Tensor:
        """The unsquashed u: keeping it loses no digits where tanh saturates."""
        return torch.addcmul(out, extra.exp(), noise)

    def mode(self, out: Tensor, extra: Tensor) -> Tensor:
        """See Head.mode."""
        return out

    def log_prob(self, out: Tensor, extra: Tensor, action: Tensor) -> Tensor:
        """See Head.log_prob; with `squash` minus sum log(1 - tanh(u)^2), written so that it never overflows."""
        return self.linearise(out, extra, action)[0]

    def linearise(self, out: Tensor, extra: Tensor, action: Tensor) -> tuple[Tensor, Pull]:
        """Score of a normal: z / std for the mean, z^2 - 1 for the log standard deviation."""
        inverse = (-extra).exp()
        z = (action - out) * inverse
        square = z.square()
        density = torch.sub(-0.5 * LOG_2PI * self.outputs - extra.sum(-1), square.sum(-1), alpha=0.5)
        if self.squash:
            density = density - 2 * (log(2.0) - action - softplus(-2 * action)).sum(-1)

        def pull(slope: Tensor) -> tuple[Tensor, Tensor]:
            slope = slope.unsqueeze(-1)
            return z * (slope * inverse), (square * slope).sum(1) - slope.sum(1)

        return density, pull

    def bend(self, out: Tensor, extra: Tensor, action: Tensor, d_out: Tensor, d_extra: Tensor) -> tuple[Tensor, Pull]:
        """See Head.bend."""
        inverse = (-extra).exp()
        bent = bend_normal((action - out) * inverse, inverse, d_out, d_extra)

        def pull(slope: Tensor) -> tuple[Tensor, Tensor]:
            slope = slope.unsqueeze(-1)
            return bent.mean * slope, (bent.spread * slope).sum(1)

        return bent.along.sum(-1), pull

    def entropy(self, out: Tensor, extra: Tensor) -> Tensor:
        """Of u, before squashing (the squashed entropy has no closed form)."""
        return (extra + 0.5 * (LOG_2PI + 1)).sum(-1).expand(out.shape[:-1])

    def divergence(self, out: Tensor, extra: Tensor, old_out: Tensor, old_extra: Tensor) -> Tensor:
        """Squashing is a bijection, so the divergence is that of the normals."""
        gap = (out - old_out).square() + (2 * extra).exp()
        return (old_extra - extra + 0.5 * gap * (-2 * old_extra).exp() - 0.5).sum(-1)

    def to_env(self, action: Tensor) -> Tensor:
        """See Head.to_env."""
        low, high, centre, half = (bound.to(action.device) for bound in self._box)
        action = action.tanh() if self.squash else action
        return torch.clamp(torch.addcmul(centre, half, action), low, high)

    @cached_property
    def _box(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """low, high, centre, half width; where a bound is infinite nothing is scaled (centre 0, half width 1).

        Bounds that single precision does not have are rounded inwards, so that no action is outside of the space.
        """
        low, high = _rounded(self.low, torch.inf), _rounded(self.high, -torch.inf)
        finite = torch.isfinite(high - low)
        return low, high, torch.where(finite, (low + high) / 2, 0.0), torch.where(finite, (high - low) / 2, 1.0)


def _rounded(bound: tuple[float, ...], towards: float) -> Tensor:
    """Bounds in single precision, the next number towards +-inf where rounding went the other way."""
    exact = torch.tensor(bound, dtype=torch.float64)
    near = exact.float()
    inwards = torch.nextafter(near, torch.full_like(near, towards))
    wrong = near.double() < exact if towards > 0 else near.double() > exact
    return torch.where(wrong, inwards, near)


class Bent(NamedTuple):
    """Derivatives of a normal's log-density and of its score, all along one direction and of one shape."""

    along: Tensor
    mean: Tensor
    spread: Tensor  # of the log standard deviation


def bend_normal(z: Tensor, inverse: Tensor, d_mean: Tensor, d_spread: Tensor) -> Bent:
    """Score: z / std for the mean, z^2 - 1 for the log std; z moves by d_z = -(d_mean / std + z d_spread).

    inverse: 1 / std.
    """
    d_z = torch.addcmul(d_mean * -inverse, z, d_spread, value=-1.0)
    along = z * inverse * d_mean + (z.square() - 1) * d_spread
    return Bent(along, (d_z - z * d_spread) * inverse, 2 * z * d_z)


def make_head(space: spaces.Space, squash: bool = False) -> Head:
    """The distribution for an action space: Discrete and MultiDiscrete are categorical, Box is Gaussian.

    Raises: TypeError for any other space.
    """
    if isinstance(space, spaces.Discrete):
        return Categorical((int(space.n),))
    if isinstance(space, spaces.MultiDiscrete):
        return Categorical(tuple(int(n) for n in space.nvec.ravel()), flat=False)
    if isinstance(space, spaces.Box):
        return Gaussian(*box_bounds(space), squash)
    raise TypeError(f"action space {space} is neither Discrete, MultiDiscrete nor Box; wrap the environment")


def box_bounds(space: spaces.Box) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Bounds of each number; those of whole numbers that are the limits of their kind are none."""
    low, high = (bound.astype(np.float64).ravel() for bound in (space.low, space.high))
    if space.dtype.kind in "iu" and space.dtype.itemsize >= 4:
        limits = np.iinfo(space.dtype)  # type: ignore[type-var]
        low = np.where(space.low.ravel() == limits.min, -np.inf, low)
        high = np.where(space.high.ravel() == limits.max, np.inf, high)
    return tuple(low.tolist()), tuple(high.tolist())
