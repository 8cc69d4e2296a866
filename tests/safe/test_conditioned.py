"""Limits as inputs: interpolation, violations by node, prices and weights, each by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tradeoff.engine.learner import LearnerConfig
from tradeoff.engine.trajectories import Trajectories
from tradeoff.envs import make
from tradeoff.safe.conditioned import (
    ConditionedLagrangian,
    LimitDraws,
    NodeReturns,
    by_node,
    conditioned_learner,
    hats,
    lattice,
    spread_evenly,
)
from tradeoff.safe.constraints import BadLimit, Constraint

TIME = Constraint(cost="time", limit=(-20.0, -4.0), sense=">=")


def test_interpolation_by_hand(tensor) -> None:
    # Nodes at 0, 1/2 and 1: 1/4 lies half way between the first two.
    assert hats(tensor([0.25], [0.5], [1.0]), 3).tolist() == [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]]
    # Two limits, nodes 0 and 1 each: (1/4, 3/4) weighs 00, 01, 10, 11 by 3/4 1/4, 3/4 3/4, 1/4 1/4, 1/4 3/4.
    assert hats(tensor(0.25, 0.75), 2).tolist() == [0.1875, 0.5625, 0.0625, 0.1875]
    assert lattice(2, 2).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize(("nodes", "limits"), [(2, 1), (5, 1), (3, 2), (3, 3)])
def test_a_node_is_itself_and_straight_functions_come_back(nodes: int, limits: int) -> None:
    at_nodes = lattice(nodes, limits)
    torch.testing.assert_close(hats(at_nodes, nodes), torch.eye(nodes**limits, dtype=torch.float64))
    points = torch.rand(50, limits, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    function = lambda u: 2 + 3 * u[:, 0] - u[:, -1] + u.prod(1)  # noqa: E731  linear in each coordinate
    torch.testing.assert_close(hats(points, nodes) @ function(at_nodes), function(points))


def test_drawn_limits_lie_evenly() -> None:
    # g = 1.6180340 for one limit: 1/2, 1/2 + .6180340 - 1, 1/2 + 1.2360680 - 1. g^3 = g + 1, g = 1.3247180 for two.
    one, two = spread_evenly(torch.arange(3), 1), spread_evenly(torch.arange(2), 2)
    torch.testing.assert_close(one[:, 0], torch.tensor([0.5, 0.1180340, 0.7360680]).double(), atol=1e-7, rtol=0)
    torch.testing.assert_close(two[1], torch.tensor([0.2548777, 0.0698403]).double(), atol=1e-7, rtol=0)
    for first in (0, 137, 10**6):  # any hundred in a row: 9 to 11 in every tenth of each range
        tenths = (spread_evenly(torch.arange(first, first + 100), 2) * 10).long()
        counts = torch.stack([column.bincount(minlength=10) for column in tenths.unbind(1)])
        assert counts.min() >= 8 and counts.max() <= 12, counts


def test_only_ended_episodes_draw_the_next_limits() -> None:
    draws = LimitDraws(2, 3, 1, 2, torch.device("cpu"))
    points = spread_evenly(torch.arange(6), 1).float()[:, 0]
    ended = torch.tensor([[True, False, True], [False, False, False]])
    first, after = draws.now, draws.renew(ended)
    torch.testing.assert_close(first[..., 1], points[:3].expand(2, 3))  # weight of the upper of two nodes is u itself
    torch.testing.assert_close(after[..., 1], points[torch.tensor([[3, 1, 4], [0, 1, 2]])])
    assert draws.drawn.tolist() == [[5], [3]]


def test_violation_of_a_node_by_hand(tensor) -> None:
    # Two nodes with limits 10 and 20 on the second channel. Episodes: total 16 at weights (1/2, 1/2), limit 15, excess
    # 1; total 9 at (1, 0), limit 10, excess -1; total 23 at (1/4, 3/4), limit 17.5, excess 5.5, but it has not ended.
    # Node 0: weight 3/2, sum 1/2 - 1 = -1/2. Node 1: weight 1/2, sum 1/2. First channel, no limit: 2, 4 and 8.
    total = tensor([2, 16], [4, 9], [8, 23]).view(1, 1, 3, 2)
    seen = tensor([0.5, 0.5], [1, 0], [0.25, 0.75]).view(1, 1, 3, 2)
    ended = torch.tensor([[[True, True, False]]])
    sums, weight = by_node(total, ended, seen, tensor([0, 10], [0, 20]))
    assert weight.tolist() == [[1.5, 0.5]]
    assert sums.tolist() == [[[5, -0.5], [1, 0.5]]]


def _steps(cost: list[float], seen: Tensor) -> Trajectories:
    """One-step episodes of one policy, an environment each: reward 1 and the given costs."""
    one = torch.ones(1, 1, len(cost), 1)
    yes = one[..., 0].bool()
    paid = torch.tensor(cost).view(1, 1, -1, 1)
    return Trajectories(one, one, one[..., 0], one, paid, yes, ~yes, one, yes, seen.view(1, 1, len(cost), -1).float())


def test_a_node_speaks_once_it_has_seen_a_whole_episode(bound, tensor) -> None:
    # Limits of the nodes: 10 and 20. Cost 13 at (1, 0): node 0 knows. Then 14 at (1/2, 1/2), limit 15, excess -1: half
    # an episode each, nobody speaks; 16 there, excess 1: the two together are 0. Then 19 at (1/4, 3/4), limit 17.5,
    # excess 3/2, and 20 at (3/4, 1/4), limit 12.5, excess 15/2: node 0 has 3/8 + 45/8 = 6, node 1 has 9/8 + 15/8 = 3.
    returns = NodeReturns(bound(Constraint(cost="cost", limit=10.0)), tensor([10], [20]))
    found = []
    for cost, upper in ((13, 0.0), (14, 0.5), (16, 0.5), (19, 0.75), (20, 0.25)):
        found.append(returns.update(_steps([cost], torch.tensor([[1 - upper, upper]]))))
        state, returns = returns.state_dict(), NodeReturns(returns.constraints, tensor([10], [20]))
        returns.load_state_dict(state)  # what is gathered survives a checkpoint
    assert found[0].nan_to_num(-1).tolist() == [[1, 13], [-1, -1]]
    assert found[1].isnan().all() and found[3].isnan().all()
    assert found[2].tolist() == [[1, 10], [1, 20]] and found[4].tolist() == [[1, 16], [1, 23]]


def test_prices_move_where_something_was_measured(bound, tensor) -> None:
    # Nodes at 10, 15, 20; rate 1/2, penalty 1/4. Measured 14, nothing, 18: multipliers 2, 0, 0; prices in force
    # 2 + 1/4 4 = 3, 0 and 0. Next: nothing, 17, 26: multipliers 2, 1, 3; prices 2 + 1/4 4 = 3 as before (the violation
    # measured last), 1 + 1/2, 3 + 6/4. Half way between the second node and the third the price is 3.
    limits = bound(Constraint(cost="cost", limit=(10.0, 20.0)))
    table, at_nodes = ConditionedLagrangian(nodes=3, rate=0.5, penalty=0.25).table(limits, None, 1)
    assert at_nodes.tolist() == [[10], [15], [20]]
    blind = [torch.nan, torch.nan]
    first, second = tensor([1, 14], blind, [1, 18]), tensor(blind, [1, 17], [1, 26])
    table.update(first)
    assert table.multiplier.tolist() == [[2], [0], [0]]
    assert table.weights(torch.full((3, 2), torch.nan)).tolist() == [[1, -3], [1, 0], [1, 0]]
    state, table = table.state_dict(), ConditionedLagrangian(nodes=3, rate=0.5, penalty=0.25).table(limits, None, 1)[0]
    table.load_state_dict(state)  # so does what was measured last
    table.update(second)
    assert table.multiplier.tolist() == [[2], [1], [3]]
    weights = table.weights(torch.full((3, 2), torch.nan)).double()
    assert weights.tolist() == [[1, -3], [1, -1.5], [1, -4.5]]
    assert (hats(tensor(0.75), 3) @ weights).tolist() == [1, -3]


def test_every_sample_is_weighed_by_the_limit_it_was_made_for() -> None:
    # Weights of the nodes (1, 0) and (1, 3): an episode at u has (1, 3 u) / (x + 3 u y), x and y being the root mean
    # squares of the channels.
    config = LearnerConfig(rollout_steps=32, environments=6, minibatches=4, hidden=(8,))
    env, draw = make("deep-sea-treasure-v0", 12, seed=1), torch.Generator().manual_seed(1)
    learner = conditioned_learner(env, (TIME,), ConditionedLagrangian(nodes=2), config, draw, policies=2)
    data = learner.source.collect(learner.model, learner.population.theta, learner.population.observations, draw)
    batch = learner.prepare(data, torch.tensor([[1.0, 0], [1, 3]]).repeat(2, 1))
    price = 3 * data.context[..., 1].movedim(1, 0).flatten(1)  # [P, n]
    x, y = data.channels.square().mean((0, 2)).sqrt().unsqueeze(-1).unbind(1)
    weighted = (batch.advantages[..., 0] + price * batch.advantages[..., 1]) / (x + price * y)
    expected = (weighted - weighted.mean(1, keepdim=True)) / weighted.std(1, keepdim=True)
    torch.testing.assert_close(batch.advantage, expected, atol=1e-5, rtol=1e-5)
    changed = (data.context[1:] != data.context[:-1]).any(-1)
    assert (changed == data.ended[:-1]).all() and changed.sum() > 5  # a limit belongs to an episode
    assert data.context.shape == (32, 2, 6, 2) and len(data.context[0, 0].unique(dim=0)) == 6
    assert batch.inputs.shape[-1] == 2 * 12 + 2  # row and column one-hot, and what is seen of the limit


def test_what_cannot_be_conditioned_on_is_refused(tensor) -> None:
    config = LearnerConfig(rollout_steps=8, environments=4, minibatches=4)
    env, draw = make("deep-sea-treasure-v0", 4), torch.Generator()
    two = (TIME, replace(TIME, sense="<="))
    with pytest.raises(BadLimit, match="one range") as error:
        conditioned_learner(env, two, ConditionedLagrangian(), config, draw)
    assert "time >= -20/-4" in str(error.value)
    with pytest.raises(BadLimit, match="belongs to no episode"):
        conditioned_learner(env, (replace(TIME, scale="average"),), ConditionedLagrangian(), config, draw)
    with pytest.raises(ValueError, match="got 1") as few:
        ConditionedLagrangian(nodes=1)
    assert "2" in str(few.value)
