"""Constrained solvers that learn from replay: any dual rule over soft actor-critic, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.features import make_features
from tradeoff.engine.numbers import Count, NotNegative, Positive
from tradeoff.engine.population import Population
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.scalarizers import Scalarizer, weighing
from tradeoff.engine.soft import SoftLearner, soft_population
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.engine.soft_critics import Critics
from tradeoff.engine.soft_head import SoftHead, make_soft_head
from tradeoff.engine.unread import refuse_unread
from tradeoff.envs.protocol import EnvSpec, VectorEnv
from tradeoff.safe.constraints import Constraint, Constraints, bind
from tradeoff.safe.duals import (
    PID,
    DualRule,
    Gain,
    Lagrangian,
    OptimisticAscent,
    augmented,
    projected_ascent,
    vanishes,
)
from tradeoff.safe.foresight import ForeseenReturns, LogAscent, critics_unit, per_unit
from tradeoff.safe.measuring import PATIENCE, MeasuredReturns
from tradeoff.safe.optimism import OptimisticWeights

STEPS = 512  # of an environment, per rollout that the watch over costs is patient for


class SoftParts(NamedTuple):
    """What every solver of this kind is built from."""

    model: ActorCritic
    source: Rollout
    population: Population
    base: Scalarizer  # weights on the objectives, zero on the costs
    config: SoftConfig
    generator: Generator
    measured: MeasuredReturns
    critics: Critics
    units: tuple[float, ...]  # what the critics see of each limit's measured value, per unit of it

    def lagrangian(self, rule: DualRule) -> Lagrangian:
        """The base with prices by a dual rule."""
        return Lagrangian(self.base, self.measured.constraints, rule, len(self.population))

    def learner(self, scalarizer: Scalarizer, kind: type[SoftLearner] = SoftLearner, **own: Any) -> SoftLearner:
        """A learner of these parts."""
        return kind(
            self.model, self.source, self.population, scalarizer, self.config, self.generator, critics=self.critics,
            episodes=self.measured, foresight=self.foresight, **own,
        )  # fmt: skip

    @property
    def foresight(self) -> ForeseenReturns | None:
        """Who listens to the critics, where a solver reads those."""
        return self.measured if isinstance(self.measured, ForeseenReturns) else None


class SoftSolver(Protocol):
    """What a solver must offer."""

    name: ClassVar[str]
    by_critics: ClassVar[bool]  # whether gains are in the unit of critics, which have a discount of their own

    def measured(self, constraints: Constraints, gamma: float, patience: int) -> MeasuredReturns:
        """What limits are measured by; gamma: discount of the critics."""
        ...

    def critics(self, shape: dict[str, Any]) -> Critics:
        """The ensemble, of the shape that environment and settings ask for."""
        ...

    def learner(self, parts: SoftParts) -> SoftLearner:
        """The learner that it is."""
        ...


def soft_learner(
    env: VectorEnv,
    constraints: Sequence[Constraint],
    solver: SoftSolver,
    config: SoftConfig,
    generator: Generator,
    *,
    discount: float = 1.0,
    policies: int = 1,
    base: Scalarizer | Tensor | None = None,
) -> SoftLearner:
    """A learner from replay for P policies within limits, ready to `iterate`.

    Args:
        env: policies * config.environments environments with Box or Discrete actions.
        discount: of channels whose scale is discounted, and of objectives; the critics have their own.
        base: how objectives are weighed: a scalarizer, weights [P, m], or None for equal ones.

    Raises: UnknownName, BadLimit for limits that do not fit the environment; UnfitActions for other actions.
    """
    spec = env.spec
    bound = bind(constraints, spec, discount=discount, device=env.device)
    features, head = make_features(spec.observation_space, spec.near), make_soft_head(spec.action_space, spec.id)
    model = ActorCritic(features, head, len(bound.channels), config.hidden, activation="relu")
    patience = max(PATIENCE, PATIENCE * STEPS // config.rollout_steps)
    parts = SoftParts(
        model, Rollout(env, policies, config.rollout_steps), soft_population(model, policies, generator),
        weighing(base, bound.objectives, len(bound.channels), policies, env.device), config, generator,
        solver.measured(bound, config.gamma, patience),
        solver.critics(_shape(model, head, spec, config)),
        critics_unit(constraints, spec, discount=discount, gamma=config.gamma),
    )  # fmt: skip
    return solver.learner(parts)


def _shape(model: ActorCritic, head: SoftHead, spec: EnvSpec, config: SoftConfig) -> dict[str, Any]:
    return {
        "inputs": model.features.width + model.context, "actions": head.numbers, "options": head.options,
        "objectives": len(spec.objectives), "costs": len(spec.costs),
        "members": config.members, "hidden": config.hidden, "half": config.precision == "bfloat16",
    }  # fmt: skip


class OnEpisodes:
    """What solvers share whose prices follow the costs of finished episodes."""

    by_critics: ClassVar[bool] = False

    def measured(self, constraints: Constraints, gamma: float, patience: int) -> MeasuredReturns:
        """See SoftSolver.measured."""
        return MeasuredReturns(constraints, patience)

    def critics(self, shape: dict[str, Any]) -> Critics:
        """See SoftSolver.critics."""
        return Critics(**shape)


@dataclass(frozen=True, kw_only=True)
class SACPID(OnEpisodes):
    """Soft actor-critic with prices by a controller, from the costs of finished episodes."""

    name: ClassVar[str] = "sac-pid"
    kp: Gain = 0.01  # proportional gain [price / violation]
    ki: Gain = 1e-4  # integral gain, per iteration [price / violation]
    kd: Gain = 0.01  # gain on growing costs [price / violation]
    delay: Count = 64  # iterations over which growth is taken
    bound: Positive = 1e3  # ceiling of multiplier and price

    def __post_init__(self) -> None:
        if vanishes(self.kd):
            refuse_unread(self, ["delay"], "kd is 0, and nothing else looks back so far", "give kd, or leave it out")

    def learner(self, parts: SoftParts) -> SoftLearner:
        """See SoftSolver.learner."""
        rule = PID(kp=self.kp, ki=self.ki, kd=self.kd, delay=self.delay, bound=self.bound)
        return parts.learner(parts.lagrangian(rule))


@dataclass(frozen=True, kw_only=True)
class SACLagrangian(OnEpisodes):
    """Soft actor-critic with prices by dual ascent on the costs of finished episodes."""

    name: ClassVar[str] = "sac-lagrangian"
    rate: Gain = 1e-4  # of dual ascent, per iteration [price / violation]
    start: Gain = 0.0  # first multiplier
    bound: Positive = 1e3  # ceiling of the multipliers

    def learner(self, parts: SoftParts) -> SoftLearner:
        """See SoftSolver.learner."""
        return parts.learner(parts.lagrangian(projected_ascent(self.rate, start=self.start, bound=self.bound)))


@dataclass(frozen=True, kw_only=True)
class SACAugmented(OnEpisodes):
    """Soft actor-critic with prices rectified by the costs of the last finished episodes."""

    name: ClassVar[str] = "sac-augmented"
    penalty: Gain = 0.01  # price of the latest violation, on top of the multiplier [price / violation]
    rate: Gain = 1e-4  # of dual ascent, per iteration [price / violation]
    start: Gain = 0.0  # first multiplier
    bound: Positive = 1e3  # ceiling of multiplier and price

    def learner(self, parts: SoftParts) -> SoftLearner:
        """See SoftSolver.learner."""
        rule = augmented(self.penalty, self.rate, start=self.start, bound=self.bound)
        return parts.learner(parts.lagrangian(rule))


@dataclass(frozen=True, kw_only=True)
class SACReLOAD(OnEpisodes):
    """Soft actor-critic with optimism on both players, from the costs of finished episodes."""

    name: ClassVar[str] = "sac-reload"
    rate: Gain = 1e-4  # of optimistic dual ascent, per iteration [price / violation]
    strength: Gain = 100.0  # of the multipliers' optimism; costs are news only when an episode has ended
    start: Gain = 0.0  # first multiplier
    bound: Positive = 1e3  # ceiling of the multipliers

    def learner(self, parts: SoftParts) -> SoftLearner:
        """See SoftSolver.learner."""
        rule = OptimisticAscent(rate=self.rate, strength=self.strength, start=self.start, bound=self.bound)
        return parts.learner(OptimisticWeights(parts.lagrangian(rule)))


@dataclass(frozen=True, kw_only=True)
class CAL:
    """Conservative augmented Lagrangian: cautious cost critics, and prices rectified by what those expect."""

    name: ClassVar[str] = "cal"
    by_critics: ClassVar[bool] = True
    caution: NotNegative = 0.5  # standard deviations over the ensemble that are added to costs
    penalty: Gain = 10.0  # price of the latest violation, on top of the multiplier [price / violation]
    rate: Gain = 0.012  # learning rate of the multiplier's logarithm, per iteration
    start: Gain = 0.6931  # first multiplier, above 0
    bound: Positive = 1e3  # ceiling of multiplier and price

    def measured(self, constraints: Constraints, gamma: float, patience: int) -> MeasuredReturns:
        """See SoftSolver.measured."""
        return ForeseenReturns(constraints, gamma, patience)

    def critics(self, shape: dict[str, Any]) -> Critics:
        """See SoftSolver.critics."""
        if shape["members"] == 1:
            refuse_unread(self, ["caution"], "a single critic has no spread", "give members 2 or more, or leave it out")
        return Critics(**shape, caution=self.caution)

    def learner(self, parts: SoftParts) -> SoftLearner:
        """See SoftSolver.learner."""
        penalty = per_unit(self.penalty, parts.units)
        ascent = LogAscent(rate=self.rate, penalty=penalty, start=self.start, bound=self.bound)
        return parts.learner(parts.lagrangian(ascent))
