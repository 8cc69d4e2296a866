"""Running means and variances, a row per policy, kept as tensors so that they travel with the policy they belong to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

CLIP = 10.0  # normalised observations are cut here; farther values carry no more information
ROUNDING = 1e-7  # share of its mean below which a standard deviation is rounding in float32


class Moments(NamedTuple):
    """Mean and variance over everything seen so far. Double precision: counts reach 1e9."""

    weight: Tensor  # [P] number of samples
    mean: Tensor  # [P, d]
    variance: Tensor  # [P, d] biased


def fresh_moments(policies: int, width: int, device: torch.device | str = "cpu") -> Moments:
    """Nothing was seen yet: no unit is known, so that `standard` and `scale_of` answer 0."""
    shape = (policies, width)
    return Moments(
        torch.zeros(policies, dtype=torch.float64, device=device),
        torch.zeros(shape, dtype=torch.float64, device=device),
        torch.zeros(shape, dtype=torch.float64, device=device),
    )


def unit_moments(like: Moments) -> Moments:
    """Mean 0 and variance 1, for numbers that are left as they are."""
    return Moments(torch.ones_like(like.weight), torch.zeros_like(like.mean), torch.ones_like(like.variance))


def unseen(moments: Moments) -> bool:
    """Whether some policy has seen nothing yet."""
    return bool((moments.weight == 0).any())


def update_moments(moments: Moments, batch: Tensor) -> Moments:
    """Merge a batch [n, P, ..., d] (samples on the first axis and on all between P and d).

    Source: Chan, Golub and LeVeque 1979, pairwise update of mean and sum of squares.
    """
    rows = batch.movedim(1, 0).flatten(1, -2).double()  # [P, n, d]
    n = rows.shape[1]
    mean, variance = rows.mean(1), rows.var(1, correction=0)
    total = moments.weight + n
    share = (n / total).unsqueeze(-1)
    gap = mean - moments.mean
    merged = moments.variance * (1 - share) + variance * share + gap.square() * share * (1 - share)
    return Moments(total, moments.mean + gap * share, merged)


def scale_of(moments: Moments) -> Tensor:
    """Standard deviation [P, d]; 0 where nothing differs by more than rounding, so that no unit is known."""
    spread = moments.variance.sqrt()
    return torch.where(spread > ROUNDING * moments.mean.abs(), spread, 0.0)


def per_scale(moments: Moments) -> Tensor:
    """One over `scale_of` [P, d]; 0 where that is 0: what has never differed is told nothing about."""
    scale = scale_of(moments)
    return torch.where(scale > 0, 1 / scale, 0.0)


class Standard(NamedTuple):
    """Moments made ready for use, in float32: a rollout normalises thousands of times with the same ones."""

    mean: Tensor  # [P, 1, d]
    inverse: Tensor  # [P, 1, d] one over the standard deviation; 0 where that is not known


def standard(moments: Moments) -> Standard:
    """Make moments ready for `normalise`."""
    return Standard(moments.mean.float().unsqueeze(-2), per_scale(moments).float().unsqueeze(-2))


def normalise(x: Tensor, by: Standard) -> Tensor:
    """(x - mean) / std for x [..., P, B, d], cut at +-CLIP."""
    return ((x - by.mean) * by.inverse).clamp_(-CLIP, CLIP)
