"""Quadratic programs over the simplex, one per policy, solved together."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-12  # on the diagonal, relative to its mean: gradients that are parallel or opposed leave it singular
SLACK = 1e-13  # by how much a weight that is 0 must promise to gain before it is let in, relative to the same


def least_on_simplex(quadratic: Tensor, linear: Tensor) -> Tensor:
    """argmin of w' A w / 2 + b' w over w >= 0, sum w = 1: [P, m]; A [P, m, m] positive semidefinite, b [P, m].

    A primal active-set method: solve with the free weights alone; go there, or as far as none turns negative, which is
    then fixed at 0; where it got there, free the weight that promises most. Answers in double precision.
    """
    a, b = quadratic.double(), linear.double()
    m = b.shape[1]
    if m == 2:
        return _least_of_two(a, b)
    unit = a.diagonal(dim1=1, dim2=2).mean(1).clamp_min(torch.finfo(a.dtype).tiny)
    a, b = a / unit[:, None, None] + RIDGE * torch.eye(m).to(a), b / unit[:, None]
    free = torch.nn.functional.one_hot((a.diagonal(dim1=1, dim2=2) / 2 + b).argmin(1), m).bool()
    w, done = free.to(a), torch.zeros_like(free[:, 0])
    for _ in range(10 * m + 10):
        w, stopped = _toward(w, _solve(a, b, free), free)  # where done, the answer again
        slope = (a @ w.unsqueeze(-1)).squeeze(-1) + b
        promise = torch.where(free, -torch.inf, (w * slope).sum(1, keepdim=True) - slope)
        best, which = promise.max(1)
        arrived = ~stopped.any(1)
        done |= arrived & (best <= SLACK * (1 + slope.abs().amax(1)))
        if done.all():
            break
        entering = torch.nn.functional.one_hot(which, m).bool() & arrived.unsqueeze(1)
        free = torch.where(done.unsqueeze(1), free, (free & ~stopped) | entering)
    return w


def _least_of_two(a: Tensor, b: Tensor) -> Tensor:
    """The same in closed form; where the quadratic part is flat the end with the smaller linear part, or the middle."""
    curved = a[:, 0, 0] + a[:, 1, 1] - 2 * a[:, 0, 1]
    falls = a[:, 1, 1] - a[:, 0, 1] + b[:, 1] - b[:, 0]  # along the first weight, from (0, 1)
    flat = curved <= RIDGE * a.diagonal(dim1=1, dim2=2).sum(1)
    first = torch.where(flat, 0.5 + 0.5 * (b[:, 1] - b[:, 0]).sign(), falls / torch.where(flat, 1.0, curved)).clamp(
        0, 1
    )
    return torch.stack([first, 1 - first], 1)


def _solve(a: Tensor, b: Tensor, free: Tensor) -> Tensor:
    """The minimum over free weights of sum 1, of any sign; 0 for the others."""
    f = free.to(a)
    inner = a * f.unsqueeze(1) * f.unsqueeze(2) + torch.diag_embed(1 - f)
    top = torch.cat([inner, f.unsqueeze(2)], 2)
    bottom = torch.cat([f, torch.zeros_like(f[:, :1])], 1).unsqueeze(1)
    right = torch.cat([-b * f, torch.ones_like(f[:, :1])], 1)
    return torch.linalg.solve(torch.cat([top, bottom], 1), right)[:, :-1] * f


def _toward(w: Tensor, target: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """The point on the way to the target at which the first weight becomes 0 (else the target), and which did."""
    falling = free & (target < 0)
    ratio = torch.where(falling, w / (w - target).clamp_min(1e-300), torch.inf)
    share = ratio.amin(1, keepdim=True).clamp(max=1.0)
    stopped = falling & (ratio <= share)
    return torch.where(stopped, 0.0, w + share * (target - w)), stopped
