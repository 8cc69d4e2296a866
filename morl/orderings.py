"""Utilities that compare objectives with one another: worst first, by rank, or against a point one hopes for.

They read y_i = w_i (J_i - z_i), objectives brought to one unit by weights w and measured from a reference point z.
Parameters and shapes as in `tradeoff.morl.utilities`. All are concave where weights and ranks are as required.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tradeoff.morl.utilities import Parameter, Utility, Valued, parameter


def achievement(weights: Parameter, reference: Parameter, augmentation: Parameter = 1e-3) -> Utility:
    """min_i y_i + augmentation * sum_i y_i: how far the reference point is exceeded (or missed, where negative).

    Its maximum is Pareto optimal wherever the reference point lies, for augmentation > 0. Ties share the slope equally.
    Source: Wierzbicki 1980, Lecture Notes in Economics and Mathematical Systems 177.
    """
    w, rate = parameter("weights", weights, least=0), parameter("augmentation", augmentation, least=0)
    return _toward("achievement", w, reference, rate * w)


def augmented_chebyshev(weights: Parameter, reference: Parameter, augmentation: Parameter = 1e-3) -> Utility:
    """-max_i w_i (z_i - J_i) - augmentation * sum_i (z_i - J_i), for an ideal z that no J exceeds.

    Source: Steuer and Choo 1983, Mathematical Programming 26.
    """
    w, rate = parameter("weights", weights, least=0), parameter("augmentation", augmentation, least=0)
    return _toward("augmented Chebyshev", w, reference, rate * torch.ones_like(w))


def chebyshev(weights: Parameter, reference: Parameter) -> Utility:
    """-max_i w_i (z_i - J_i): all weight on the worst objective; objectives that tie share it equally."""
    return augmented_chebyshev(weights, reference, 0.0)


def max_min(weights: Parameter = 1.0) -> Utility:
    """min_i w_i J_i: the worst-off objective counts alone."""
    return chebyshev(weights, 0.0)


def _toward(name: str, weights: Tensor, reference: Parameter, slope: Tensor) -> Utility:
    given = {"weights": weights, "reference": parameter("reference", reference), "slope": slope}
    return Utility(name, _worst, given)


def _worst(returns: Tensor, weights: Tensor, reference: Tensor, slope: Tensor) -> Valued:
    gap = returns - reference
    y = weights * gap
    least = y.amin(-1, keepdim=True)
    tied = (y == least).to(y)
    share = tied / tied.sum(-1, keepdim=True)
    return Valued(least[..., 0] + (slope * gap).sum(-1), weights * share + slope)


def soft_min(temperature: Parameter, weights: Parameter = 1.0, reference: Parameter = 0.0) -> Utility:
    """-temperature * log sum_i exp(-y_i / temperature): smooth, and by at most temperature * log m below min_i y_i.

    temperature: per policy, > 0, in the unit of y.
    """
    given = {
        "temperature": parameter("temperature", temperature, above=0),
        "weights": parameter("weights", weights, least=0),
        "reference": parameter("reference", reference),
    }
    return Utility("soft minimum", _soft_min, given)


def _soft_min(returns: Tensor, temperature: Tensor, weights: Tensor, reference: Tensor) -> Valued:
    low = -weights * (returns - reference) / temperature
    value = -temperature * low.logsumexp(-1, keepdim=True)
    return Valued(value[..., 0], weights * low.softmax(-1))


def ordered_average(ranks: Parameter, weights: Parameter = 1.0, reference: Parameter = 0.0) -> Utility:
    """sum_r v_r y_(r) with y_(1) <= y_(2) <= ...: weights v for ranks, the worst first.

    Objectives that tie get the mean weight of the ranks they share. Concave where v does not rise; other ranks are
    taken as they are. ranks: [m] or [P, m]. Source: Yager 1988, IEEE Transactions on Systems, Man and Cybernetics 18.
    """
    given = {
        "ranks": parameter("ranks", ranks),
        "weights": parameter("weights", weights, least=0),
        "reference": parameter("reference", reference),
    }
    return Utility("ordered average", _ordered, given)


def _ordered(returns: Tensor, ranks: Tensor, weights: Tensor, reference: Tensor) -> Valued:
    y = weights * (returns - reference)
    if ranks.shape[-1] != y.shape[-1]:
        raise ValueError(f"ranks has {ranks.shape[-1]} weights, the returns {y.shape[-1]} objectives; give one a rank")
    below = (y.unsqueeze(-1) > y.unsqueeze(-2)).sum(-1)  # objectives that are worse off
    tied = (y.unsqueeze(-1) == y.unsqueeze(-2)).sum(-1)
    sums = torch.nn.functional.pad(ranks.cumsum(-1), (1, 0)).expand(*y.shape[:-1], -1)
    share = (sums.gather(-1, (below + tied).clamp_max(y.shape[-1])) - sums.gather(-1, below)) / tied
    return Valued((share * y).sum(-1), weights * share)


def generalised_gini(ranks: Parameter, weights: Parameter = 1.0, reference: Parameter = 0.0) -> Utility:
    """An ordered average that never prefers inequality: the rank weights are positive and do not rise.

    Raises ValueError for others. Source: Weymark 1981, Mathematical Social Sciences 1(4).
    """
    v = parameter("ranks", ranks, above=0)
    if (v.diff() > 0).any():
        raise ValueError(f"ranks must not rise from the worst-off on, got {v.tolist()}; use ordered_average")
    return ordered_average(v, weights, reference)


def lorenz(shares: Parameter, weights: Parameter = 1.0, reference: Parameter = 0.0) -> Utility:
    """sum_k u_k L_k with L_k = y_(1) + ... + y_(k) the Lorenz vector: the ordered average of v_r = sum_{k >= r} u_k."""
    u = parameter("shares", shares, least=0)
    return ordered_average(u.flip(-1).cumsum(-1).flip(-1), weights, reference)


def lorenz_vector(returns: Tensor) -> Tensor:
    """Sums [..., m] of the k lowest of returns [..., m], k = 1, ..., m. Source: Shorrocks 1983, Economica 50."""
    return returns.sort(-1).values.cumsum(-1)
