"""Rules that weigh objectives by how their gradients lie to one another.

Everything they need is the Gram matrix K [P, m, m] of inner products of the gradients G [P, m, D] (ascent directions
of m channels), so they cost nothing in D. A rule answers weights [P, m]; the direction is their sum with the gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import torch
from torch import Generator, Tensor

from tradeoff.morl.simplex import least_on_simplex

Rule = Callable[[Tensor], Tensor]
"""Gram matrices [P, m, m] -> weights [P, m]."""

FLAT = 1e-10  # length, relative to the gradients', that counts as none
SHORTEST = 1e-6  # length, likewise, of the mixtures by which CAGrad looks for what still gains


def gram(gradients: Tensor) -> Tensor:
    """Inner products [P, m, m] of gradients [P, m, D], in double precision."""
    g = gradients.double()
    return g @ g.mT


def combined(weights: Tensor, gradients: Tensor) -> Tensor:
    """Direction [P, D] = sum of weights [P, m] times gradients [P, m, D]."""
    return torch.einsum("pm,pmd->pd", weights.to(gradients), gradients)


def without_silent(k: Tensor) -> Tensor:
    """K with channels that have no gradient at all taken for one at right angles to all others, as long as the longest.

    A zero gradient is the shortest convex sum of any, and would stop MGDA for the sake of a channel that nothing can
    raise. So replaced it leaves the others' weights in the proportions that they have without it.
    """
    size = k.diagonal(dim1=1, dim2=2)
    return k + torch.diag_embed(torch.where(size > 0, 0.0, size.amax(1, keepdim=True)).to(k))


def with_unit_gradients(rule: Rule) -> Rule:
    """The rule for gradients brought to length 1 first, so that no unit of reward decides. Zero ones get no weight."""

    def scaled(k: Tensor) -> Tensor:
        size = k.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
        inverse = torch.where(size > 0, 1 / size, 0.0)
        return rule(without_silent(k * inverse.unsqueeze(1) * inverse.unsqueeze(2))) * inverse

    return scaled


def mgda(k: Tensor) -> Tensor:
    """Weights on the simplex of the shortest direction: it raises every objective by at least its squared length.

    It is zero exactly where no direction raises them all.
    Source: Desideri 2012, Comptes Rendus Mathematique 350; Sener and Koltun 2018, arXiv:1810.04650.
    """
    return least_on_simplex(k, torch.zeros_like(k[:, 0]))


def random_order(m: int, generator: Generator) -> Tensor:
    """For each of m objectives the others in random order: [m, m - 1]."""
    orders = torch.stack([torch.randperm(m, generator=generator, device=generator.device) for _ in range(m)])
    return orders[orders != torch.arange(m, device=orders.device).unsqueeze(1)].view(m, m - 1)


def pcgrad(k: Tensor, order: Tensor | None = None) -> Tensor:
    """Each gradient loses, one after another, its part against every other one; the sum of what is left.

    order: [m, m - 1], for each objective the others in the order they are met (random in the source); None: by number.
    Source: Yu et al. 2020, arXiv:2001.06782, algorithm 1.
    """
    m = k.shape[1]
    if order is None:
        order = torch.tensor([[j for j in range(m) if j != i] for i in range(m)]).view(m, m - 1)
    total = torch.zeros_like(k[:, 0])
    for i in range(m):
        mix = torch.nn.functional.one_hot(torch.full((len(k),), i), m).to(k)
        for j in order[i].tolist():
            along = (mix * k[:, j]).sum(1)
            mix[:, j] -= torch.where(along < 0, along / k[:, j, j].clamp_min(1e-300), 0.0)
        total += mix
    return total


def cagrad(k: Tensor, reach: float = 0.5, *, sweeps: int = 100) -> Tensor:
    """Weights of the direction within reach * |g| of the mean gradient g that raises the worst-served objective most.

    The dual: minimise <g_w, g> + r |g_w| over w on the simplex, r = reach |g|. With |g_w| <= (|g_w|^2 / s + s) / 2,
    equal at s = |g_w|, that is a quadratic program in w for every s. The right s is where |g_w| / s, which falls, is 1,
    and the direction g + (r / s) g_w. Where nothing can be gained |g_w| / s stays below 1 down to the smallest s: the
    direction is then the nearest to g that lowers no objective.
    reach: in [0, 1); 0 is the mean gradient. Source: Liu et al. 2021, arXiv:2110.14048, algorithm 1, without rescaling.
    """
    if not 0 <= reach < 1:
        raise ValueError(f"reach must lie in [0, 1), got {reach}")
    unit = k.diagonal(dim1=1, dim2=2).double().mean(1).clamp_min(1e-300)
    k, even = k / unit[:, None, None], torch.full_like(k[:, 0], 1 / k.shape[1], dtype=torch.float64)
    if reach == 0:
        return even
    toward = (k @ even.unsqueeze(-1)).squeeze(-1)
    radius = reach * (even * toward).sum(1, keepdim=True).clamp_min(FLAT**2).sqrt()
    w = even

    def length(w: Tensor) -> Tensor:
        return (w * (k @ w.unsqueeze(-1)).squeeze(-1)).sum(1, keepdim=True).clamp_min(1e-300).sqrt()

    def excess(log_s: Tensor) -> Tensor:
        """log(|g_w| / s) [P, 1] for the w that belongs to s."""
        nonlocal w
        w = least_on_simplex(k, toward * log_s.exp() / radius)
        return length(w).log() - log_s

    longest = k.diagonal(dim1=1, dim2=2).amax(1, keepdim=True).clamp_min(SHORTEST**2).sqrt().log()
    log_s = falling_root(excess, torch.full_like(longest, log(SHORTEST)), longest, sweeps)
    added = radius / torch.maximum(log_s.exp(), length(w)) * w
    if (log_s > log(SHORTEST)).all():
        return even + added
    kept = _keeping(k, toward)
    fits = ((k @ (even + kept).unsqueeze(-1)).squeeze(-1) >= -FLAT).all(1, keepdim=True) & (length(kept) <= radius)
    return even + torch.where(fits & (log_s == log(SHORTEST)), kept, added)


def _keeping(k: Tensor, toward: Tensor) -> Tensor:
    """Least weights u >= 0 [P, m], of a sum up to 10 m, with the shortest g + g_u: no objective falls along that.

    The nearest such direction to g, without the large weights of gradients that cancel, which would drown the rest in
    rounding. toward: <g_i, g> [P, m].
    """
    most = 10 * k.shape[1]
    pad = torch.nn.functional.pad  # one more, zero, gradient takes what is left of the sum
    return most * least_on_simplex(most**2 * pad(k, (0, 1, 0, 1)), most * pad(toward, (0, 1)))[:, :-1]


def falling_root(f: Rule, low: Tensor, high: Tensor, sweeps: int) -> Tensor:
    """Where f(x) = log(something) - x, which falls, passes 0 between low and high, per row; else low.

    Secants, and the middle of what is left where they lead out of it. f is last asked at the answer.
    """
    before, at_before = low, f(low)
    none = at_before <= 0
    here = torch.where(none, low, (low + at_before).clamp(max=high))  # the answer if the something did not change
    for _ in range(sweeps):
        now = f(here)
        if (none | (now.abs() <= 1e-8) | (high - low <= 1e-12)).all():
            break
        low, high = torch.where(now > 0, here, low), torch.where(now > 0, high, here)
        guess = here - now * (here - before) / (now - at_before)
        inside = (guess > low) & (guess < high)
        before, at_before = here, now
        here = torch.where(none, before, torch.where(inside, guess, (low + high) / 2))
    else:
        f(here)
    return here


def nash(k: Tensor, *, sweeps: int = 100) -> Tensor:
    """Weights a > 0 with K a = 1 / a: the bargain that maximises the product of the objectives' gains.

    They minimise a' K a / 2 - sum log a, a self-concordant function, by damped Newton steps. The direction does not
    change with the units of the gradients; its length is sqrt(m). A channel without a gradient gets weight 0.
    Source: Navon et al. 2022, arXiv:2202.01017, claim 3.1.
    """
    return with_unit_gradients(lambda unit: _bargain(unit, sweeps))(k.double())


def _bargain(k: Tensor, sweeps: int) -> Tensor:
    h = k + FLAT * torch.eye(k.shape[1]).to(k)
    a = torch.ones_like(k[:, 0])
    for _ in range(sweeps):
        slope = (h @ a.unsqueeze(-1)).squeeze(-1) - 1 / a
        step = -torch.linalg.solve(h + torch.diag_embed(a**-2), slope)
        decrement = (-slope * step).sum(1, keepdim=True).clamp_min(0).sqrt()
        a = a + step / torch.where(decrement < 0.25, 1.0, 1 + decrement)
        if (decrement < 1e-12).all():
            break
    return a
