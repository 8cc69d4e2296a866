"""Constrained variational policy optimisation: the best feasible reweighting of actions, then a fit to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from tradeoff.engine.soft import EPS, Sample, SoftLearner
from tradeoff.engine.soft_critics import Critics
from tradeoff.engine.soft_head import SoftCategorical, StateGaussian
from tradeoff.engine.trajectories import Trajectories
from tradeoff.engine.unread import refuse_unread
from tradeoff.engine.updates import Adam
from tradeoff.safe.constraints import Constraints
from tradeoff.safe.foresight import AveragedReturns
from tradeoff.safe.soft_solvers import SoftParts

NARROW = 1e-3  # least temperature of the reweighting, in typical steps of the objectives


class Actions(NamedTuple):
    """K actions per state, to be reweighed."""

    value: Tensor  # [P, n, K, c] cautious
    sampled: Tensor | None = None  # [P, n, K, a] before squashing; None: all options of a choice
    prior: Tensor | None = None  # [P, n, K] log-chances; None: equal ones, as of samples


class Reweighted(NamedTuple):
    """A distribution over K actions per state, and the slope of the dual function at its prices."""

    weight: Tensor  # [P, n, K], sums to 1 over K
    d_temperature: Tensor  # [P, 1]
    d_price: Tensor  # [P, j] minus how much the reweighted costs exceed the limit


def reweigh(
    gain: Tensor, cost: Tensor, limit: Tensor, temperature: Tensor, price: Tensor, radius: float,
    prior: Tensor | None = None,
) -> Reweighted:  # fmt: skip
    """Weights proportional to exp(prior + (gain - price . cost) / temperature), best within limits and a divergence.

    The dual function temperature * radius + price . limit + temperature * mean_s log sum_k exp(prior + (gain - price .
    cost) / temperature) is convex; where it is least the weights maximise the mean gain subject to mean cost <= limit
    and mean KL from the prior <= radius.

    Args:
        gain: [P, n, K] value of the objectives of K actions in each of n states.
        cost: [P, n, K, j] of the constrained channels.
        limit: [P, j], or [1, j].
        temperature: [P, 1] > 0.
        price: [P, j] >= 0.
        radius: largest mean divergence [nats].
        prior: [P, n, K] log-chances; None: 1 / K each, as of samples.

    Source: Liu et al. 2022, arXiv:2201.11927, eq. 6 and 8.
    """
    score = (gain - (cost * price[:, None, None]).sum(-1)) / temperature.unsqueeze(-1)
    tilted = score if prior is None else score + prior
    weight, mean = tilted.softmax(-1), tilted.logsumexp(-1)
    if prior is None:
        mean = mean - torch.log(score.new_tensor(score.shape[-1]))
    excess = (weight * score).sum(-1)
    paid = (weight.unsqueeze(-1) * cost).sum(2).mean(1)
    return Reweighted(weight, radius + (mean - excess).mean(1, keepdim=True), limit - paid)


class Fit(NamedTuple):
    """Ascent direction of a weighted fit, and how far mean and spread went from those that sampled."""

    d_out: Tensor  # [P, n, outputs]
    apart: Tensor  # [P, 2] mean divergence by the means, or of the choices, and by the spreads [nats]


def fit(head: StateGaussian, out: Tensor, old: Tensor, action: Tensor, weight: Tensor, price: Tensor) -> Fit:
    """Slope in `out` of sum_k weight log-density - price . divergence, means and spreads apart.

    Means are fitted with the spreads that sampled and spreads around the means that sampled, so that neither feeds the
    other. Source: Abdolmaleki et al. 2018, arXiv:1812.02256, section 4.

    Args:
        out, old: [P, n, 2 a] outputs of the actor and of the one that sampled.
        action: [P, n, K, a] before squashing.
        weight: [P, n, K] that sums to 1 over K.
        price: [P, 2] of the two divergences.
    """
    mean, spread = head.split(out)
    old_mean, old_spread = head.split(old)
    by_mean, by_spread = price.view(-1, 2, 1, 1).unbind(1)
    inverse, shrunk = (-2 * old_spread).exp(), (2 * (old_spread - spread)).exp()
    moved, weight = mean - old_mean, weight.unsqueeze(-1)
    gap = action - old_mean.unsqueeze(2)
    d_mean = ((weight * gap).sum(2) - moved - by_mean * moved) * inverse
    d_spread = (weight * gap.square()).sum(2) * (-2 * spread).exp() - 1 - by_spread * (1 - shrunk)
    apart = [0.5 * (moved.square() * inverse).sum(-1), (spread - old_spread + 0.5 * (shrunk - 1)).sum(-1)]
    return Fit(torch.cat([d_mean, d_spread], -1), torch.stack(apart, -1).mean(1))


def fit_choices(out: Tensor, old: Tensor, weight: Tensor, price: Tensor) -> Fit:
    """Slope in `out` of sum_a weight log p(a) - price . divergence, for all options a of a choice.

    out, old, price: as in `fit`, [P, n, A] both; weight: [P, n, A]. The second divergence is 0.
    """
    log_p, log_old = out.log_softmax(-1), old.log_softmax(-1)
    p, was = log_p.exp(), log_old.exp()
    apart = (was * (log_old - log_p)).sum(-1).mean(1)
    return Fit(weight - p + price[:, :1, None] * (was - p), torch.stack([apart, torch.zeros_like(apart)], -1))


class VariationalLearner(SoftLearner):
    """Actors fit the best reweighting of actions that slowly following actors sample; prices solve its dual.

    Critics say how much the reweighted actions cost more than those that were measured, finished episodes say how much
    more they may cost: a mean over the last iterations, whose policies one actor with the same mean of their parameters
    stands for. Both values are of the same critics at the same steps, so that neither their discount, nor what they
    still lack of their level, nor whether they look beyond an end matters.
    """

    def __init__(self, *arguments: Any, settings: CVPO, limits: AveragedReturns, **named: Any) -> None:
        """limits: says how much more actions may cost."""
        super().__init__(*arguments, **named)
        self.settings, self.limits = settings, limits
        policies, count, device = len(self.population), len(limits.constraints), self.theta.device
        self.old = self.population.theta.clone()  # [P, 1, D] the actors that sample
        self.averaged = self.population.theta.clone()  # [P, 1, D] of the iterations that `limits` averages
        self.held = torch.zeros(policies, 2, device=device)  # prices of the divergences
        self.dual = torch.zeros(policies, 1, 1 + count, device=device)  # log temperature, prices; typical steps
        self.units = torch.ones(policies, 1, device=device), torch.ones(policies, count, device=device)
        self.dual_rule = Adam(settings.rate, eps=EPS)
        self.moments["dual"] = self.dual_rule.init(self.dual)

    def _estimate(self, data: dict[str, Trajectories]) -> Tensor:
        """See Loop._estimate; the averaged actors follow."""
        found = super()._estimate(data)
        self.averaged.lerp_(self.population.theta, self.limits.share.unsqueeze(-1).to(self.averaged))
        return found

    def _act(self, sample: Sample, weights: Tensor, rate: float) -> Tensor:
        """See SoftLearner._act: reweigh, then fit."""
        sampled = self.model.outputs(self.model.actor(self.old), sample.inputs)[0]
        actions = self._actions(sample, sampled)
        channels = actions.value[..., 1:] * self.scale[:, None, None, 1 : self.critics.columns]
        gain = (channels * weights[:, None, None]).sum(-1)
        constraints = self.limits.constraints
        sign, index = constraints.sign.float(), constraints.index
        steps = self.scale[:, 1 : self.critics.columns]
        self.units = (weights.abs() * steps).sum(1, keepdim=True), steps[:, index]
        own, limited = (torch.where(unit > 0, 1 / unit, 0.0) for unit in self.units)
        allowed = (self._expected(sample, sampled, actions) * steps)[:, index] + self.limits.room.float()
        cost, limit = channels[..., index] * (sign * limited)[:, None, None], sign * allowed * limited
        found = self._solve(gain * own.unsqueeze(-1), cost, limit, actions.prior)
        tape = self._outputs(sample.inputs)
        step = self._fit(tape[-1], sampled, actions.sampled, found.weight)
        radii = step.apart.new_tensor([self.settings.by_mean, self.settings.by_spread])
        self.held = (self.held + self.settings.hold * (step.apart / radii - 1)).clamp_(min=0.0)
        self._climb(tape, step.d_out / self.config.batch, rate)
        self.old.lerp_(self.population.theta, self.config.polyak)
        return (found.weight * gain).sum(-1).mean(1)

    def _expected(self, sample: Sample, sampled: Tensor, actions: Actions) -> Tensor:
        """Mean value [P, m + k] of the averaged actors' actions; of samples one per step, and one of the same noise."""
        averaged = self.model.outputs(self.model.actor(self.averaged), sample.inputs)[0]
        if actions.prior is not None:
            return (actions.value * averaged.softmax(-1).unsqueeze(-1)).sum(2).mean(1)[:, 1:]
        drawn = (self.head.draw(out, sample.noise[1]).action for out in (averaged, sampled))
        one, other = (self.critics.judge(self.theta, sample.inputs, action)[0] for action in drawn)
        return (actions.value.mean(2) + one - other).mean(1)[:, 1:]

    def _actions(self, sample: Sample, sampled: Tensor) -> Actions:
        """What the states' actions are reweighed among: all options of a choice, or K samples."""
        if isinstance(self.head, SoftCategorical):
            return Actions(self.critics.each(self.theta, sample.inputs), prior=sampled.log_softmax(-1))
        size = (*sampled.shape[:2], self.settings.actions)
        noise = self.head.noise(size, self.generator)
        mean, spread = self.head.split(sampled)
        action = mean.unsqueeze(2) + spread.exp().unsqueeze(2) * noise
        inputs = sample.inputs.unsqueeze(2).expand(*size, -1)
        pairs = torch.cat([inputs, action.tanh()], -1).flatten(1, 2)
        value = self.critics.read(self.critics.forward(self.theta, pairs).values)[0]
        return Actions(value.unflatten(1, size[1:]), action)

    def _fit(self, out: Tensor, old: Tensor, sampled: Tensor | None, weight: Tensor) -> Fit:
        """See `fit` and `fit_choices`."""
        if isinstance(self.head, StateGaussian) and sampled is not None:
            return fit(self.head, out, old, sampled, weight, self.held)
        return fit_choices(out, old, weight, self.held)

    def _solve(self, gain: Tensor, cost: Tensor, limit: Tensor, prior: Tensor | None = None) -> Reweighted:
        """A few steps down the dual function from where the last update left it, then the weights."""
        for _ in range(self.settings.descents):
            temperature, price = self.prices
            found = reweigh(gain, cost, limit, temperature, price, self.settings.radius, prior)
            known = found.d_price.where(~limit.isnan(), 0.0)  # no episode has ended: no price moves
            slope = torch.cat([found.d_temperature * temperature, known], 1).unsqueeze(1)
            self.dual_rule.step(self.dual, -slope, self.moments["dual"])
            own, limited = self.units
            most = self.settings.bound * limited / own.clamp_min(torch.finfo(own.dtype).tiny)
            self.dual[:, 0, 1:] = self.dual[:, 0, 1:].clamp_min(0.0).minimum(most)
        return reweigh(gain, cost, limit, *self.prices, self.settings.radius, prior)

    @property
    def prices(self) -> tuple[Tensor, Tensor]:
        """Temperature [P, 1] of the reweighting and prices [P, j] of the limits, in typical steps of the channels."""
        return self.dual[:, 0, :1].exp().clamp(min=NARROW), self.dual[:, 0, 1:]

    def _report(self) -> dict[str, Tensor]:
        """See Loop._report."""
        (temperature, price), (own, limited) = self.prices, self.units
        raw = torch.where(limited > 0, price * own / torch.where(limited > 0, limited, 1.0), 0.0)
        return super()._report() | {"temperature": (temperature * own).flatten(), "multiplier": raw}

    def state_dict(self) -> dict[str, Any]:
        """See Loop.state_dict."""
        return super().state_dict() | {
            "old": self.old, "averaged": self.averaged, "held": self.held, "dual": self.dual, "units": self.units,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Loop.load_state_dict."""
        super().load_state_dict(state)
        self.old, self.held, self.dual = state["old"], state["held"], state["dual"]
        self.units = tuple(state.get("units", self.units))  # checkpoints of earlier versions have none,
        self.averaged = state.get("averaged", self.population.theta.clone())  # nor this


@dataclass(frozen=True, kw_only=True)
class CVPO:
    """Constrained variational policy optimisation: solves for the best feasible actions, then imitates them."""

    name: ClassVar[str] = "cvpo"
    unread: ClassVar[tuple[str, ...]] = ("temperature", "temperature_rate", "entropy", "choice_entropy")
    by_critics: ClassVar[bool] = False
    actions: int = 16  # sampled per state; of choices all are judged
    radius: float = 0.1  # largest mean divergence of the reweighting [nats]
    by_mean: float = 0.01  # largest mean divergence of the fit by its means, or of its choices [nats]
    by_spread: float = 0.001  # and by its spreads, where actions are numbers [nats]
    hold: float = 0.01  # rate of the prices of those divergences, per relative excess
    descents: int = 2  # steps down the dual function, per update
    rate: float = 0.01  # learning rate of those steps
    bound: float = 1e3  # ceiling of the prices

    def __post_init__(self) -> None:
        for name in ("actions", "descents"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("radius", "by_mean", "by_spread", "hold", "rate", "bound"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def critics(self, shape: dict[str, Any]) -> Critics:
        """See SoftSolver.critics."""
        if shape["options"]:
            refuse_unread(self, ["actions", "by_spread"], "actions are choices: all are judged, and none has a spread")
        return Critics(**shape)

    def measured(self, constraints: Constraints, gamma: float, patience: int) -> AveragedReturns:
        """See SoftSolver.measured."""
        return AveragedReturns(constraints, patience)

    def learner(self, parts: SoftParts) -> SoftLearner:
        """See SoftSolver.learner."""
        return parts.learner(parts.base, VariationalLearner, settings=self, limits=parts.measured)
