"""Limits as inputs, as a method of the program: one run for a range of limits, and a policy for any limit in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor

from tradeoff.engine.evaluate import Scores, evaluate
from tradeoff.engine.learner import LearnerConfig
from tradeoff.engine.loop import Loop
from tradeoff.engine.policy import Policy
from tradeoff.engine.population import Population
from tradeoff.engine.run import RunConfig
from tradeoff.engine.trained import Trained
from tradeoff.engine.training import Training
from tradeoff.engine.unread import refuse_unread_on
from tradeoff.envs.protocol import EnvSpec
from tradeoff.safe.conditioned import ConditionedLagrangian, PriceTable, conditioned_learner, hats, spread_evenly
from tradeoff.safe.constraints import BadLimit, Constraint, bind
from tradeoff.safe.exact import exact_optimum
from tradeoff.safe.methods import ConstrainedConfig, at_scale, read_limit

SAMPLES = 2048  # per policy and iteration, at least: every part of the range should be seen in each


@dataclass(frozen=True, kw_only=True)
class ConditionedRun(ConstrainedConfig):
    """One policy for a range of limits: it sees the limit, and every limit has its own price."""

    name: ClassVar[str] = ConditionedLagrangian.name

    limit: tuple[str, ...] = ()  # ranges: hazards<=5..50, time>=-20..-1, one each
    sweep: int = 11  # limits per range at which the finished policy plays final_episodes each
    policies: int = 1  # replicas trained side by side, each an independent run
    solver: ConditionedLagrangian = field(default_factory=ConditionedLagrangian)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sweep < 2:
            raise ValueError(f"sweep must be at least 2, the ends of the range, got {self.sweep}")

    def start(self) -> ConditionedTraining:
        """See RunConfig.start."""
        return ConditionedTraining(self)

    def constraints(self, spec: EnvSpec) -> tuple[Constraint, ...]:
        """The ranges, as constraints with the low and the high limit. Raises BadLimit, UnknownName."""
        if not self.limit:
            raise BadLimit("no range of limits is given; write --limit 'name<=low..high' (or name>=low..high)")
        return tuple(read_range(text, spec, self.scale) for text in self.limit)

    def build(self, run: Training) -> Loop:
        """See TrainingConfig.build."""
        self.check(run)
        env = run.make_env(self.policies * self.learner.environments, run.draw_seed())
        refuse_unread_on(env.spec, self.learner)
        return conditioned_learner(
            env, self.aims(run.spec), self.solver, self.learner, run.generator,
            discount=run.discount, policies=self.policies, weights=self.shares(run.spec).float(),
        )  # fmt: skip

    def strictest(self, spec: EnvSpec) -> Sequence[Constraint]:
        """The strict ends of the ranges."""
        given = self.constraints(spec)
        return [replace(c, limit=float(min(c.limits) if c.sense == "<=" else max(c.limits))) for c in given]

    def remarks(self, run: Training, record: dict[str, Tensor]) -> dict[str, Any]:
        """Nothing: prices belong to limits, not to policies, and lie in the front."""
        return {}

    def context(self, run: Training, returns: Tensor) -> dict[str, Any]:
        """The ranges, and a row for every limit of the sweep: value, what was measured, price, exact optimum."""
        given, shares = self.constraints(run.spec), self.shares(run.spec)
        unit = sweep_points(given, self.sweep)
        limits = at(given, unit).round(decimals=9)
        table: PriceTable = run.learner.scalarizer
        prices = hats(unit, self.solver.nodes) @ table.multiplier.unflatten(0, (self.policies, -1)).cpu()
        best = [exact_optimum(named(given, x), run.spec, run.discount, shares.tolist()) for x in limits]
        bound = bind(given, run.spec, discount=run.discount)
        measured = at_scale(bound, run.fresh)[..., bound.index].cpu()
        value = returns[..., : len(shares)].cpu() @ shares
        front = front_rows(given, limits, value, measured, prices)
        for row, x in zip(front, best * self.policies, strict=True):
            row |= {} if x is None else {"exact_value": x.value}
        trained, watch = run.steps["training"] // self.policies, run.learner.episodes.watch
        return {
            "limit_ranges": [
                {"cost": c.cost, "sense": c.sense, "scale": c.scale, "low": c.limits[0], "high": c.limits[1]}
                for c in given
            ],
            "nodes": self.solver.nodes, "weights": shares.tolist(), "front": front,
            "never_feasible": unkept(given, front, trained), "never_moved": watch.idle(),
        }  # fmt: skip


class ConditionedTraining(Training):
    """A run whose policies play at limits that lie evenly in their ranges, and finally at those of the sweep."""

    def score(self, population: Population, episodes: int, *, deterministic: bool = True) -> Scores:
        """See Run.score."""
        limits = len(self.config.limit)
        return self._score_at(spread_evenly(torch.arange(episodes), limits), population, deterministic)

    def score_finally(self, *, deterministic: bool) -> Scores:
        """See Training.score_finally: final_episodes at every limit of the sweep, one limit after the other."""
        unit = sweep_points(self.config.constraints(self.spec), self.config.sweep)
        unit = unit.repeat_interleave(self.config.final_episodes, 0)
        return self._score_at(unit, self.population, deterministic)

    def _score_at(self, unit: Tensor, population: Population, deterministic: bool) -> Scores:
        return evaluate(
            self.make_env, self.model, population, episodes=len(unit), discount=self.discount, seed=self.draw_seed(),
            deterministic=deterministic, context=hats(unit, self.config.solver.nodes).float().to(self.config.device),
        )  # fmt: skip


def read_range(text: str, spec: EnvSpec, scale: Any) -> Constraint:
    """A constraint with a low and a high limit from `hazards<=5..50` or `speed>=1..3`. Raises BadLimit."""
    low, dots, high = text.partition("..")
    head = low[: max(low.rfind("<"), low.rfind(">"), low.rfind("=")) + 1]
    if not dots:
        raise BadLimit(f"--limit {text} is one limit; a policy that sees its limit needs a range: {head}LOW..HIGH")
    ends = [read_limit(part, spec, scale) for part in (low, head + high)]
    if not ends[0].limits < ends[1].limits:
        raise BadLimit(f"--limit {text} is no range: the low end comes first and lies below the high end")
    return replace(ends[0], limit=(*ends[0].limits, *ends[1].limits))


def sweep_points(ranges: Sequence[Constraint], count: int) -> Tensor:
    """Where the limits of a sweep lie in their ranges [j * count, j]: each in turn, the others at their loosest."""
    loose = torch.tensor([float(c.sense == "<=") for c in ranges], dtype=torch.float64)
    points = loose.repeat(len(ranges), count, 1)
    for i in range(len(ranges)):
        points[i, :, i] = torch.linspace(0, 1, count, dtype=torch.float64)
    return points.flatten(0, 1)


def at(ranges: Sequence[Constraint], unit: Tensor) -> Tensor:
    """Limits [..., j] at the points u [..., j] of their ranges."""
    low, high = torch.tensor([c.limits for c in ranges], dtype=torch.float64).unbind(1)
    return low + unit * (high - low)


def named(ranges: Sequence[Constraint], limits: Tensor) -> list[Constraint]:
    """The constraints whose limits [j] are chosen."""
    return [replace(c, limit=float(x)) for c, x in zip(ranges, limits, strict=True)]


def front_rows(
    ranges: Sequence[Constraint], limits: Tensor, value: Tensor, measured: Tensor, prices: Tensor
) -> list[dict[str, Any]]:
    """A flat row per policy and limit of a sweep: means over its episodes, with their standard errors.

    Args:
        limits: [S, j].
        value: [P, S * E] of the episodes, those of a limit side by side.
        measured: [P, S * E, j].
        prices: [P, S, j].
    """
    sizes = len(value), len(limits), -1
    values, found = value.unflatten(1, sizes[1:]), measured.unflatten(1, sizes[1:])  # [P, S, E], [P, S, E, j]
    sign = torch.tensor([1.0 if c.sense == "<=" else -1.0 for c in ranges], dtype=torch.float64)
    excess, episodes = sign * (found - limits.unsqueeze(1)), values.shape[2]
    rows = []
    for p, s in product(range(sizes[0]), range(sizes[1])):
        row = {"policy": p, "value": values[p, s].mean(), "value_stderr": values[p, s].std() / episodes**0.5}
        for i, c in enumerate(ranges):
            x, over = found[p, s, :, i], excess[p, s, :, i]
            row |= {
                f"limit {c.cost}": limits[s, i], c.cost: x.mean(), f"{c.cost}_stderr": x.std() / episodes**0.5,
                f"violation {c.cost}": over.mean(), f"share over {c.cost}": (over > 0).double().mean(),
                f"price {c.cost}": prices[p, s, i],
            }  # fmt: skip
        rows.append({name: x if isinstance(x, int) else float(x) for name, x in row.items()})
    return rows


def unkept(ranges: Sequence[Constraint], front: Sequence[dict[str, Any]], steps: int) -> str | None:
    """A sentence for limits of a sweep that are broken after `steps` steps per policy; None where all are kept.

    Broken: the mean violation is more than two standard errors above 0; at a limit that binds, half of all means are.
    """
    told = []
    for c in ranges:
        limit, over, error = f"limit {c.cost}", f"violation {c.cost}", f"{c.cost}_stderr"
        broken = [row for row in front if row[over] > 2 * row[error]]
        if broken:
            worst = max(broken, key=lambda row: row[over])
            limits = sorted(row[limit] for row in broken)
            ends = dict.fromkeys((limits[0], limits[-1]))
            told.append(
                f"{c.cost} {c.sense} {'..'.join(f'{x:.4g}' for x in ends)} broken at {len(broken)} of {len(front)} "
                f"points of the sweep, most by policy {worst['policy']}: {worst[c.cost]:.4g} for {worst[limit]:.4g}"
            )
    return f"after {steps} steps: " + "; ".join(told) if told else None


def ranges_of(trained: Trained) -> tuple[Constraint, ...]:
    """The ranges of limits that policies were trained for. Raises BadLimit for policies that do not see limits."""
    if "limit_ranges" not in trained.indicators:
        raise BadLimit(f"the policies of {trained.indicators['method']} do not see limits: leave --limit out")
    return tuple(
        Constraint(cost=x["cost"], limit=(x["low"], x["high"]), scale=x["scale"], sense=x["sense"])
        for x in trained.indicators["limit_ranges"]
    )


def seen_limits(trained: Trained, chosen: Sequence[Constraint]) -> Tensor:
    """What a policy sees [N] of one chosen limit for each of its ranges, in any order.

    Raises: BadLimit for a limit that is missing, of another channel or sense, or outside its range.
    """
    ranges = ranges_of(trained)
    wanted = ", ".join(f"{c.cost} {c.sense} {c.limits[0]:g}..{c.limits[1]:g}" for c in ranges)
    asked = {(c.cost, c.sense): c.limits[0] for c in chosen}
    if len(asked) != len(chosen) or set(asked) != {(c.cost, c.sense) for c in ranges}:
        given = ", ".join(f"{c.cost} {c.sense} {c.limits[0]:g}" for c in chosen) or "nothing"
        raise BadLimit(f"the policy takes one limit for each of {wanted}; {given} was given")
    unit = []
    for c in ranges:
        (low, high), limit = c.limits, asked[c.cost, c.sense]
        if not low <= limit <= high:
            raise BadLimit(f"{c.cost} {c.sense} {limit:g} lies outside the range {low:g}..{high:g} of the training")
        unit.append((limit - low) / (high - low))
    return hats(torch.tensor(unit, dtype=torch.float64), trained.indicators["nodes"]).float()


def policy_at(trained: Trained, chosen: Sequence[Constraint], row: int | None = None) -> Policy:
    """A policy that keeps the chosen limits, ready to act; row None: the best one. Raises BadLimit, see `seen_limits`.

    The best policy within a limit mostly draws its actions: call it with `deterministic=False`.
    """
    return replace(trained.policy(row), context=seen_limits(trained, chosen))


def fitted(learner: LearnerConfig) -> LearnerConfig:
    """A learner with enough environments for a range of limits, whose steps shrink to nothing at the end."""
    return replace(learner, environments=max(learner.environments, SAMPLES // learner.rollout_steps), anneal=True)


METHODS: dict[str, type[RunConfig]] = {ConditionedRun.name: ConditionedRun}
