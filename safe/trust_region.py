"""Steps inside a ball of mean KL divergence: TRPO, CPO and PCPO, for any number of constraints.

At theta the problem is replaced by max g.x subject to c_i + b_i.x <= 0 and x'Hx / 2 <= radius, H being the Hessian of
the mean divergence. The pure functions below solve it from a few inner products; shapes: P policies, j constraints, D
parameters of an actor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ACTOR, ActorCritic
from tradeoff.engine.learner import Learner
from tradeoff.engine.natural import conjugate_gradients
from tradeoff.engine.trajectories import Batch
from tradeoff.safe.measuring import MeasuredReturns

SLACK = 1e-9  # rounding that a constraint or a multiplier is forgiven


class Local(NamedTuple):
    """The quadratic problem at theta."""

    g: Tensor  # [P, D] gradient of the objective
    b: Tensor  # [P, j, D] gradients of the violations
    c: Tensor  # [P, j] violations
    ig: Tensor  # [P, D] H^-1 g
    ib: Tensor  # [P, j, D] H^-1 b
    radius: float  # [nat]


StepRule = Callable[[Local], Tensor]


def trpo_step(local: Local) -> Tensor:
    """sqrt(2 radius / g'H^-1 g) H^-1 g [P, D]; zero where the gradient is. The constraints are not looked at.

    Source: Schulman et al. 2015, arXiv:1502.05477, appendix C.
    """
    return _scaled(local.ig, (local.g * local.ig).sum(-1), local.radius)


def cpo_step(local: Local) -> Tensor:
    """Solution [P, D] of the local problem; where it has none, the recovery step down the broken constraints.

    For every set of constraints that may be tight the solution is written down, and the one that satisfies all
    conditions of optimality is taken: exact for any j, in 2^j small systems.
    Source: Achiam et al. 2017, arXiv:1705.10528, eq. 11 to 14, there for one constraint.
    """
    s, r = _products(local)
    q = (local.g * local.ig).sum(-1)
    found, solved = recovery_step(local), torch.zeros_like(q, dtype=torch.bool)
    for tight in _subsets(local.c.shape[1]):
        inverse = torch.linalg.pinv(s[:, tight][:, :, tight], hermitian=True)
        c, pull = local.c[:, tight], (inverse @ r[:, tight].unsqueeze(-1)).squeeze(-1)
        lift = (inverse @ c.unsqueeze(-1)).squeeze(-1)
        room, along = 2 * local.radius - (c * lift).sum(-1), q - (r[:, tight] * pull).sum(-1)
        step = (room.clamp_min(0.0) / along.clamp_min(1e-20)).sqrt()  # one over the multiplier of the ball
        step = torch.where(along > 1e-12 * q, step, 0.0)
        price = pull * step.unsqueeze(-1) + lift
        x = step.unsqueeze(-1) * local.ig - (price.unsqueeze(-1) * local.ib[:, tight]).sum(1)
        scale = local.c.abs().amax(-1, keepdim=True) if local.c.shape[1] else local.c
        kept = (local.c + (local.b * x.unsqueeze(1)).sum(-1) <= 1e-5 * scale + SLACK).all(-1)
        good = (room >= 0) & (price >= -SLACK).all(-1) & kept & ~solved
        found, solved = torch.where(good.unsqueeze(-1), x, found), solved | good
    return found


def pcpo_step(local: Local) -> Tensor:
    """The TRPO step, then its projection in the metric H onto the half-spaces c_i + b_i.x <= 0 [P, D].

    Source: Yang et al. 2020, arXiv:2010.03152, eq. 5 and 6, there for one constraint.
    """
    first = trpo_step(local)
    s, _ = _products(local)
    over = local.c + (local.b * first.unsqueeze(1)).sum(-1)  # violations after the first half of the step
    found, solved = first, (over <= SLACK).all(-1)
    for tight in _subsets(local.c.shape[1])[1:]:
        price = (torch.linalg.pinv(s[:, tight][:, :, tight], hermitian=True) @ over[:, tight].unsqueeze(-1)).squeeze(-1)
        left = over - (s[:, :, tight] @ price.unsqueeze(-1)).squeeze(-1)
        good = (price >= -SLACK).all(-1) & (left <= 1e-5 * over.abs().amax(-1, keepdim=True) + SLACK).all(-1) & ~solved
        x = first - (price.unsqueeze(-1) * local.ib[:, tight]).sum(1)
        found, solved = torch.where(good.unsqueeze(-1), x, found), solved | good
    return found


def recovery_step(local: Local) -> Tensor:
    """Down the sum of the broken constraints, each weighed by its violation, to the rim of the ball [P, D].

    One constraint: -sqrt(2 radius / b'H^-1 b) H^-1 b. Source: Achiam et al. 2017, arXiv:1705.10528, eq. 14.
    """
    broken = local.c.clamp_min(0.0).unsqueeze(-1)
    b, ib = (broken * local.b).sum(1), (broken * local.ib).sum(1)
    return -_scaled(ib, (b * ib).sum(-1), local.radius)


def _products(local: Local) -> tuple[Tensor, Tensor]:
    """b'H^-1 b [P, j, j] and b'H^-1 g [P, j]."""
    s = local.b @ local.ib.mT
    return (s + s.mT) / 2, (local.ib * local.g.unsqueeze(1)).sum(-1)


def _scaled(x: Tensor, curved: Tensor, radius: float) -> Tensor:
    """x [P, D] brought to the rim of the ball, given x'Hx [P]; zero stays zero."""
    scale = (2 * radius / curved.clamp_min(1e-30)).sqrt()
    return torch.where(curved > 1e-30, scale, 0.0).unsqueeze(-1) * x


def _subsets(j: int) -> list[list[int]]:
    """All sets of constraints, the empty one first."""
    if j > 8:
        raise ValueError(f"{j} constraints make {2**j} cases; give at most 8, or use a dual method")
    return [list(chosen) for size in range(j + 1) for chosen in combinations(range(j), size)]


def curvature(model: ActorCritic, theta: Tensor, inputs: Tensor, damping: float) -> Callable[[Tensor], Tensor]:
    """v [P, 1, D] -> (H + damping) v, H the Hessian of the mean KL(policy || theta's policy) at theta."""
    with torch.enable_grad():
        actor = theta[:, ACTOR].detach().clone().requires_grad_()
        out, extra = model.outputs(model.network.layers(actor), inputs)
        divergence = model.head.divergence(out, extra, out.detach(), extra.detach()).mean(-1).sum()
        (slope,) = torch.autograd.grad(divergence, actor, create_graph=True)

    def product(v: Tensor) -> Tensor:
        (image,) = torch.autograd.grad((slope * v.squeeze(1)).sum(), actor, retain_graph=True)
        return image.unsqueeze(1) + damping * v

    return product


@dataclass(frozen=True, kw_only=True)
class Ball:
    """How far a step goes and how it is found."""

    radius: float = 0.01  # largest mean KL divergence of a step [nat]
    damping: float = 0.01  # added to the curvature
    iterations: int = 10  # of conjugate gradients
    samples: int = 1000  # that the curvature is averaged over, evenly spaced; products with it are what costs time
    backtracks: int = 10  # shorter steps that are tried
    shorten: float = 0.8  # factor between them, in (0, 1)

    def __post_init__(self) -> None:
        if not self.radius > 0 or not self.damping >= 0 or not 0 < self.shorten < 1:
            raise ValueError(f"radius > 0, damping >= 0 and shorten in (0, 1) needed, got {self}")
        if min(self.iterations, self.samples) < 1 or self.backtracks < 0:
            raise ValueError(f"iterations, samples >= 1 and backtracks >= 0 needed, got {self}")


class TrustRegion(Learner):
    """One step of the actors per turn, by a rule inside the ball and a line search; the critics learn as ever.

    `rate` multiplies the radius squared. The weights of the scalarizer make the objective. `trpo_step` with a
    Lagrangian is TRPO-Lagrangian: its limits are in the weights, and a step that gains by them is taken though it
    breaks one, so it is given no `measured`. `cpo_step` and `pcpo_step` read the limits from there and want weights on
    objectives only.
    """

    def __init__(self, *parts: Any, measured: MeasuredReturns | None, rule: StepRule, ball: Ball, **named: Any) -> None:
        """parts, named: as for Learner."""
        super().__init__(*parts, **named)
        self.measured, self.rule, self.ball = measured, rule, ball

    def _climb(self, batches: dict[str, Batch], rate: float) -> Tensor:
        self._move(batches["current"], replace(self.ball, radius=self.ball.radius * rate**2))
        return super()._climb(batches, rate)

    def _oracle(self, objectives: list[Tensor]) -> Any:
        inner = super()._oracle(objectives)

        def oracle(theta: Tensor, batch: Batch) -> Tensor:
            gradient = inner(theta, batch)
            gradient[:, ACTOR] = 0.0
            return gradient

        return oracle

    def _move(self, batch: Batch, ball: Ball) -> None:
        theta = self.population.theta
        costs, violation = self._limits(batch.advantages)
        batch = batch._replace(advantages=torch.cat([batch.advantage.unsqueeze(-1), costs], -1))
        local = local_problem(self.model, theta, batch, violation, ball)
        theta[:, ACTOR] += line_search(self.model, theta, batch, local, self.rule(local), ball)

    def _limits(self, advantages: Tensor) -> tuple[Tensor, Tensor]:
        """Advantages [P, n, j] and values [P, j] of the violations that a step has to mind."""
        if self.measured is None:
            return advantages[..., :0], advantages[:, 0, :0]
        c = self.measured.constraints
        centred = advantages - advantages.mean(1, keepdim=True)
        return centred[..., c.index] * c.sign.float(), self.measured.violation_per_step


def local_problem(model: ActorCritic, theta: Tensor, batch: Batch, violation: Tensor, ball: Ball) -> Local:
    """The quadratic problem at theta; batch.advantages [P, n, 1 + j] are of the objective and of the violations."""
    gradients = model.channel_gradients(theta, batch)
    every = -(-batch.log_prob.shape[1] // ball.samples)
    product = curvature(model, theta, batch.inputs[:, ::every], ball.damping)
    solved = torch.cat(
        [conjugate_gradients(product, row.unsqueeze(1), ball.iterations) for row in gradients.unbind(1)], 1
    )
    return Local(gradients[:, 0], gradients[:, 1:], violation, solved[:, 0], solved[:, 1:], ball.radius)


@torch.no_grad()
def line_search(model: ActorCritic, theta: Tensor, batch: Batch, local: Local, step: Tensor, ball: Ball) -> Tensor:
    """The longest of the shortened steps [P, D] that stays in the ball, worsens no broken limit, breaks no other, and
    gains something (unless a limit is broken, when keeping it comes first); zero where none does."""
    inputs, head = batch.inputs, model.head
    old = model.outputs(model.actor(theta), inputs)
    accepted, taken = torch.zeros(len(step), dtype=torch.bool, device=step.device), torch.zeros_like(step)
    feasible, share = (local.c <= 0).all(-1), 1.0
    for _ in range(ball.backtracks + 1):
        now = model.outputs(model.network.layers(theta[:, ACTOR] + share * step), inputs)
        ratio = (head.log_prob(*now, batch.action) - batch.log_prob).exp()
        change = (ratio.unsqueeze(-1) * batch.advantages).mean(1) - batch.advantages.mean(1)
        near = head.divergence(*now, *old).mean(-1) <= 1.05 * ball.radius
        kept = (local.c + change[:, 1:] <= local.c.clamp_min(0.0) + 1e-6).all(-1)
        fits = near & kept & ((change[:, 0] >= 0) | ~feasible) & ~accepted
        taken, accepted = torch.where(fits.unsqueeze(-1), share * step, taken), accepted | fits
        if accepted.all():
            break
        share *= ball.shorten
    return taken
