"""Natural gradients: F^-1 g by conjugate gradients on products of the Fisher matrix F with vectors, never F itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.curvature import slopes
from tradeoff.engine.episodes import Episodes
from tradeoff.engine.episodic import Precondition
from tradeoff.engine.scores import linearise
from tradeoff.engine.updates import norms


def fisher_product(model: ActorCritic, theta: Tensor, episodes: Episodes, direction: Tensor) -> Tensor:
    """F direction [P, 2, D], F being the mean of score score' over the steps of the samples, in which theta must act.

    Memory and time of a gradient, whatever the number of parameters.
    """
    alive = episodes.alive
    share = alive.shape[2] / alive.sum((0, 2), keepdim=True).to(
        theta.dtype
    )  # from a mean over trajectories to one over steps
    _, pull = linearise(model, theta, episodes)
    return pull(slopes(model, theta, direction, episodes) * share)


def conjugate_gradients(product: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """Solve A x = b for each policy, given x -> A x with A symmetric and positive definite; b [P, G, D].

    Exact after as many iterations as A has distinct eigenvalues; a policy with b = 0 gets x = 0. The unit of b does not
    matter: squares of very small or large numbers are avoided by a power of two.
    """
    exponent = torch.frexp(b.abs().amax((1, 2), keepdim=True)).exponent
    b = torch.ldexp(b, -exponent)
    x, rest, way = torch.zeros_like(b), b.clone(), b.clone()
    size, enough = _dot(rest, rest), 1e-20 * _dot(b, b)
    for _ in range(iterations):
        image = product(way)
        going = size > enough
        step = torch.where(going, size / torch.where(going, _dot(way, image), 1.0), 0.0)
        x, rest = x + step * way, rest - step * image
        size, before = _dot(rest, rest), size
        way = rest + torch.where(going, size / torch.where(going, before, 1.0), 0.0) * way
    return torch.ldexp(x, exponent)


def natural(damping: float = 0.1, iterations: int = 10, divergence: float | None = None) -> Precondition:
    """Turn a direction g into (F + damping)^-1 g; give the result to `episodic_learner` as `precondition`.

    divergence: if given, the direction x is scaled to x sqrt(2 divergence / x' (F + damping) x), which moves the policy
    by about this mean KL divergence [nats] at learning rate 1; a zero gradient stays zero.
    Source: Kakade 2001; Schulman et al. 2015, arXiv:1502.05477, appendix C, without its line search.
    """
    if damping < 0 or iterations < 1 or (divergence is not None and not divergence > 0):
        raise ValueError(f"damping {damping} >= 0, iterations {iterations} >= 1 and divergence {divergence} > 0 needed")

    def precondition(model: ActorCritic, theta: Tensor, episodes: Episodes, direction: Tensor) -> Tensor:
        def product(v: Tensor) -> Tensor:
            return fisher_product(model, theta, episodes, v) + damping * v

        found = conjugate_gradients(product, direction, iterations)
        if divergence is None:
            return found
        unit = found / norms(found).clamp_min(torch.finfo(found.dtype).tiny)
        curved = _dot(unit, product(unit))
        return torch.where(curved > 0, unit * (2 * divergence / curved).sqrt(), 0.0)

    return precondition


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Inner product per policy [P, 1, 1]."""
    return (x * y).sum((1, 2), keepdim=True)
