"""Exact Pareto search: the point of the front on a ray that a person chose, from gradients alone.

Everything reads Gram matrices K [P, m, m] of ascent directions, as `morl.gradient_rules`, and answers weights on the
simplex [P, m]. The linear programs are solved one policy at a time.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tradeoff.morl.gradient_rules import mgda

BALANCED = 1e-4  # non-uniformity below which returns count as being on the ray
LEAST = 1e-6  # share of a gain that counts as none at all

Array = NDArray[np.float64]


def non_uniformity(gains: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """How far gains [P, m] are from a ray [m] or [P, m]: KL(x || uniform) [P] in nats, and its slope [P, m].

    x is proportional to gains / ray, on the simplex. Gains of nothing or less count as LEAST of the largest, and where
    none is positive all count as equal: there is no ray to be off yet.
    """
    relative = gains.double() / ray.to(gains).double()
    top = relative.amax(1, keepdim=True)
    relative = torch.where(top > 0, torch.maximum(relative, LEAST * top), 1.0)
    total = relative.sum(1, keepdim=True)
    share = relative / total
    excess = (share * share.shape[1]).log()
    mean = (share * excess).sum(1, keepdim=True)
    return mean.squeeze(1), (excess - mean) / (total * ray.to(gains).double())


def guided(k: Tensor, toward: Tensor, held: Tensor) -> Tensor:
    """Weights of the direction d that goes furthest along a guide g, under bounds on every objective.

    Maximises <d, g> over the simplex. With c_i = <g_i, g>: objectives that are `held` must not fall; others may rise or
    fall freely where c_i > 0, and rise at least as fast as the guide itself would have them fall where not; none may
    fall where no c is positive. MGDA's weights always satisfy that.

    Args:
        toward: c [P, m], inner products of the gradients with the guide.
        held: [P, m] bool.

    Source: Lv et al. 2021, NeurIPS (ParetoDA), the balance step, after Mahapatra and Rajan 2020, ICML.
    """
    least = torch.where(toward > 0, -torch.inf, toward.double())
    least = torch.where(held | ~(toward > 0).any(1, keepdim=True), 0.0, least)
    return _programs(k, toward, least)


def dominating(k: Tensor) -> Tensor:
    """Weights of the direction that raises the sum of the objectives most among those that lower none."""
    return _programs(k, k.sum(2), torch.zeros_like(k[:, 0]))


def pareto_da(k: Tensor, toward: Tensor) -> Tensor:
    """`guided` where the objective that agrees most with the guide is held; c = toward [P, m] as there.

    Source: Lv et al. 2021, NeurIPS (ParetoDA).
    """
    most = torch.nn.functional.one_hot(toward.argmax(1), toward.shape[1]).bool()
    return guided(k, toward, most & (toward > 0))


def exact_pareto(k: Tensor, gains: Tensor, ray: Tensor, *, balanced: float = BALANCED) -> Tensor:
    """Weights toward the ray while gains [P, m] are off it, else of the steepest direction that lowers no objective.

    gains: returns less a reference that they exceed. The guide lowers the non-uniformity; what is served worst for the
    ray is held. Source: Mahapatra and Rajan 2020, ICML (EPO search), for gains in the place of losses.
    """
    off, slope = non_uniformity(gains, ray)
    slope = slope / slope.abs().sum(1, keepdim=True).clamp_min(1e-300)  # a guide as long as directions are
    relative = gains / ray.to(gains)
    toward = -torch.einsum("pij,pj->pi", k.double(), slope)
    balance = guided(k, toward, relative <= relative.amin(1, keepdim=True))
    return torch.where((off > balanced).unsqueeze(1), balance, dominating(k))


def _programs(k: Tensor, gain: Tensor, least: Tensor) -> Tensor:
    rows = [_program(*(x.detach().cpu().double().numpy() for x in row)) for row in zip(k, gain, least, strict=True)]
    fallback = mgda(k)
    found = [fallback[p] if row is None else torch.from_numpy(row).to(fallback) for p, row in enumerate(rows)]
    return torch.stack(found)


def _program(k: Array, gain: Array, least: Array) -> Array | None:
    """argmax of gain . w over the simplex with K w >= least; None where rounding leaves nothing feasible."""
    unit = max(float(np.abs(k).max()), 1e-300)
    if len(k) == 2:
        return _segment(k / unit, gain, least / unit)
    from scipy.optimize import linprog

    bound = np.isfinite(least)
    scaled = gain / max(float(np.abs(gain).max()), 1e-300)
    result = linprog(
        -scaled, A_ub=-k[bound] / unit, b_ub=-least[bound] / unit + 1e-12, A_eq=np.ones((1, len(k))), b_eq=[1.0],
    )  # fmt: skip
    return np.clip(result.x, 0, None) if result.status == 0 else None


def _segment(k: Array, gain: Array, least: Array) -> Array | None:
    """The program for two objectives: the better end of an interval of the first weight."""
    low, high = 0.0, 1.0
    for slope, rest in zip(k[:, 0] - k[:, 1], least - k[:, 1], strict=True):
        if slope > 1e-12:
            low = max(low, rest / slope)
        elif slope < -1e-12:
            high = min(high, rest / slope)
    if low > high + 1e-9:
        return None
    first = min(high, low if gain[0] < gain[1] else high)
    return np.array([first, 1.0 - first])
