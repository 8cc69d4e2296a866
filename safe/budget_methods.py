"""Limits as budgets that the policy sees: Saute, Simmer and early termination, as methods of the program."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar

from tradeoff.engine.learner import Learner
from tradeoff.engine.training import Training
from tradeoff.engine.unread import refuse_unread, refuse_unread_on
from tradeoff.envs.budget import Budget, Mode
from tradeoff.envs.protocol import EnvSpec, VectorEnv
from tradeoff.safe.constraints import BadLimit
from tradeoff.safe.methods import ConstrainedConfig
from tradeoff.safe.solvers import Parts, Steps, constrained_learner, stepped


@dataclass(frozen=True, kw_only=True)
class Unpriced(Steps):
    """The objectives alone: what a budget allows, the environment says."""

    name: ClassVar[str] = "unpriced"

    def learner(self, parts: Parts) -> Learner:
        """See Solver.learner."""
        return stepped(parts, parts.base, self.step, self.ball)


@dataclass(frozen=True, kw_only=True)
class BudgetRun(ConstrainedConfig):
    """What every method needs to know that keeps limits in each episode: it sees what is left of them."""

    mode: ClassVar[Mode]

    solver: Unpriced = field(default_factory=Unpriced)
    clock: bool = True  # show the time left, too, where budgets are per episode and a horizon ends it

    @property
    @abstractmethod
    def shaping(self) -> dict[str, Any]:
        """How the environment reacts to a budget that is spent, see Budget."""

    @classmethod
    def completed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """See RunConfig.completed: policies did not see the clock."""
        return {"clock": False} | super().completed(settings)

    def start(self) -> BudgetTraining:
        """See RunConfig.start."""
        return BudgetTraining(self)

    def shown(self, env: VectorEnv) -> VectorEnv:
        """See RunConfig.shown: rewards and ends are the environment's, so scores are."""
        return self.budget(super().shown(env), mode="watch")

    def check_limits(self, spec: EnvSpec) -> None:
        """See ConstrainedConfig.check_limits; a limit must be a budget, too."""
        super().check_limits(spec)
        self.budgets(spec)

    def budget(self, env: VectorEnv, mode: Mode, **shaping: Any) -> Budget:
        """An environment that shows what is left. Raises BadLimit for limits that are no budgets."""
        discount = self.discount if self.scale == "discounted" and self.discount else 1.0
        return Budget(env, self.budgets(env.spec), mode=mode, discount=discount, clock=self.clock, **shaping)

    def budgets(self, spec: EnvSpec) -> tuple[float, ...]:
        """One per cost, infinite where none was given. Raises BadLimit."""
        given: dict[str, float] = {}
        for c in self.aims(spec):
            if c.cost not in spec.costs or c.sense != "<=" or c.scale not in ("episodic", "discounted"):
                raise BadLimit(f"{c.cost} {c.sense} ... ({c.scale}) is no budget: {self.name} spends costs by episode, "
                               f"and {spec.id} has the costs {', '.join(spec.costs) or '(none)'}")  # fmt: skip
            if not c.limits[0] > 0:
                raise BadLimit(
                    f"{c.cost} <= {c.limits[0]:g} leaves nothing to spend; {self.name} needs a limit above 0"
                )
            given[c.cost] = c.limits[0]
        return tuple(given.get(cost, inf) for cost in spec.costs)

    def build(self, run: Training) -> Learner:
        """See TrainingConfig.build."""
        self.check(run)
        watched: Any = run.make_env(self.policies * self.learner.environments, run.draw_seed())
        env = self.budget(watched.env, self.mode, **self.shaping)
        refuse_unread_on(env.spec, self.learner)
        if self.scale == "discounted" or watched.env.spec.horizon is None:
            why = "a clock is shown where budgets are sums per episode and a horizon ends it alone"
            refuse_unread(self, ["clock"], why)
        learner = constrained_learner(
            env, self.aims(run.spec), self.solver, self.learner, run.generator,
            discount=run.discount, policies=self.policies, base=self.base(run),
        )  # fmt: skip
        return self.judged(learner, run)


@dataclass(frozen=True, kw_only=True)
class Saute(BudgetRun):
    """Rewards stop, until the episode ends, once a limit is spent. Source: Sootla et al. 2022, arXiv:2202.06558."""

    name: ClassVar[str] = "saute"
    mode: ClassVar[Mode] = "saute"

    unsafe_reward: float = 0.0  # paid per step instead, once a limit is spent; less than what keeping it pays

    @property
    def shaping(self) -> dict[str, Any]:
        """See BudgetRun.shaping."""
        return {"unsafe_reward": self.unsafe_reward}


@dataclass(frozen=True, kw_only=True)
class Simmer(Saute):
    """Saute with a budget that widens while training. Source: Sootla et al. 2022, arXiv:2206.02675."""

    name: ClassVar[str] = "simmer"
    mode: ClassVar[Mode] = "simmer"

    first_share: float = 0.2  # of the limits, at the beginning
    widened: float = 0.5  # share of the run after which budgets are whole, in (0, 1]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.widened <= 1 or not 0 < self.first_share <= 1:
            raise ValueError(f"widened {self.widened} and first_share {self.first_share} must lie in (0, 1]")
        if self.first_share == 1:
            refuse_unread(self, ["widened"], "first_share 1 gives whole budgets from the beginning")

    @property
    def shaping(self) -> dict[str, Any]:
        """See BudgetRun.shaping."""
        return super().shaping | {"first_share": self.first_share}


@dataclass(frozen=True, kw_only=True)
class EarlyTermination(BudgetRun):
    """Episodes are over at the step that overspends a limit, which pays nothing.

    Source: Sun et al. 2021, arXiv:2107.04200.
    """

    name: ClassVar[str] = "early-termination"
    mode: ClassVar[Mode] = "terminate"

    @property
    def shaping(self) -> dict[str, Any]:
        """See BudgetRun.shaping."""
        return {}


class BudgetTraining(Training):
    """A run whose budgets may widen."""

    def advance(self) -> dict[str, Any]:
        """See Run.advance."""
        if self.config.mode == "simmer":
            env: Any = self.learner.source.env
            env.schedule(self.total / self.config.steps / self.config.widened)
        return super().advance()


METHODS: dict[str, type[BudgetRun]] = {kind.name: kind for kind in (Saute, Simmer, EarlyTermination)}
