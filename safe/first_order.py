"""First-order solvers that need more than a weight per channel: P3O, FOCOPS, CUP, RCPO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ACTOR, CRITIC, ActorCritic, differentiate
from tradeoff.engine.estimators import FromBehaviour, Oracle, Plain
from tradeoff.engine.learner import Learner
from tradeoff.engine.rollout import EpisodeReturns
from tradeoff.engine.surrogates import Surrogate
from tradeoff.engine.trajectories import Batch, Trajectories
from tradeoff.safe.measuring import MeasuredReturns

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]  # (out, extra, log_ratio [P, n]) -> [P, n] to be maximised


def actor_gradient(model: ActorCritic, theta: Tensor, batch: Batch, objective: Objective) -> Tensor:
    """Gradient [P, 2, D] of the mean objective with respect to the actors, by autograd; the critics' rows are 0."""

    def value(actor: Tensor) -> Tensor:
        out, extra = model.outputs(model.network.layers(actor), batch.inputs)
        log_ratio = model.head.log_prob(out, extra, batch.action) - batch.log_prob
        return objective(out, extra, log_ratio).mean(-1).sum()

    (slope,) = differentiate(value, theta[:, ACTOR].contiguous())
    gradient = torch.zeros_like(theta)
    gradient[:, ACTOR] = slope
    return gradient


class ExactPenalty(Plain):
    """P3O: surrogate - penalty * sum_i max(0, L_i), L_i = mean max(r A_i, clip(r) A_i) + violation_i per step.

    A finite penalty above the largest multiplier has the constrained optimum itself as its maximum. `measured` says the
    violation; for endless discounted episodes its share per step is (1 - discount) (J_i - d_i), the paper's term.
    Source: Zhang et al. 2022, arXiv:2205.11814, eq. 12.
    """

    def __init__(self, model: ActorCritic, surrogate: Surrogate, measured: MeasuredReturns, penalty: float) -> None:
        """penalty: kappa [normalised advantage / cost]."""
        if not penalty > 0:
            raise ValueError(f"penalty must be positive, got {penalty}")
        self.model, self.surrogate, self.measured, self.penalty = model, surrogate, measured, penalty

    def gradient(self, theta: Tensor, batches: dict[str, Batch], oracle: Oracle) -> Tensor:
        """See Estimator.gradient."""
        batch = batches["current"]
        gradient = oracle(theta, batch)
        constraints = self.measured.constraints
        broken = self.measured.violation_per_step
        for i, (channel, sign) in enumerate(zip(constraints.index.tolist(), constraints.sign.tolist(), strict=True)):
            advantage = batch.advantages[..., channel]
            centred = batch._replace(advantage=-sign * (advantage - advantage.mean(1, keepdim=True)))
            relief, value = self.model.gradient(theta, centred, self.surrogate, 0.0, 0.0)
            active = (broken[:, i] - value > 0).to(theta.dtype)
            gradient = gradient + (self.penalty * active).view(-1, 1, 1) * relief
        return gradient


class FOCOPS(FromBehaviour):
    """Ascent on 1[KL <= radius] (ratio A / temperature - KL(policy || behaviour)), state by state.

    It pulls the policy towards behaviour * exp(A / temperature), the best one near the behaviour, A being the priced
    advantage of the scalarizer (a Lagrangian). Source: Zhang, Vuong and Ross 2020, arXiv:2002.06506, eq. 9.
    """

    def __init__(self, model: ActorCritic, temperature: float = 1.5, radius: float = 0.02) -> None:
        """temperature: lambda [normalised advantage / nat]; radius: eta [nat]."""
        if not temperature > 0 or not radius > 0:
            raise ValueError(f"temperature {temperature} and radius {radius} must be positive")
        self.model, self.temperature, self.radius = model, temperature, radius

    def gradient(self, theta: Tensor, batches: dict[str, Batch], oracle: Oracle) -> Tensor:
        """See Estimator.gradient."""
        batch, model = batches["current"], self.model
        old = model.outputs(model.actor(self.behaviour), batch.inputs)

        def objective(out: Tensor, extra: Tensor, log_ratio: Tensor) -> Tensor:
            divergence = model.head.divergence(out, extra, *old)
            near = (divergence <= self.radius).to(out.dtype).detach()
            return near * (log_ratio.exp() * batch.advantage / self.temperature - divergence)

        rest = oracle(theta, batch._replace(advantage=torch.zeros_like(batch.advantage)))  # critics, entropy
        return rest + actor_gradient(model, theta, batch, objective)


class Projection(Plain):
    """CUP's second stage: ascent on factor * ratio * A - KL(anchor || policy), A being minus the priced cost advantage.

    The critics go on learning.
    """

    def __init__(self, model: ActorCritic, factor: float | Tensor, anchor: Tensor) -> None:
        """factor: one, or one per policy [P, 1]; anchor: theta [P, 2, D] that the first stage ended at."""
        self.model, self.factor, self.anchor = model, factor, anchor

    def gradient(self, theta: Tensor, batches: dict[str, Batch], oracle: Oracle) -> Tensor:
        """See Estimator.gradient."""
        batch, model = batches["current"], self.model
        old = model.outputs(model.actor(self.anchor), batch.inputs)

        def objective(out: Tensor, extra: Tensor, log_ratio: Tensor) -> Tensor:
            gain = self.factor * log_ratio.exp() * batch.advantage
            return gain - model.head.divergence(*old, out, extra)

        gradient = actor_gradient(model, theta, batch, objective)
        gradient[:, CRITIC] = oracle(theta, batch)[:, CRITIC]
        return gradient


class CUP(Learner):
    """Two stages per turn: improve on the objectives alone, then project towards lower priced costs.

    The scalarizer is a Lagrangian; its weights on objectives rule the first stage, those on costs the second, times
    (1 - gamma gae_lambda) / (1 - gamma). Source: Yang et al. 2022, arXiv:2209.07089, algorithm 1. There 1 / (1 - gamma)
    is the discounted length of an endless episode; without a discount the measured length takes its place.
    """

    def __init__(self, *parts: Any, **named: Any) -> None:
        """parts, named: as for Learner."""
        super().__init__(*parts, **named)
        self.lengths = EpisodeReturns(self.config.gamma)

    def prepare(self, data: Trajectories, weights: Tensor) -> Batch:
        """See Learner.prepare; what costs weigh waits for the second stage."""
        m, one = data.reward.shape[-1], torch.ones_like(data.reward[..., :1])
        self.costs = torch.cat([torch.zeros_like(weights[:, :m]), weights[:, m:]], -1)
        found = self.lengths.update(data._replace(reward=one, cost=one[..., :0]))
        self.factor = (1 - self.config.gamma * self.config.gae_lambda) * self._length(found, len(one))
        return super().prepare(data, weights - self.costs)

    def _length(self, measured: Tensor, steps: int) -> Tensor:
        """1 / (1 - gamma) [P, 1]; without a discount the length of an episode, or of a rollout where none has ended."""
        gamma = self.config.gamma
        if gamma < 1:
            return torch.full_like(measured, 1 / (1 - gamma))
        return torch.where(measured.isnan(), float(steps), measured)

    def _climb(self, batches: dict[str, Batch], rate: float) -> Tensor:
        objective = super()._climb(batches, rate)
        if not self.costs.any():
            return objective
        batch = batches["current"]
        advantages = batch.advantages - batch.advantages.mean(1, keepdim=True)
        priced = (advantages * self.costs.unsqueeze(1)).sum(-1)
        first = self.estimator
        self.estimator = Projection(self.model, self.factor, self.population.theta.clone())
        super()._climb({"current": batch._replace(advantage=priced)}, rate)
        self.estimator = first
        return objective

    def state_dict(self) -> dict[str, Any]:
        """See Loop.state_dict."""
        return super().state_dict() | {"lengths": self.lengths.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Loop.load_state_dict."""
        super().load_state_dict(state)
        self.lengths.load_state_dict(state.get("lengths", {}))  # checkpoints of earlier versions have none


class PenalisedCritic(Learner):
    """RCPO: one critic of the weighted sum of all channels, where the others keep one per channel.

    The critic follows the prices, so it must be the fastest of three: critics above actors above multipliers.
    Source: Tessler, Mankowitz and Mannor 2019, arXiv:1805.11074, eq. 8 and algorithm 1.
    """

    def prepare(self, data: Trajectories, weights: Tensor) -> Batch:
        """See Learner.prepare."""
        paid = torch.zeros_like(data.channels)
        paid[..., 0] = (data.channels * weights.unsqueeze(1)).sum(-1)
        m = data.reward.shape[-1]
        first = torch.zeros_like(weights)
        first[:, 0] = 1.0
        return super().prepare(data._replace(reward=paid[..., :m], cost=paid[..., m:]), first)
