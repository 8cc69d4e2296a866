"""Running means and variances, a row per policy, kept as tensors so that they travel with the policy they belong to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

CLIP = 10.0  # normalised observations are cut here; farther values carry no more information
FLOOR = 1e-8  # added to variances


class Moments(NamedTuple):
    """Mean and variance over everything seen so far. Double precision: counts reach 1e9."""

    weight: Tensor  # [P] number of samples
    mean: Tensor  # [P, d]
    variance: Tensor  # [P, d] biased


def fresh_moments(policies: int, width: int, device: torch.device | str = "cpu") -> Moments:
    """Mean 0, variance 1, and a count so small that the first batch takes over."""
    shape = (policies, width)
    return Moments(
        torch.full((policies,), 1e-4, dtype=torch.float64, device=device),
        torch.zeros(shape, dtype=torch.float64, device=device),
        torch.ones(shape, dtype=torch.float64, device=device),
    )


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
    """Standard deviation [P, d], never zero."""
    return (moments.variance + FLOOR).sqrt()


class Standard(NamedTuple):
    """Moments made ready for use, in float32: a rollout normalises thousands of times with the same ones."""

    mean: Tensor  # [P, 1, d]
    inverse: Tensor  # [P, 1, d] one over the standard deviation


def standard(moments: Moments) -> Standard:
    """Make moments ready for `normalise`."""
    return Standard(moments.mean.float().unsqueeze(-2), scale_of(moments).reciprocal().float().unsqueeze(-2))


def normalise(x: Tensor, by: Standard) -> Tensor:
    """(x - mean) / std for x [..., P, B, d], cut at +-CLIP."""
    return ((x - by.mean) * by.inverse).clamp_(-CLIP, CLIP)
