"""The constrained solvers by name: each says which parts of the engine it puts together.

A solver is a frozen dataclass of its own settings; `constrained_learner` joins it to an environment and its limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import make_head
from tradeoff.engine.learner import Learner, LearnerConfig, fresh_population
from tradeoff.engine.numbers import NotNegative, Positive
from tradeoff.engine.population import Population
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.scalarizers import Scalarizer, weighing
from tradeoff.engine.surrogates import Surrogate, importance_weighted, ppo_clip, score_function
from tradeoff.engine.unread import refuse_unread
from tradeoff.engine.updates import Adam
from tradeoff.envs.protocol import VectorEnv
from tradeoff.safe.constraints import Constraint, bind
from tradeoff.safe.duals import PID, DualRule, Gain, Lagrangian, OptimisticAscent, augmented, projected_ascent
from tradeoff.safe.first_order import CUP, FOCOPS, ExactPenalty, PenalisedCritic
from tradeoff.safe.measuring import MeasuredReturns
from tradeoff.safe.optimism import OptimisticWeights
from tradeoff.safe.pricing import Prices
from tradeoff.safe.primal import LogBarrier, Switch
from tradeoff.safe.quadratic_model import StepRule, cpo_step, pcpo_step, trpo_step
from tradeoff.safe.trust_region import Ball, TrustRegion

PolicyStep = Literal["ppo", "trust-region", "importance", "score"]
SURROGATES: dict[str, Surrogate] = {"importance": importance_weighted, "score": score_function}


BY_CURVATURE = ("entropy", "clip", "divergence")
"""Settings of the learner that a step in a trust region does not read: it follows no clipped surrogate."""


class Parts(NamedTuple):
    """What every solver is built from."""

    model: ActorCritic
    source: Rollout
    population: Population
    base: Scalarizer  # weights on the objectives, zero on the costs
    config: LearnerConfig
    generator: Generator
    measured: MeasuredReturns

    def first(self, scalarizer: Scalarizer) -> tuple[Any, ...]:
        """The leading arguments of Learner."""
        return self.model, self.source, self.population, scalarizer, self.config, self.generator

    def lagrangian(self, rule: DualRule) -> Lagrangian:
        """The base with prices by a dual rule."""
        return Lagrangian(self.base, self.measured.constraints, rule, len(self.population))


class Solver(Protocol):
    """What a solver must offer."""

    name: ClassVar[str]

    def learner(self, parts: Parts) -> Learner:
        """The learner that it is; `constrained_learner` gives it the measurements."""
        ...


def constrained_learner(
    env: VectorEnv,
    constraints: Sequence[Constraint],
    solver: Solver,
    config: LearnerConfig,
    generator: Generator,
    *,
    discount: float = 1.0,
    policies: int = 1,
    base: Scalarizer | Tensor | None = None,
) -> Learner:
    """A learner for P policies within limits, ready to `iterate`.

    Args:
        env: policies * config.environments environments.
        discount: of channels whose scale is discounted, and of objectives.
        base: how objectives are weighed: a scalarizer, weights [P, m], or None for equal ones.

    Raises: UnknownName, BadLimit for limits that do not fit the environment.
    """
    bound = bind(constraints, env.spec, discount=discount, device=env.device)
    weigh = weighing(base, bound.objectives, len(bound.channels), policies, env.device)
    head = make_head(env.spec.action_space, config.squash)
    model = ActorCritic(
        make_features(env.spec.observation_space, env.spec.near), head, len(bound.channels), config.hidden
    )
    people, measured = fresh_population(model, policies, generator, config.spread), MeasuredReturns(bound)
    source = Rollout(env, policies, config.rollout_steps)
    learner = solver.learner(Parts(model, source, people, weigh, config, generator, measured))
    learner.episodes = measured
    return learner


def stepped(parts: Parts, scalarizer: Scalarizer, step: PolicyStep, ball: Ball) -> Learner:
    """Any scalarizer with any policy step."""
    if step == "trust-region":
        return TrustRegion(*parts.first(scalarizer), discount=1.0, measured=None, rule=trpo_step, ball=ball)
    return Learner(*parts.first(scalarizer), discount=1.0, surrogate=SURROGATES.get(step))


def _in_ball(parts: Parts, rule: StepRule, ball: Ball) -> Learner:
    return TrustRegion(*parts.first(parts.base), discount=1.0, measured=parts.measured, rule=rule, ball=ball)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Settings of solvers that leave the policy step open."""

    step: PolicyStep = "ppo"  # how the policy moves along the weighted advantage
    ball: Ball = field(default_factory=Ball)  # of the step "trust-region"

    @property
    def unread(self) -> tuple[str, ...]:
        """Settings of the learner without effect."""
        return {"ppo": (), "trust-region": BY_CURVATURE}.get(self.step, ("clip", "divergence"))

    def __post_init__(self) -> None:
        if self.step != "trust-region":
            why, way_out = f"step {self.step!r} has no trust region", "take step trust-region, or leave it out"
            refuse_unread(self.ball, [f.name for f in fields(Ball)], why, way_out)


@dataclass(frozen=True, kw_only=True)
class PlainLagrangian(Steps):
    """Projected dual ascent. It circles the solution; the average of its iterates is what converges."""

    name: ClassVar[str] = "lagrangian"
    rate: Gain = 0.05  # of dual ascent [price / violation]
    start: Gain = 0.0  # first multiplier: who learns under a price never learns to break the limit
    bound: Positive = 1e3  # ceiling of the multipliers

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        rule = projected_ascent(self.rate, start=self.start, bound=self.bound)
        return stepped(parts, parts.lagrangian(rule), self.step, self.ball)


@dataclass(frozen=True, kw_only=True)
class PIDLagrangian(Steps):
    """Prices by a controller with proportional, integral and derivative parts."""

    name: ClassVar[str] = "pid-lagrangian"
    rule: PID = field(default_factory=lambda: PID(kp=0.5, ki=0.05))  # gains and delays of the controller

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rule.refuse_idle()

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        return stepped(parts, parts.lagrangian(self.rule), self.step, self.ball)


@dataclass(frozen=True, kw_only=True)
class AugmentedLagrangian(Steps):
    """Prices rectified by the latest violation: [multiplier + penalty * violation]_+."""

    name: ClassVar[str] = "augmented-lagrangian"
    penalty: Gain = 1.0  # [price / violation]
    rate: Gain = 0.05  # of dual ascent [price / violation]
    start: Gain = 0.0  # first multiplier
    bound: Positive = 1e3  # ceiling of multipliers and prices

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        rule = augmented(self.penalty, self.rate, start=self.start, bound=self.bound)
        return stepped(parts, parts.lagrangian(rule), self.step, self.ball)


@dataclass(frozen=True, kw_only=True)
class ReLOAD(Steps):
    """Optimism on both players: the last iterate converges where plain ascent and descent circle."""

    name: ClassVar[str] = "reload"
    rate: Gain = 0.05  # of optimistic dual ascent [price / violation]
    strength: Gain = 1.0  # of the multipliers' optimism; with small rates and noisy samples more is needed
    start: Gain = 0.0  # first multiplier
    bound: Positive = 1e3  # ceiling of the multipliers

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        rule = OptimisticAscent(rate=self.rate, strength=self.strength, start=self.start, bound=self.bound)
        return stepped(parts, OptimisticWeights(parts.lagrangian(rule)), self.step, self.ball)


@dataclass(frozen=True, kw_only=True)
class CRPO(Steps):
    """Climb the objectives while the limits hold, descend the worst broken cost while not."""

    name: ClassVar[str] = "crpo"
    tolerance: NotNegative = 0.0  # violation that is let pass [unit]
    unit: tuple[float, ...] = ()  # per constraint, to compare violations in; empty: the measured value's own

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        scalarizer = Switch(parts.base, parts.measured.constraints, self.tolerance, self.unit)
        return stepped(parts, scalarizer, self.step, self.ball)


@dataclass(frozen=True, kw_only=True)
class IPO(Steps):
    """A logarithmic barrier before every limit."""

    name: ClassVar[str] = "ipo"
    sharpness: Positive = 20.0  # t [1 / objective]
    bound: Positive = 10.0  # largest price [price / violation]

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        scalarizer = LogBarrier(parts.base, parts.measured.constraints, self.sharpness, self.bound)
        return stepped(parts, scalarizer, self.step, self.ball)


@dataclass(frozen=True, kw_only=True)
class P3O:
    """PPO with an exact penalty on the clipped cost surrogate."""

    name: ClassVar[str] = "p3o"
    unread: ClassVar[tuple[str, ...]] = ("divergence",)
    penalty: NotNegative = 20.0  # kappa [normalised advantage / cost]

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        surrogate = ppo_clip(parts.config.clip)
        estimator = ExactPenalty(parts.model, surrogate, parts.measured, self.penalty)
        return Learner(*parts.first(parts.base), discount=1.0, surrogate=surrogate, estimator=estimator)


@dataclass(frozen=True, kw_only=True)
class FOCOPSolver(Prices):
    """First-order steps towards the best policy of a KL ball, priced by any dual rule."""

    name: ClassVar[str] = "focops"
    unread: ClassVar[tuple[str, ...]] = ("clip",)  # the ball of its own takes its place
    temperature: Positive = 1.5  # lambda [normalised advantage / nat]
    radius: Positive = 0.02  # eta [nat]

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        estimator = FOCOPS(parts.model, self.temperature, self.radius)
        return Learner(*parts.first(self.priced(parts.lagrangian)), discount=1.0, estimator=estimator)


@dataclass(frozen=True, kw_only=True)
class CUPSolver(Prices):
    """Improve on the objectives, then project towards lower priced costs."""

    name: ClassVar[str] = "cup"

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        return CUP(*parts.first(self.priced(parts.lagrangian)), discount=1.0)


@dataclass(frozen=True, kw_only=True)
class RCPO(Prices):
    """One critic of the penalised reward and three time-scales: critics, actors, multipliers."""

    name: ClassVar[str] = "rcpo"
    rate: Gain = 0.02  # of dual ascent, the slowest [price / violation]
    critic_speed: float = 3.0  # learning rate of the critics, in multiples of the actors'; at least 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.critic_speed >= 1:
            raise ValueError(f"critic_speed must be at least 1, got {self.critic_speed}: critics lead, actors follow")

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        priced, rate = self.priced(parts.lagrangian), parts.config.learning_rate
        fast = Adam(rate * self.critic_speed)
        return PenalisedCritic(*parts.first(priced), discount=1.0, update=Adam(rate), critic_update=fast)


@dataclass(frozen=True, kw_only=True)
class CPO:
    """Constrained policy optimisation: the best step that keeps every limit to first order, or the way back to it."""

    name: ClassVar[str] = "cpo"
    unread: ClassVar[tuple[str, ...]] = BY_CURVATURE
    ball: Ball = field(default_factory=Ball)

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        return _in_ball(parts, cpo_step, self.ball)


@dataclass(frozen=True, kw_only=True)
class PCPO:
    """A trust-region step on the objectives, projected onto the limits in the metric of the divergence."""

    name: ClassVar[str] = "pcpo"
    unread: ClassVar[tuple[str, ...]] = BY_CURVATURE
    ball: Ball = field(default_factory=Ball)

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        return _in_ball(parts, pcpo_step, self.ball)


SOLVERS: dict[str, Any] = {
    solver.name: solver
    for solver in (
        PlainLagrangian, PIDLagrangian, AugmentedLagrangian, ReLOAD, CRPO, IPO, P3O, FOCOPSolver, CUPSolver, RCPO, CPO,
        PCPO,
    )
}  # fmt: skip
