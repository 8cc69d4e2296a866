"""Steps inside a ball of mean KL divergence: the learner of TRPO, CPO and PCPO. See `safe.quadratic_model`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ACTOR, ActorCritic
from tradeoff.engine.learner import Learner
from tradeoff.engine.natural import conjugate_gradients
from tradeoff.engine.trajectories import Batch
from tradeoff.safe.measuring import MeasuredReturns
from tradeoff.safe.quadratic_model import Local, StepRule

ROUNDING = 1e-6  # share of the terms that a mean is made of by which it may be missed


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
    images = torch.cat([product(row.unsqueeze(1)) for row in solved.unbind(1)], 1)
    gram = solved.double() @ images.double().mT
    return Local(gradients[:, 0], gradients[:, 1:], violation, solved[:, 0], solved[:, 1:], ball.radius, gram)


@torch.no_grad()
def line_search(model: ActorCritic, theta: Tensor, batch: Batch, local: Local, step: Tensor, ball: Ball) -> Tensor:
    """The longest of the shortened steps [P, D] that stays in the ball, worsens no broken limit, breaks no other, and
    gains something (unless a limit is broken, when keeping it comes first); zero where none does."""
    inputs, head = batch.inputs, model.head
    old = model.outputs(model.actor(theta), inputs)
    accepted, taken = torch.zeros(len(step), dtype=torch.bool, device=step.device), torch.zeros_like(step)
    feasible, share = (local.c <= 0).all(-1), 1.0
    slack = ROUNDING * (local.c.abs() + batch.advantages[..., 1:].abs().mean(1))
    for _ in range(ball.backtracks + 1):
        now = model.outputs(model.network.layers(theta[:, ACTOR] + share * step), inputs)
        ratio = (head.log_prob(*now, batch.action) - batch.log_prob).exp()
        change = (ratio.unsqueeze(-1) * batch.advantages).mean(1) - batch.advantages.mean(1)
        near = head.divergence(*now, *old).mean(-1) <= 1.05 * ball.radius
        kept = (local.c + change[:, 1:] <= local.c.clamp_min(0.0) + slack).all(-1)
        fits = near & kept & ((change[:, 0] >= 0) | ~feasible) & ~accepted
        taken, accepted = torch.where(fits.unsqueeze(-1), share * step, taken), accepted | fits
        if accepted.all():
            break
        share *= ball.shorten
    return taken
