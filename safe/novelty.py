"""Policies unlike given ones: distance between policies as a channel, and the step that respects it.

The distance of a step is the least Wasserstein distance between the policy's action distribution and those of the
references, at the state where the policy is. Source: Sun et al. 2020, arXiv:2005.10696, for normal distributions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tradeoff.engine.heads import Categorical, Head


def gaussian_distance(mean: Tensor, std: Tensor, other_mean: Tensor, other_std: Tensor) -> Tensor:
    """2-Wasserstein distance [...] between normals with independent coordinates [..., a].

    sqrt(|m - m'|^2 + |s - s'|^2), what the general formula is for diagonal covariances.
    """
    return ((mean - other_mean).square().sum(-1) + (std - other_std).square().sum(-1)).sqrt()


def categorical_distance(chance: Tensor, other: Tensor) -> Tensor:
    """Total variation [...] of distributions [..., a]: the 1-Wasserstein distance where actions are at distance 1.

    The 2-Wasserstein distance would be its root, which calls a policy novel as soon as it is a little random: 0.2 where
    it strays in one of 25 steps.
    """
    return 0.5 * (chance - other).abs().sum(-1)


def action_distance(head: Head, out: Tensor, extra: Tensor, other_out: Tensor, other_extra: Tensor) -> Tensor:
    """Distance [...] between two action distributions, from what a head reads (shapes may broadcast).

    Gaussian: 2-Wasserstein, before actions are scaled and cut to the box. Categorical: the sum of the total variations
    of independent choices.
    """
    if not isinstance(head, Categorical):
        return gaussian_distance(out, extra.exp(), other_out, other_extra.exp())
    pairs = zip(out.split(head.choices, -1), other_out.split(head.choices, -1), strict=True)
    return torch.stack([categorical_distance(a.softmax(-1), b.softmax(-1)) for a, b in pairs]).sum(0)


def novelty(distances: Tensor) -> Tensor:
    """Distance [...] to the nearest of r references, from the distances [r, ...] to each."""
    return distances.amin(0)


def ctnb_direction(task: Tensor, novel: Tensor, broken: Tensor) -> Tensor:
    """Constrained task-novel bisector [P, D] of the gradients of return and novelty [P, D].

    Where the limit on novelty holds (`broken` [P] false) the task's gradient alone. Else the bisector of both, if they
    agree; if they conflict, the task's gradient without its part against novelty. The length is the mean of both.
    Source: Sun et al. 2020, arXiv:2005.10696, eq. 9 to 11; the printed rule for conflicts adds the conflicting part,
    which makes novelty fall; it is taken away here, so that no step away from a broken limit loses novelty.
    """
    if task.shape != novel.shape or broken.shape != task.shape[:1]:
        raise ValueError(
            f"task {tuple(task.shape)}, novel {tuple(novel.shape)} agree, broken {tuple(broken.shape)} [P]"
        )
    t, n = (torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-12) for x in (task, novel))
    agreement = (task * novel).sum(-1, keepdim=True)
    way = torch.where(agreement > 0, task + (t / n) * novel, task - agreement / n.square() * novel)
    length = torch.linalg.vector_norm(way, dim=-1, keepdim=True).clamp_min(1e-12)
    return torch.where(broken.unsqueeze(-1), way / length * (t + n) / 2, task)
