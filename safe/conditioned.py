"""Limits as inputs: one policy for a whole range of limits, each with a price of its own.

A policy sees the limit that it has to keep in the episode that is going on. Limits are drawn evenly from their ranges;
prices are kept at the nodes of a grid over the ranges and interpolated between them, and every node is moved by dual
ascent on the violations of the episodes near it. The weight of an episode in a node is the weight of the node in the
episode's price, so that the ascent follows the gradient of the dual function with interpolated prices.

Words: j limits, each with a range; u [..., j] where limits lie in their ranges, 0 at the low end, 1 at the high end; N
nodes, G per limit, N = G^j.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import make_head
from tradeoff.engine.learner import Learner, LearnerConfig, fresh_population
from tradeoff.engine.numbers import Positive
from tradeoff.engine.rollout import EpisodeReturns, Rollout
from tradeoff.engine.scalarizers import weighing
from tradeoff.engine.trajectories import Batch, Trajectories, fold
from tradeoff.envs.protocol import VectorEnv
from tradeoff.safe.constraints import BadLimit, Constraint, Constraints, bind
from tradeoff.safe.duals import Gain, Lagrangian, augmented
from tradeoff.safe.measuring import MeasuredReturns

ENOUGH = 1.0  # episodes whose weights a node gathers before its price moves


def hats(unit: Tensor, nodes: int) -> Tensor:
    """Weights [..., G^j] of a grid's nodes at the points u [..., j]: multilinear interpolation.

    They are >= 0, sum to 1, and give back any function that is linear in each coordinate. The last limit moves fastest.
    """
    places = torch.arange(nodes, dtype=unit.dtype, device=unit.device)
    near = (1 - (unit.unsqueeze(-1) * (nodes - 1) - places).abs()).clamp(min=0)  # [..., j, G]
    first, *rest = near.unbind(-2)
    for other in rest:
        first = (first.unsqueeze(-1) * other.unsqueeze(-2)).flatten(-2)
    return first


def lattice(nodes: int, limits: int) -> Tensor:
    """The nodes themselves [G^j, j], in the order of `hats`."""
    line = torch.linspace(0, 1, nodes, dtype=torch.float64)
    return torch.cartesian_prod(*[line] * limits).reshape(-1, limits)


def spread_evenly(index: Tensor, limits: int) -> Tensor:
    """Points u [..., j] for whole numbers [...]: any run of successive numbers lies evenly in the unit cube.

    The fractions of 1/2 + n a with a_i = g^-i and g^(j + 1) = g + 1. Source: Roberts 2018, the R_d sequence; with one
    limit g is the golden ratio (Weyl 1916).
    """
    growth = 2.0
    for _ in range(64):
        growth = (1 + growth) ** (1 / (limits + 1))
    slope = torch.tensor([growth**-i for i in range(1, limits + 1)], dtype=torch.float64, device=index.device)
    return (0.5 + index.double().unsqueeze(-1) * slope).frac()


class LimitDraws:
    """Conditions of a rollout: limits drawn for every episode, the same sequence for each policy.

    What a policy sees are the weights of the nodes, from which its limit, its price and its mass in a node follow
    by one product.
    """

    def __init__(self, policies: int, environments: int, limits: int, nodes: int, device: torch.device) -> None:
        self.limits, self.nodes = limits, nodes
        first = torch.arange(environments, device=device).expand(policies, environments)
        self.drawn = torch.full((policies, 1), environments, device=device)  # [P, 1] limits so far
        self.now = self._seen(first)

    def _seen(self, index: Tensor) -> Tensor:
        return hats(spread_evenly(index, self.limits), self.nodes).float()

    def renew(self, ended: Tensor) -> Tensor:
        """See Conditions.renew."""
        if ended.any():
            order = self.drawn + ended.cumsum(1) - 1
            self.now = torch.where(ended.unsqueeze(-1), self._seen(order), self.now)
            self.drawn = self.drawn + ended.sum(1, keepdim=True)
        return self.now

    def state_dict(self) -> dict[str, Any]:
        """See Conditions.state_dict."""
        return {"now": self.now, "drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Conditions.load_state_dict."""
        self.now, self.drawn = state["now"], state["drawn"]


def by_node(total: Tensor, ended: Tensor, seen: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over ended episodes of weight x excess [P, N, c] and of weight [P, N], for every node.

    Args:
        total: [T, P, B, c] measured values of the episodes that end.
        ended: [T, P, B] bool.
        seen: [T, P, B, N] weights of the nodes.
        limit: [N, c] limits of the nodes; an episode's own is their weighted mean. Excess: total minus limit.
    """
    weight = torch.where(ended.unsqueeze(-1), seen, 0.0).to(total.dtype)
    excess = total - weight @ limit.to(total.dtype)
    return torch.einsum("tpbn,tpbc->pnc", weight, excess), weight.sum((0, 2))


class NodeReturns(MeasuredReturns):
    """Measured values near every node, policies' nodes in rows: [P * N, m + k]; NaN where too few episodes ended there.

    A value is the mean excess of the episodes near the node over their own limits, plus the node's limit: limits that
    lie to one side of a node do not count as its violation.
    """

    def __init__(self, constraints: Constraints, at_nodes: Tensor) -> None:
        """at_nodes: [N, j] limits of the nodes."""
        super().__init__(constraints)
        if self.average.any():
            raise BadLimit("an average over steps belongs to no episode; limit a policy that sees limits per episode")
        self.running = EpisodeReturns(self.discount)
        where = torch.zeros(len(at_nodes), len(constraints.channels), dtype=at_nodes.dtype, device=at_nodes.device)
        self.limit = where.index_copy(1, constraints.index, at_nodes)
        self.sums: dict[str, Tensor] = {}

    def update(self, data: Trajectories, counted: bool = True) -> Tensor:
        """See EpisodeReturns.update."""
        super().update(data, counted)  # for the watch
        total = self.running.follow(data).double() * self.factor
        excess, weight = by_node(total, data.ended & counted, data.context, self.limit)
        if self.sums:
            excess, weight = excess + self.sums["excess"], weight + self.sums["weight"]
        enough = (weight >= ENOUGH).unsqueeze(-1)
        known = torch.where(enough, excess / weight.unsqueeze(-1) + self.limit, torch.nan)
        self.sums = {
            "excess": torch.where(enough, 0.0, excess), "weight": torch.where(enough.squeeze(-1), 0.0, weight),
        }  # fmt: skip
        return known.flatten(0, 1)

    def state_dict(self) -> dict[str, Any]:
        """See MeasuredReturns.state_dict."""
        return {"all": super().state_dict(), "running": self.running.carry, "gathered": self.sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        super().load_state_dict(state["all"])
        self.running.carry, self.sums = state["running"], state["gathered"]


@dataclass
class PriceTable(Lagrangian):
    """A Lagrangian whose rows are nodes: prices move where something was measured, and are read everywhere."""

    seen: Tensor = field(init=False)  # [rows, m + k] what was measured last

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = self.policies, len(self.constraints.channels)
        self.seen = torch.full(shape, torch.nan, dtype=torch.float64, device=self.constraints.limit.device)

    def _known(self, returns: Tensor) -> Tensor:
        return torch.where(returns.isnan(), self.seen, returns)

    def weights(self, returns: Tensor) -> Tensor:
        """See Scalarizer.weights; rows of which nothing is new go by what was measured last."""
        return super().weights(self._known(returns))

    def update(self, returns: Tensor) -> None:
        """See Scalarizer.update; rows of which nothing is new stay."""
        super().update(returns)
        self.seen = self._known(returns)

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return super().state_dict() | {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        super().load_state_dict(state)
        self.seen = state["seen"]


class ConditionedLearner(Learner):
    """A Learner whose samples are weighed by the limit that the policy saw."""

    def prepare(self, data: Trajectories, weights: Tensor) -> Batch:
        """See Learner.prepare. weights: [P * N, m + k] at the nodes.

        Every sample's weights are divided by what a typical step pays by them (channels at their root mean square): a
        limit's best policy does not depend on the scale, and large multipliers would else drown the other limits in a
        batch that is normalised as a whole.
        """
        table = weights.unflatten(0, (len(self.population), -1)).float()
        own = torch.einsum("tpbn,pnc->tpbc", data.context, table)
        typical = data.channels.square().mean((0, 2)).sqrt().unsqueeze(1)
        size = (own.abs() * typical).sum(-1, keepdim=True)
        return super().prepare(data, fold(own / torch.where(size > 0, size, 1.0)))


@dataclass(frozen=True, kw_only=True)
class ConditionedLagrangian:
    """One policy for a range of limits: it sees the limit, and every limit has its own price."""

    name: ClassVar[str] = "conditioned-lagrangian"
    nodes: int = 11  # of the prices, per limit; between them prices are interpolated
    rate: Gain = 0.05  # of dual ascent [price / violation]
    penalty: Gain = 0.5  # price of the latest violation, on top of the multiplier [price / violation]
    bound: Positive = 1e3  # ceiling of the prices

    def __post_init__(self) -> None:
        if self.nodes < 2:
            raise ValueError(f"nodes must be at least 2, the ends of the range, got {self.nodes}")

    def table(self, bound: Constraints, weights: Tensor | None, policies: int) -> tuple[PriceTable, Tensor]:
        """Prices for limits between the two rows of `bound.limit`, and the limits of the nodes [N, j]."""
        low, high = bound.limit
        at_nodes = low + lattice(self.nodes, len(bound)).to(low) * (high - low)
        rows = policies * len(at_nodes)
        shares = None if weights is None else weights.expand(rows, -1)
        base = weighing(shares, bound.objectives, len(bound.channels), rows, bound.limit.device)
        rule = augmented(self.penalty, self.rate, bound=self.bound)
        return PriceTable(base, replace(bound, limit=at_nodes.repeat(policies, 1)), rule, rows), at_nodes


def conditioned_learner(
    env: VectorEnv,
    ranges: tuple[Constraint, ...],
    solver: ConditionedLagrangian,
    config: LearnerConfig,
    generator: Generator,
    *,
    discount: float = 1.0,
    policies: int = 1,
    weights: Tensor | None = None,
) -> ConditionedLearner:
    """A learner for P policies that see their limits, ready to `iterate`.

    Args:
        env: policies * config.environments environments.
        ranges: constraints with two limits each, the low and the high end; one per channel.
        weights: [m] on the objectives; None: equal ones.

    Raises: UnknownName, BadLimit for ranges that do not fit the environment.
    """
    bound = bind(ranges, env.spec, discount=discount, device=env.device)
    if bound.index.unique().numel() < len(bound):
        raise BadLimit(f"{', '.join(bound.names())}: a channel has one range; give one limit per channel")
    table, at_nodes = solver.table(bound, weights, policies)
    head = make_head(env.spec.action_space, config.squash)
    features = make_features(env.spec.observation_space, env.spec.near)
    model = ActorCritic(features, head, len(bound.channels), config.hidden, len(at_nodes))
    draws = LimitDraws(policies, config.environments, len(bound), solver.nodes, env.device)
    learner = ConditionedLearner(
        model, Rollout(env, policies, config.rollout_steps, draws),
        fresh_population(model, policies, generator, config.spread), table, config, generator, discount=1.0,
    )  # fmt: skip
    learner.episodes = NodeReturns(replace(bound, limit=bound.limit[:1]), at_nodes)
    return learner
