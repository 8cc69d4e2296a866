"""Constrained solvers as methods of the program: an environment, its limits, and a solver."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from tradeoff.engine.evaluate import Scores
from tradeoff.engine.learner import LearnerConfig
from tradeoff.engine.loop import Loop
from tradeoff.engine.method import method_class
from tradeoff.engine.numbers import check_weights
from tradeoff.engine.training import Training, TrainingConfig
from tradeoff.engine.unread import default, refuse_unread, refuse_unread_on
from tradeoff.envs.protocol import EnvSpec, VectorEnv
from tradeoff.envs.repeated import Repeated
from tradeoff.safe.constraints import BadLimit, Constraint, Constraints, Scale, bind, default_constraints
from tradeoff.safe.duals import prices
from tradeoff.safe.exact import beside, exact_optimum
from tradeoff.safe.known_ranges import limits_that_steer_nothing
from tradeoff.safe.measuring import Watch
from tradeoff.safe.report import broken_when_deterministic, broken_when_stochastic
from tradeoff.safe.solvers import (
    CPO,
    CRPO,
    IPO,
    P3O,
    PCPO,
    RCPO,
    AugmentedLagrangian,
    CUPSolver,
    FOCOPSolver,
    PIDLagrangian,
    PlainLagrangian,
    ReLOAD,
    constrained_learner,
)

LIMIT = re.compile(r"(?:(?P<name>[^<>=]+?)\s*(?P<sense><=|>=|=)\s*)?(?P<number>[^<>=]+)")


@dataclass(frozen=True, kw_only=True)
class ConstrainedConfig(TrainingConfig):
    """What every constrained solver needs to know."""

    limit: tuple[
        str, ...
    ] = ()  # 25, hazards<=25, speed>=3; name=25: a cost at most, a reward at least; none: the env's
    weights: tuple[
        float, ...
    ] = ()  # of each objective in the value; one: of their mean; none: of those without a limit
    scale: Scale = "episodic"  # what limits bound: sums per episode, discounted ones, or means per step
    margin: float = 0.0  # share of each limit kept in reserve while training, in [0, 1); judged is by the limit itself
    discount: float | None = 1.0  # of the returns that are reported, and of discounted limits
    repeat: int = 1  # times that each action is made in a row, in training and ever after
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    solver: Any = None  # settings of its own

    def __post_init__(self) -> None:
        TrainingConfig.__post_init__(self)
        if self.weights:
            check_weights(self.weights)
        step = getattr(self.solver, "step", "")
        unread = getattr(self.solver, "unread", ())
        refuse_unread(self.learner, unread, f"{self.name}{step and f' with step {step!r}'} does not read it")
        if self.discount == 1 and self.scale == "discounted":
            way_out = "give discount below 1, or leave it out"
            refuse_unread(self, ["scale"], "with discount 1.0 it is the sum per episode, too", way_out)
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin must lie in [0, 1), got {self.margin}")
        if self.repeat < 1:
            raise ValueError(f"repeat must be at least 1, got {self.repeat}")
        if self.repeat > 1 and (self.scale != "episodic" or self.discount != 1.0):
            raise ValueError(
                f"repeat {self.repeat} adds up what so many steps pay, which goes with sums per episode alone; leave "
                f"out scale and discount (got {self.scale} and {self.discount}), or take repeat 1"
            )

    @classmethod
    def completed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """See RunConfig.completed: the mean of all objectives was the value."""
        return {"weights": [1.0]} | settings

    def shown(self, env: VectorEnv) -> VectorEnv:
        """See RunConfig.shown."""
        return Repeated(env, self.repeat) if self.repeat > 1 else env

    def constraints(self, spec: EnvSpec) -> tuple[Constraint, ...]:
        """The limits as they were given, or as the environment states them. Raises BadLimit, UnknownName."""
        if not self.limit:
            return default_constraints(spec)
        return tuple(read_limit(text, spec, self.scale) for text in self.limit)

    def shares(self, spec: EnvSpec) -> Tensor:
        """Weights of the objectives [m] in the value, float64. Raises BadLimit where their number does not fit."""
        m = len(spec.objectives)
        if len(self.weights) == 1:
            return torch.full((m,), self.weights[0] / m, dtype=torch.float64)
        if self.weights:
            if len(self.weights) != m:
                raise BadLimit(f"{len(self.weights)} weights for the {m} objectives {', '.join(spec.objectives)}")
            return torch.tensor(self.weights, dtype=torch.float64)
        limited = {c.cost for c in self.constraints(spec)}
        free = [name not in limited for name in spec.objectives]
        wanted = torch.tensor(free if any(free) else [True] * m, dtype=torch.float64)
        return wanted / wanted.sum()

    def base(self, run: Training) -> Tensor:
        """The same for every policy [P, m], as learners take them."""
        return self.shares(run.spec).float().expand(self.policies, -1).to(self.device)

    def aims(self, spec: EnvSpec) -> tuple[Constraint, ...]:
        """The limits that training keeps to: its last policy scatters round them, and the reserve takes that up."""
        return tuple(c.tightened(self.margin) for c in self.constraints(spec))

    def build(self, run: Training) -> Loop:
        """See TrainingConfig.build."""
        self.check(run)
        env = run.make_env(self.policies * self.learner.environments, run.draw_seed())
        refuse_unread_on(env.spec, self.learner)
        learner = constrained_learner(
            env, self.aims(run.spec), self.solver, self.learner, run.generator,
            discount=run.discount, policies=self.policies, base=self.base(run),
        )  # fmt: skip
        return self.judged(learner, run)

    def check(self, run: Training) -> None:
        """Raise UnknownName or BadLimit for limits that no run can keep; warn of those that none can break."""
        self.check_limits(run.spec)
        env = run.make_env(1, 0)
        for said in limits_that_steer_nothing(env, self.strictest(run.spec), run.discount):
            warnings.warn(said, stacklevel=2)
        env.close()

    def check_limits(self, spec: EnvSpec) -> None:
        """Raise UnknownName, or BadLimit where the exact model says that no policy keeps the limits."""
        discount = self.discount_on(spec)
        bind(self.constraints(spec), spec, discount=discount)  # unknown channels are named first
        exact_optimum(self.strictest(spec), spec, discount, self.shares(spec).tolist())

    def strictest(self, spec: EnvSpec) -> Sequence[Constraint]:
        """The limits that are the hardest to keep: all that were given."""
        return self.constraints(spec)

    def judged(self, learner: Any, run: Training) -> Any:
        """The learner, watched by the limits themselves: what is kept in reserve counts for training alone."""
        bound = bind(self.constraints(run.spec), run.spec, discount=run.discount, device=self.device)
        learner.episodes.watch = Watch(bound, learner.episodes.watch.patience)
        return learner

    def value(self, returns: Tensor, spec: EnvSpec) -> Tensor:
        """The weighted objectives."""
        return returns[:, : len(spec.objectives)] @ self.shares(spec).to(returns)

    def rate(self, share: float) -> float:
        """See TrainingConfig.rate."""
        return 1.0 - share if self.learner.anneal else 1.0

    def remarks(self, run: Training, record: dict[str, Tensor]) -> dict[str, Any]:
        """The prices [P, j] of the limits, where a method has some."""
        found = record.get("multiplier")
        if found is None:
            found = prices(run.learner.scalarizer, record["returns"])
        return {} if found is None else {"prices": found.double().tolist()}

    def context(self, run: Training, returns: Tensor) -> dict[str, Any]:
        """The limits, how they were kept by either way of choosing actions and at what price, and the exact optimum."""
        given = self.constraints(run.spec)
        bound = bind(given, run.spec, discount=run.discount)
        shares = self.shares(run.spec).tolist()
        found = {"weights": shares} | kept(bound, at_scale(bound, run.fresh), run.fresh.lengths)
        found |= by_likeliest(bound, run.likeliest, found["violation"])
        if run.history and "prices" in run.history[-1]:
            by_limit = zip(*run.history[-1]["prices"], strict=True)
            found["prices"] = dict(zip(bound.names(), map(list, by_limit), strict=True))
        watch: Watch = run.learner.episodes.watch
        found["never_feasible"] = watch.verdict(run.steps["training"] // self.policies)
        found["never_moved"] = watch.idle()
        best = exact_optimum(given, run.spec, run.discount, shares)
        value = self.value(returns.mean(1), run.spec).tolist()
        return found if best is None else found | {"exact": beside(best, value, given)}


def at_scale(bound: Constraints, scores: Scores) -> Tensor:
    """Episodes [P, E, m + k], every limited channel as its limit measures it: its mean per step for "average"."""
    found = scores.returns.clone()
    for c in bound.given:
        i = bound.channels.index(c.cost)
        returns, total = scores.returns[..., i], scores.totals[..., i]
        found[..., i] = {
            "episodic": total, "discounted": returns, "per-step": returns * (1 - bound.discount),
            "average": total / scores.lengths,
        }[c.scale]  # fmt: skip
    return found


def kept(bound: Constraints, measured: Tensor, lengths: Tensor | None = None) -> dict[str, Any]:
    """What indicators say of limits, for episodes [P, E, m + k] that are measured as the limits are.

    lengths: [P, E] steps, by which episodes count in averages over steps; None: all alike.
    """
    excess = torch.stack([bound.violation(episode) for episode in measured.cpu().unbind(1)], 1)  # [P, E, j]
    even = torch.ones(excess.shape[:2])
    counts = [even if lengths is None or c.scale != "average" else lengths.cpu() for c in bound.given]
    weight = torch.stack(counts, -1).to(excess)
    mean = (excess * weight).sum(1) / weight.sum(1)
    return {
        "limits": list(bound.names()),
        "violation": mean.tolist(),
        "feasible": (mean <= 0).all(1).tolist(),
        "episodes_over_the_limit": (excess > 0).double().mean(1).tolist(),
    }


def by_likeliest(bound: Constraints, scores: Scores, drawn: list[list[float]]) -> dict[str, Any]:
    """How limits are kept by the likeliest actions, and a sentence for every limit that one way of acting breaks.

    drawn: violation [P, j] of each limit by drawn actions.
    """
    found = kept(bound, at_scale(bound, scores), scores.lengths)
    del found["limits"]
    told = []
    for p, pair in enumerate(zip(drawn, found["violation"], strict=True)):
        one, other = ([measured_at(c, x) for c, x in zip(bound.given, row, strict=True)] for row in pair)
        said = broken_when_deterministic(one, other, bound.given) + broken_when_stochastic(one, other, bound.given)
        told += [f"policy {p}: {sentence}" for sentence in said]
    return {"likeliest_actions": found, "broken_by_one_way_of_acting": told}


def measured_at(c: Constraint, violation: float) -> float:
    """What was measured where a limit was exceeded by so much."""
    return c.limits[0] + (violation if c.sense == "<=" else -violation)


def read_limit(text: str, spec: EnvSpec, scale: Scale) -> Constraint:
    """A constraint from `25`, `hazards<=25` or `speed>=3`; `name=25` is at most for a cost, at least for an objective.

    Raises: BadLimit.
    """
    found = LIMIT.fullmatch(text.strip())
    try:
        number = float(found["number"]) if found else float("nan")
    except ValueError:
        number = float("nan")
    if found is None or number != number:
        raise BadLimit(f"--limit {text} is no limit; write a number, name=number, name<=number or name>=number")
    if found["name"] is None and len(spec.costs) != 1:
        raise BadLimit(f"--limit {text} names no cost; {spec.id} has {', '.join((*spec.costs, *spec.objectives))}")
    name = found["name"] or spec.costs[0]
    least = found["sense"] == ">=" or (found["sense"] == "=" and name in spec.objectives)
    return Constraint(cost=name, limit=number, scale=scale, sense=">=" if least else "<=")


def unread_defaults(config: ConstrainedConfig, solver: Any = None) -> dict[str, Any]:
    """Settings of the learner that a solver does not read, with their defaults; None: the config's own solver."""
    unread = getattr(solver or config.solver, "unread", ())
    return {f.name: default(f) for f in fields(config.learner) if f.name in unread}


SOLVERS: tuple[Any, ...] = (
    ReLOAD, PlainLagrangian, PIDLagrangian, AugmentedLagrangian,
    CRPO, IPO, P3O, CPO, PCPO, FOCOPSolver, CUPSolver, RCPO,
)  # fmt: skip

METHODS: dict[str, type[ConstrainedConfig]] = {
    solver.name: method_class(ConstrainedConfig, solver.name, "solver", solver) for solver in SOLVERS
}
