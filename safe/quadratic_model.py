"""The local problem of a trust-region step, and its solutions: TRPO, CPO and PCPO, for any number of constraints.

At theta the problem is replaced by max g.x subject to c_i + b_i.x <= 0 and x'Hx / 2 <= radius, H being the Hessian of
the mean divergence. Its solution lies in the space that H^-1 g and the H^-1 b_i span. Conjugate gradients find these
directions inexactly, so everything is measured along the directions that were found: whatever they are, the step solves
the problem in their span. Shapes: P policies, j constraints, D parameters of an actor, n = 1 + j directions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 1e-7  # share of the ball's radius by which a linear constraint may be missed
SAME = 1e-9  # share of a length that counts as none
LARGEST = 8  # constraints; every set of them is tried


class Local(NamedTuple):
    """The quadratic problem at theta."""

    g: Tensor  # [P, D] gradient of the objective
    b: Tensor  # [P, j, D] gradients of the violations
    c: Tensor  # [P, j] violations
    ig: Tensor  # [P, D] H^-1 g
    ib: Tensor  # [P, j, D] H^-1 b
    radius: float  # [nat]
    gram: Tensor | None = None  # [P, n, n] x'Hy of the directions ig, ib; None: H^-1 is exact, so that x'Hy = x'g


StepRule = Callable[[Local], Tensor]


def trpo_step(local: Local) -> Tensor:
    """sqrt(2 radius / g'H^-1 g) H^-1 g [P, D]; zero where the gradient is. The constraints are not looked at.

    Source: Schulman et al. 2015, arXiv:1502.05477, appendix C.
    """
    curved = _gram(local)[:, 0, 0]
    scale = torch.where(curved > 0, (2 * local.radius / curved).sqrt(), 0.0)
    return (scale.unsqueeze(-1) * local.ig.double()).to(local.g.dtype)


def cpo_step(local: Local) -> Tensor:
    """Solution [P, D] of the local problem; where it has none, `recovery_step`.

    For every set of constraints that may be tight the best point is written down: from the nearest one where they are
    tight along the rest of the gradient to the rim of the ball. The best of those that satisfy all constraints is the
    solution. Source: Achiam et al. 2017, arXiv:1705.10528, eq. 11 to 14, there for one constraint.
    """
    span = _span(local)
    rows, c, inverse = _tight(span)
    nearest = -(inverse @ c).squeeze(-1)  # [P, sets, n]
    gradient = span.gradient.unsqueeze(1)
    along = gradient - (inverse @ (rows @ gradient.unsqueeze(-1))).squeeze(-1)
    length, whole = _length(along), _length(gradient)
    room = 2 * local.radius - nearest.square().sum(-1, keepdim=True)
    same = _noise(local)
    far = torch.where(length > same * whole, room.clamp_min(0.0).sqrt() / length, 0.0)
    points = nearest + far * along
    fits = (room.squeeze(-1) >= -SAME * local.radius) & _satisfied(span, points, local.radius)
    gain = (points * gradient).sum(-1) / torch.where(whole > 0, whole, 1.0).squeeze(-1)
    best, found = _best(points, gain - same * _length(points).squeeze(-1), fits)  # of equal points the nearest
    return torch.where(found, _step(span, best, local), recovery_step(local))


def pcpo_step(local: Local) -> Tensor:
    """The TRPO step, then its projection in the metric H onto the half-spaces c_i + b_i.x <= 0 [P, D].

    Where the half-spaces do not meet, `recovery_step`.
    Source: Yang et al. 2020, arXiv:2010.03152, eq. 5 and 6, there for one constraint.
    """
    span = _span(local)
    whole = _length(span.gradient)
    first = (span.gradient * torch.where(whole > 0, (2 * local.radius) ** 0.5 / whole, 0.0)).unsqueeze(1)
    rows, c, inverse = _tight(span)
    points = first - (inverse @ (rows @ first.unsqueeze(-1) + c)).squeeze(-1)
    best, found = _best(points, -_length(points - first).squeeze(-1), _satisfied(span, points, local.radius))
    return torch.where(found, _step(span, best, local), recovery_step(local))


def recovery_step(local: Local) -> Tensor:
    """Down the violated constraints, each weighed by how far away it is satisfied, to the rim of the ball [P, D].

    One constraint: -sqrt(2 radius / b'H^-1 b) H^-1 b. Source: Achiam et al. 2017, arXiv:1705.10528, eq. 14.
    """
    span = _span(local)
    down = -(span.c.clamp_min(0.0).unsqueeze(-1) * span.rows).sum(1)
    length = _length(down)
    return _step(span, down * torch.where(length > 0, (2 * local.radius) ** 0.5 / length, 0.0), local)


class Span(NamedTuple):
    """The problem in coordinates z of the space that the directions span, in which |z|^2 = x'Hx; float64.

    Constraints are c + rows.z <= 0, a row having length 1, so that c is a length in the ball's unit: no unit of the
    channels is left. A direction that is lost in rounding has the coordinate 0.
    """

    basis: Tensor  # [P, n, D] x = z basis
    gradient: Tensor  # [P, n]
    rows: Tensor  # [P, j, n]
    c: Tensor  # [P, j]


def _noise(local: Local) -> float:
    """Share of a length that directions of this precision leave open."""
    return max(SAME, 100 * torch.finfo(local.g.dtype).eps)


def _gram(local: Local) -> Tensor:
    """x'Hy [P, n, n] of the directions, float64."""
    if local.gram is not None:
        found = local.gram.double()
    else:
        found = _stacked(local.ig, local.ib) @ _stacked(local.g, local.b).mT
    return (found + found.mT) / 2


def _span(local: Local) -> Span:
    gram, noise = _gram(local), _noise(local)
    length = gram.diagonal(dim1=1, dim2=2).clamp_min(0.0).sqrt()
    unit = torch.where(length > 0, 1 / length, 0.0)
    value, vectors = torch.linalg.eigh(gram * unit.unsqueeze(1) * unit.unsqueeze(2))
    root = torch.where(value > noise, value.clamp_min(noise).rsqrt(), 0.0)
    mix = vectors.mT * root.unsqueeze(-1) * unit.unsqueeze(1)  # [P, n, n]
    basis = mix @ _stacked(local.ig, local.ib)
    slopes = _stacked(local.g, local.b) @ basis.mT  # [P, 1 + j, n]
    rows, c = slopes[:, 1:], local.c.double()
    length = _length(rows)
    moved = length > 0
    c = torch.where(moved.squeeze(-1), c / torch.where(moved, length, 1.0).squeeze(-1), c.sign())
    return Span(basis, slopes[:, 0], rows / torch.where(moved, length, 1.0), c)


def _tight(span: Span) -> tuple[Tensor, Tensor, Tensor]:
    """For every set of constraints [P, sets]: its rows [.., j, n] (others are 0), c [.., j, 1], and their inverse."""
    j = span.c.shape[1]
    if j > LARGEST:
        raise ValueError(f"{j} constraints make {2**j} cases; give at most {LARGEST}, or use a dual method")
    sets = torch.arange(2**j, device=span.c.device).unsqueeze(1) >> torch.arange(j, device=span.c.device) & 1
    chosen = sets.to(span.c.dtype).unsqueeze(-1)  # [sets, j, 1]
    rows = span.rows.unsqueeze(1) * chosen
    return rows, span.c[:, None, :, None] * chosen, torch.linalg.pinv(rows, rtol=SAME)


def _satisfied(span: Span, points: Tensor, radius: float) -> Tensor:
    """Which points [P, sets, n] satisfy all constraints [P, sets]."""
    left = span.c.unsqueeze(1) + points @ span.rows.mT
    far = span.c.clamp_min(0.0).sum(1, keepdim=True) + (2 * radius) ** 0.5
    return (left <= ROUNDING * far.unsqueeze(-1)).all(-1)


def _best(points: Tensor, merit: Tensor, fits: Tensor) -> tuple[Tensor, Tensor]:
    """The point [P, n] of the largest merit among those that fit, and whether one does [P, 1]."""
    which = torch.where(fits, merit, -torch.inf).argmax(1)
    return points[torch.arange(len(points), device=points.device), which], fits.any(1, keepdim=True)


def _step(span: Span, z: Tensor, local: Local) -> Tensor:
    return (z.unsqueeze(1) @ span.basis).squeeze(1).to(local.g.dtype)


def _stacked(first: Tensor, others: Tensor) -> Tensor:
    return torch.cat([first.unsqueeze(1), others], 1).double()


def _length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True)
