"""What critics expect, joined to what finished episodes cost: averages by hand, units, every kind of end, old files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tradeoff.engine.trajectories import Trajectories
from tradeoff.envs.protocol import EnvSpec
from tradeoff.safe.constraints import Constraint, Constraints
from tradeoff.safe.foresight import AveragedReturns, ForeseenReturns, critics_unit, per_unit, remaining

Bound = Callable[..., Constraints]


def _steps(costs: list[float], terminated: list[bool], truncated: list[bool] | None = None) -> Trajectories:
    """Steps of one policy in one environment, all with reward 1."""
    cost = torch.tensor(costs, dtype=torch.float32).view(-1, 1, 1, 1)
    over, cut = (torch.tensor(x).view(-1, 1, 1) for x in (terminated, truncated or [False] * len(costs)))
    start = torch.cat([torch.ones(1, 1, 1, dtype=torch.bool), (over | cut)[:-1]])
    none = torch.zeros(len(costs), 1, 1, 0)
    return Trajectories(none, none, none[..., 0:0].sum(-1), torch.ones_like(cost), cost, over, cut, none, start, none)


def _row(cost: float) -> Tensor:
    return torch.tensor([[0.0, cost]])


def test_the_level_is_that_of_episodes_and_the_change_that_of_critics(bound: Bound) -> None:
    """Episodes of two steps that terminate, critics of discount 1/2: they see 1.5 steps, then 1: 1.25 on average, or
    .625 per unit of cost.

    First an episode that costs 2, of which critics expect 1.25 without caution and read 1.5: foreseen is 2 + (1.5 -
    1.25) / .625 = 2.4. Then one that costs 0, expected at .25 and read so: it counts 6 / 7 in the averages, which are
    2 / 7 and (1.25 + 6 * .25) / 7 = 2.75 / 7: foreseen is 2 / 7 - 1 / 7 / .625.
    """
    returns = ForeseenReturns(bound(Constraint(cost="cost", limit=3.0)), 0.5)
    assert returns.update(_steps([1, 1], [False, True]))[0, 1].isnan(), "the critics have not been heard"
    assert returns.latest[0, 1] == 2
    returns.expect(_row(1.5), _row(1.25))
    assert returns.update(_steps([1, 1], [False, True]))[0, 1].item() == pytest.approx(2.4)
    returns.expect(_row(0.25), _row(0.25))
    assert returns.update(_steps([0, 0], [False, True]))[0, 1].item() == pytest.approx(2 / 7 - 1 / 7 / 0.625, abs=1e-6)
    assert returns.latest[0, 1] == 0, "what was measured stays what was measured"


def test_episodes_count_each_and_unfinished_ones_not(bound: Bound) -> None:
    """Costs 4 | 1, 1 | 3: episodes of 4 and 2, mean 3; nothing ends in the next iteration, which changes no level."""
    returns = ForeseenReturns(bound(Constraint(cost="cost", limit=3.0)), 0.9)
    returns.expect(_row(1.0), _row(1.0))
    found = returns.update(_steps([4, 1, 1, 3], [True, False, True, False]))
    assert found[0, 1].item() == pytest.approx(3.0)
    assert returns.update(_steps([7, 7], [False, False]))[0, 1].item() == pytest.approx(3.0)


def test_an_iteration_counts_by_the_episodes_that_ended_in_it(bound: Bound) -> None:
    """An episode of cost 4, then, at 6 / 7 of the weight, two of cost 1: (4 + 6 * 2) / (1 + 6 * 2) = 16 / 13.

    All take two steps, of which critics of discount .9 see (1.9 + 1) / 2 = 1.45 on average, of the two.
    """
    returns = ForeseenReturns(bound(Constraint(cost="cost", limit=3.0)), 0.9)
    returns.expect(_row(1.0), _row(1.0))
    returns.update(_steps([4, 0], [False, True]))
    found = returns.update(_steps([1, 0, 1, 0], [False, True, False, True]))
    assert found[0, 1].item() == pytest.approx(16 / 13)
    assert returns.unit[0, 1].item() == pytest.approx(1.45 / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("scale", "discount", "level"), [("average", 1.0, 2.0), ("discounted", 0.75, 8.0), ("per-step", 0.75, 2.0)]
)
def test_where_nothing_ends_the_level_is_that_of_the_steps(bound: Bound, scale: Any, discount: float, level: float):
    """A cost of 2 at every step: 2 per step, 2 / (1 - 3/4) discounted. Critics of discount 1/2 expect twice 2 of it."""
    limits = bound(Constraint(cost="cost", limit=3.0, scale=scale), discount=discount)
    returns = ForeseenReturns(limits, 0.5)
    returns.expect(_row(5.0), _row(4.0))
    found = returns.update(_steps([2, 2], [False, False]))[0, 1].item()
    assert found == pytest.approx(level * 5 / 4)
    steps = level / 2
    assert returns.room.item() == pytest.approx((3 - level) / steps)


def test_an_undiscounted_sum_without_an_end_has_no_level(bound: Bound) -> None:
    returns = ForeseenReturns(bound(Constraint(cost="cost", limit=3.0)), 0.5)
    returns.expect(_row(1.0), _row(1.0))
    assert returns.update(_steps([2, 2], [False, False]))[0, 1].isnan() and returns.room.isnan().all()


def test_what_a_limit_leaves_for_every_step(bound: Bound) -> None:
    """Episodes of 2 steps that cost 4 and of 1 that costs 1: 2.5 in 1.5 steps, so a limit of 4 leaves 1 per step.

    One that costs 9 in 4 steps counts 6 / 7 of the iterations and, as one of three, 6 / 8 of the episodes: (1/4) 2.5 +
    (3/4) 9 = 7.375 in (1/4) 1.5 + (3/4) 4 = 3.375. What exceeds a limit leaves less than nothing; critics have no say.
    """
    returns = AveragedReturns(bound(Constraint(cost="cost", limit=4.0)))
    returns.update(_steps([3, 3], [False, False]))
    assert returns.room.isnan().all() and returns.share.item() == 1, "nothing has ended"
    returns = AveragedReturns(bound(Constraint(cost="cost", limit=4.0)))
    assert returns.update(_steps([4, 0, 1], [False, True, True]))[0, 1].item() == 2.5
    assert returns.room.item() == pytest.approx(1.0)
    returns.update(_steps([9, 0, 0, 0], [False, False, False, True]))
    assert returns.share.item() == pytest.approx(6 / 7)
    assert returns.room.item() == pytest.approx((4 - 7.375) / 3.375)


def test_steps_that_remain() -> None:
    """Three steps that terminate, discount 1/2: 1.75, 1.5 and 1, mean 4.25 / 3; undiscounted 2. Cut: 2, or no end."""
    length, over = torch.tensor([3.0, 3.0]), torch.tensor([True, False])
    assert remaining(length, over, 0.5).tolist() == [pytest.approx(4.25 / 3), 2.0]
    assert remaining(length, over, 1.0).tolist() == [2.0, 1e9]


def test_gains_are_converted_as_even_costs_are(channels: Callable[..., EnvSpec]) -> None:
    """25 in 1000 steps are seen as (1 - .99^1000) of 2.5 with discount .99: .1 per unit, to 0.004 %."""

    def unit(scale: Any, discount: float, horizon: int | None, gamma: float) -> float:
        given = [Constraint(cost="cost", limit=1.0, scale=scale)]
        return critics_unit(given, channels(horizon=horizon), discount=discount, gamma=gamma)[0]

    assert unit("episodic", 0.9, 1000, 0.99) == pytest.approx(0.1, rel=1e-4)
    assert unit("discounted", 0.5, 3, 0.9) == pytest.approx((1 + 0.9 + 0.81) / 1.75)
    assert unit("per-step", 0.5, 3, 0.9) == pytest.approx((1 + 0.9 + 0.81) / (1.75 * 0.5))
    assert unit("average", 1.0, None, 0.5) == pytest.approx(2.0)
    assert unit("episodic", 1.0, None, 0.9) == unit("average", 1.0, None, 1.0) == 1.0, "nobody knows how long"
    assert per_unit(3.0, (2.0, 0.5)) == (6.0, 1.5) and per_unit((1.0, 4.0), (2.0, 0.5)) == (2.0, 2.0)


def test_averages_go_on_from_a_file_and_begin_anew_from_an_older_one(bound: Bound) -> None:
    one, other, old = (ForeseenReturns(bound(Constraint(cost="cost", limit=3.0)), 0.5) for _ in range(3))
    one.expect(_row(1.5), _row(1.25))
    one.update(_steps([1, 1], [False, True]))
    state = one.state_dict()
    other.load_state_dict(state)
    old.load_state_dict({name: x for name, x in state.items() if name != "foreseen"})
    later = _steps([1, 0, 1], [False, True, False])
    assert torch.equal(one.update(later), other.update(later))
    assert old.update(later)[0, 1].isnan() and old.latest[0, 1] == 1


def test_an_episode_that_goes_on_over_a_file_keeps_its_length(bound: Bound) -> None:
    """Two steps before the file and two after it, discount 1/2: (4 - (1 - 1/16)) / 4 * 2 = 1.53125 of 4 are seen."""
    one, other = (ForeseenReturns(bound(Constraint(cost="cost", limit=3.0)), 0.5) for _ in range(2))
    one.expect(_row(1.0), _row(1.0))
    one.update(_steps([1, 1], [False, False]))
    other.load_state_dict(one.state_dict())
    later = _steps([1, 1], [False, True])
    other.update(later._replace(start=torch.zeros_like(later.start)))
    assert other.latest[0, 1] == 4 and other.unit[0, 1].item() == pytest.approx(1.53125 / 4)
