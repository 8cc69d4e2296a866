"""What a batch of policy gradients can and cannot show: signal, noise, conflicts, and how sure each of them is.

g_b [c, D] is the gradient of trajectory b for each of c channels (or for each of c estimators of one gradient). All is
said by two matrices: signal_ij = <E g_i, E g_j> and square_ij = E <g_i, g_j>; noise is their difference, the trace of a
covariance. Both are estimated without bias, and once more for every bootstrap sample of the trajectories: tensors here
have a leading axis R, the estimate itself first, R - 1 bootstrap samples behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

LONGEST = 100  # steps that a memory may reach back
CHUNK = 2**22  # numbers of a product that are brought to double precision at once


class Interval(NamedTuple):
    """An estimate and its bootstrap interval."""

    value: float
    low: float
    high: float


class Seconds(NamedTuple):
    """Second moments of gradients [R, c, c]."""

    signal: Tensor  # inner products of the mean gradients
    square: Tensor  # mean inner products of a trajectory's gradients

    @property
    def noise(self) -> Tensor:
        """Traces of the covariances of one trajectory's gradients [R, c, c]."""
        return self.square - self.signal

    def mixed(self, weights: Tensor) -> Seconds:
        """The same for one weighted sum of the channels, weights [c]: [R, 1, 1]."""
        w = weights.double()
        return Seconds(*((x @ w @ w).view(-1, 1, 1) for x in self))


def resamples(count: int, samples: int, generator: Generator) -> Tensor:
    """How often each of `count` trajectories is counted [1 + samples, count]: once in the first row, else by chance."""
    drawn = torch.randint(count, (samples, count), generator=generator, device=generator.device)
    counts = torch.zeros(samples, count, dtype=torch.float64, device=drawn.device)
    counts.scatter_add_(1, drawn, torch.ones_like(counts))
    return torch.cat([torch.ones_like(counts[:1]), counts])


def second_moments(gradients: Tensor, counts: Tensor) -> Seconds:
    """Moments of gradients [B, c, D] for the counts [R, B] of their trajectories.

    signal is the mean over pairs of different trajectories, which no noise enters; a trajectory drawn twice is no such
    pair. Source: Hoeffding 1948, Annals of Mathematical Statistics 19(3), for means over pairs.
    """
    count, channels, _ = gradients.shape
    k = _gram(gradients.flatten(0, 1)).view(count, channels, count, channels)
    own = k.diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # [B, c, c]
    pairs = torch.stack([_both(k[:, i], counts) for i in range(channels)], 1)
    twice = torch.einsum("rb,bij->rij", counts.square(), own)
    free = (counts.sum(1).square() - counts.square().sum(1)).view(-1, 1, 1)
    square = torch.einsum("rb,bij->rij", counts, own) / counts.sum(1).view(-1, 1, 1)
    return Seconds((pairs - twice) / free, square)


def _gram(rows: Tensor) -> Tensor:
    """Inner products of rows [n, D] in double precision, a part of D at a time."""
    parts = rows.split(max(1, CHUNK // len(rows)), 1)
    return torch.stack([x.double() @ x.double().mT for x in parts]).sum(0)


def _both(k: Tensor, counts: Tensor) -> Tensor:
    """sum over b and b' of counts_b counts_b' k[b, b', c]: [R, c]; k [B, B, c]."""
    left = (counts @ k.flatten(1)).unflatten(1, (k.shape[1], k.shape[2]))
    return (left * counts.unsqueeze(-1)).sum(1)


def signal_to_noise(seconds: Seconds, batch: Tensor) -> Tensor:
    """Length of the gradient over the error of a mean over `batch` [n] trajectories: [R, c, n].

    0 where no signal is seen, NaN where there is neither signal nor noise.
    """
    signal, noise = (x.diagonal(dim1=1, dim2=2).unsqueeze(-1).clamp_min(0) for x in (seconds.signal, seconds.noise))
    return (signal * batch.double() / noise).sqrt()


def critical_batch(seconds: Seconds) -> Tensor:
    """Trajectories [R, c] whose mean has as much signal as noise; infinite where no signal is seen.

    Source: McCandlish et al. 2018, arXiv:1812.06162, the simple noise scale.
    """
    signal, noise = (x.diagonal(dim1=1, dim2=2) for x in (seconds.signal, seconds.noise))
    return torch.where(signal > 0, noise.clamp_min(0) / signal, torch.inf)


def cosines(seconds: Seconds) -> Tensor:
    """Cosines between the channels' gradients [R, c, c]; NaN where one of the two shows no signal."""
    length = seconds.signal.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
    found = seconds.signal / (length.unsqueeze(1) * length.unsqueeze(2))
    return torch.where(torch.isfinite(found), found, torch.nan).clamp(-1, 1)


def blend_gain(seconds: Seconds) -> Tensor:
    """By how much memory divides the noise of a gradient, at best [R]; NaN where there is no noise.

    seconds: of two channels, a trajectory's gradient at the present parameters and, weighed back, at those of the step
    before. The blend x_t = g(theta_t) + a (x_{t-1} - g(theta_{t-1})), 0 <= a < 1, comes to rest at the noise
    (S + a^2 S' - 2 a C) / (1 - a^2) per trajectory, with S, S' the noises of both and C what they share. For S' = S and
    a correlation rho the best a leaves S sqrt(1 - rho^2). Steps are taken to be alike for as long as that takes, which
    is 1 / (1 - a) of them, at most LONGEST: no gain is above 2 LONGEST - 1.
    """
    own, before, shared = (seconds.noise[:, i, j] for i, j in ((0, 0), (1, 1), (0, 1)))
    one, both = before / own, (shared / own).clamp_min(0)
    root = ((1 + one).square() - 4 * both.square()).clamp_min(0).sqrt()
    a = torch.where(both > 0, (1 + one - root) / (2 * both), 0.0).clamp(0, 1 - 1 / LONGEST)
    return (1 - a.square()) / (1 + a.square() * one - 2 * a * both)


def correlation(seconds: Seconds) -> Tensor:
    """Shared noise of two channels over the mean of theirs, geometric [R]."""
    noise = seconds.noise
    return noise[:, 0, 1] / (noise[:, 0, 0] * noise[:, 1, 1]).sqrt()


def interval(
    found: Tensor, *, least: float = -torch.inf, most: float = torch.inf, confidence: float = 0.95
) -> Interval:
    """Estimate and percentile interval of a number [R]. A sample that says nothing (NaN) may be anything.

    least, most: what the number can be at all.
    """
    drawn, tail = found[1:].double(), (1 - confidence) / 2
    low = drawn.nan_to_num(least, posinf=torch.inf, neginf=-torch.inf)
    high = drawn.nan_to_num(most, posinf=torch.inf, neginf=-torch.inf)
    return Interval(
        float(found[0]),
        float(torch.quantile(low, tail, interpolation="lower")),
        float(torch.quantile(high, 1 - tail, interpolation="higher")),
    )
