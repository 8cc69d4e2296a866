"""Limits, what is measured against them, and the weights that prices become."""

from __future__ import annotations

import warnings
from math import nan

import pytest
import torch

from tradeoff.engine.trajectories import Trajectories
from tradeoff.envs.errors import UnknownName
from tradeoff.safe.constraints import BadLimit, Constraint, bind, default_constraints, discounted_limit
from tradeoff.safe.measuring import PATIENCE, MeasuredReturns, SafetyWarning


def _rollout(channels, ended, start=True, objectives=1):
    """Trajectories [T, P, B] from channels [T, P, B, c]."""
    x, ended = torch.tensor(channels), torch.tensor(ended)
    blank = torch.zeros(*ended.shape, 1)
    start = torch.cat([torch.full_like(ended[:1], start), ended[:-1]])
    return Trajectories(
        blank, blank, blank[..., 0], x[..., :objectives], x[..., objectives:], ended, torch.zeros_like(ended), blank,
        start, blank[..., :0],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("field", "word"),
    [({"limit": nan}, "finite"), ({"limit": ()}, "finite"), ({"scale": "weekly"}, "weekly"), ({"sense": "<"}, "'<'")],
)
def test_a_limit_that_is_none_is_refused_by_name(field, word) -> None:
    with pytest.raises(BadLimit, match=word):
        Constraint(**{"cost": "heat", "limit": 1.0} | field)


def test_an_unknown_cost_names_its_neighbours(channels) -> None:
    with pytest.raises(UnknownName, match="did you mean cost"):
        bind([Constraint(cost="cots", limit=1.0)], channels(), discount=0.9)


def test_constraints_that_contradict_each_other_are_refused(channels) -> None:
    one, other = Constraint(cost="cost", limit=1.0), Constraint(cost="cost", limit=1.0, scale="average", sense=">=")
    with pytest.raises(BadLimit, match="one scale"):
        bind([one, other], channels(), discount=0.9)
    with pytest.raises(BadLimit, match="below 1"):
        bind([Constraint(cost="cost", limit=1.0, scale="per-step")], channels(), discount=1.0)
    with pytest.raises(BadLimit, match="no constraint"):
        bind([], channels(), discount=0.9)
    with pytest.raises(BadLimit, match="give 1 or 3"):
        longer = Constraint(cost="cost", limit=(1.0, 2, 3), sense=">=")
        bind([Constraint(cost="cost", limit=(1.0, 2.0)), longer], channels(), discount=0.9)
    with pytest.raises(BadLimit, match="'cost' has two limits, cost <= 1 and cost <= 2; give one"):
        bind([one, Constraint(cost="cost", limit=2.0)], channels(), discount=0.9)


def test_violation_and_weights_by_hand(channels, tensor) -> None:
    # Returns (reward 5, heat 3, noise 2); heat <= 1 is broken by 2, reward >= 7 by 2, noise <= 4 has 2 to spare.
    # Prices (1/2, 3, 0): the reward's weight 1 becomes 1 + 3, heat gets -1/2, noise 0.
    spec = channels(costs=("heat", "noise"))
    given = (
        Constraint(cost="heat", limit=1.0), Constraint(cost="reward", limit=7.0, sense=">="),
        Constraint(cost="noise", limit=4.0),
    )  # fmt: skip
    bound = bind(given, spec, discount=0.9)
    returns = tensor(5, 3, 2).unsqueeze(0)
    assert bound.violation(returns).tolist() == [[2, 2, -2]]
    assert bound.weigh(tensor([1, 0, 0]), tensor([0.5, 3, 0])).tolist() == [[4, -0.5, 0]]


def test_policies_may_have_limits_of_their_own(channels, tensor) -> None:
    bound = bind([Constraint(cost="cost", limit=(1.0, 4.0))], channels(), discount=0.9)
    assert bound.violation(tensor([0, 3], [0, 3])).tolist() == [[2], [-1]]


def test_limits_of_the_environment_and_their_discounted_form(channels) -> None:
    spec = channels(costs=("heat", "noise"), limits=(25.0,))
    assert default_constraints(spec) == (Constraint(cost="heat", limit=25.0),)
    # 12 over 2 steps is 6 a step: 6 + 6 / 2 = 9.
    assert discounted_limit(12.0, 0.5, 2) == 9.0 and discounted_limit(12.0, 1.0, 2) == 12.0


def test_every_scale_measures_what_it_says(channels) -> None:
    # One environment, an episode of 3 steps that costs 8, 4, 2, then one unfinished step that costs 6; discount 1/2.
    # episodic 14; discounted 8 + 2 + 1/2 = 10.5; per step half of that, 5.25; average (8 + 4 + 2 + 6) / 4 = 5.
    # The reward 1 a step has no limit: discounted, 1 + 1/2 + 1/4.
    costs = ("episodic", "discounted", "per-step", "average")
    spec = channels(costs=costs)
    bound = bind([Constraint(cost=c, limit=5.0, scale=c) for c in costs], spec, discount=0.5)  # type: ignore[arg-type]
    measure = MeasuredReturns(bound)
    paid = [[[[1.0, *[c] * 4]]] for c in (8, 4, 2, 6)]
    found = measure.update(_rollout(paid, [[[False]], [[False]], [[True]], [[False]]]))
    assert found.tolist() == [[1.75, 14, 10.5, 5.25, 5]]
    assert measure.violation.tolist() == [[9, 5.5, 0.25, 0]]
    # The episode that was begun with 6 ends with another 6: 12, 6 + 3 and half of it; the average sees one step.
    found = measure.update(_rollout([[[[1.0, 6, 6, 6, 6]]]], [[[True]]], start=False))
    assert found.tolist() == [[1.5, 12, 9, 4.5, 6]]


def test_a_violation_per_step_is_over_the_steps_that_a_value_sums(channels) -> None:
    # Discount 1/2, 3 steps that cost 8, 4, 2: sums 14, 10.5 and 5.25 over 3, 1 + 1/2 + 1/4 and half of that; mean 14/3.
    costs = ("episodic", "discounted", "per-step", "average")
    given = [Constraint(cost=c, limit=5.0, scale=c) for c in costs]  # type: ignore[arg-type]
    measure = MeasuredReturns(bind(given, channels(costs=costs), discount=0.5))
    assert measure.latest.numel() == 0
    measure.update(_rollout([[[[1.0, *[c] * 4]]] for c in (8, 4, 2)], [[[False]], [[False]], [[True]]]))
    assert measure.span.tolist() == [[1.75, 3, 1.75, 0.875, 1]]
    wanted = [9 / 3, 5.5 / 1.75, 0.25 / 0.875, 14 / 3 - 5]
    torch.testing.assert_close(measure.violation_per_step, torch.tensor([wanted]))


def test_a_violation_per_step_of_a_long_episode_is_one_minus_discount_times_it(bound) -> None:
    # J = 3 / (1 - .9) = 30 and d = 10 but for .9^200 = 7e-10: (1 - .9) (30 - 10) = 2. Unfinished, it says nothing.
    measure = MeasuredReturns(bound(Constraint(cost="cost", limit=10.0, scale="discounted"), discount=0.9))
    measure.update(_rollout([[[[1.0, 3.0]]]] * 100, [[[False]]] * 100))
    assert measure.violation_per_step.tolist() == [[0.0]]
    measure.update(_rollout([[[[1.0, 3.0]]]] * 100, [[[i == 99]] for i in range(100)], start=False))
    assert measure.span[0, 1].item() == pytest.approx(10)
    assert measure.violation_per_step.item() == pytest.approx((1 - 0.9) * (30 - 10), rel=1e-5)


def test_a_negative_cost_is_told_once(bound) -> None:
    measure = MeasuredReturns(bound(Constraint(cost="cost", limit=1.0)))
    data = _rollout([[[[1.0, -2.0]]]], [[[True]]])
    with pytest.warns(SafetyWarning, match="'cost' is negative \\(-2\\)"):
        measure.update(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measure.update(data).tolist() == [[1, -2]]


def test_a_cost_that_never_moves_is_told(bound) -> None:
    measure = MeasuredReturns(bound(Constraint(cost="cost", limit=1.0)))
    with pytest.warns(SafetyWarning, match="has been 2 at every step of 20 rollouts"):
        for _ in range(PATIENCE):
            found = measure.update(_rollout([[[[1.0, 2.0]]]], [[[True]]]))
    assert found.tolist() == [[1, 2]]


def test_a_cost_of_0_is_told_at_the_end_of_a_run_and_only_if_it_never_came(bound) -> None:
    # A robot that is limited in speed is slow at first: no cost for many rollouts, then some.
    measure = MeasuredReturns(bound(Constraint(cost="cost", limit=1.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3 * PATIENCE):
            measure.update(_rollout([[[[1.0, 0.0]]]], [[[True]]]))
        assert measure.watch.idle() == [
            "'cost' was 0 at every step of 60 rollouts, so its limit steered nothing: either no policy did what costs, "
            "or its channel is not wired up"
        ]
        measure.update(_rollout([[[[1.0, 1.0]]]], [[[True]]]))
    assert measure.watch.idle() == []


def test_an_environment_that_never_ends_an_episode_is_told(bound) -> None:
    measure = MeasuredReturns(bound(Constraint(cost="cost", limit=1.0)))
    with pytest.warns(SafetyWarning, match="no episode has ended in 20 rollouts"):
        for i in range(PATIENCE):
            found = measure.update(_rollout([[[[1.0, float(i)]]]], [[[False]]]))
    assert found.isnan().all() and measure.watch.first_feasible.tolist() == [0]


def test_a_run_that_was_never_feasible_says_how_near_it_came(bound) -> None:
    measure = MeasuredReturns(bound(Constraint(cost="cost", limit=1.0)))
    for cost in (5.0, 3.0, 4.0):
        measure.update(_rollout([[[[1.0, cost]], [[1.0, 0.5]]]], [[[True], [True]]]))
    said = "policies [0] were never feasible in 600 steps; nearest of policy 0 was cost <= 1: 3"
    assert measure.watch.verdict(600) == said
    assert measure.watch.first_feasible.tolist() == [0, 1]
    other = MeasuredReturns(measure.constraints)
    other.watch.load_state_dict(measure.watch.state_dict())
    assert other.watch.verdict(1) == measure.watch.verdict(1) is not None


def test_a_margin_keeps_a_share_of_the_limit_in_reserve() -> None:
    # 25 less a fifth is 20; what must exceed 10 aims at 12; below -5 aims at -6, above -5 at -4.
    for sense, limit, want in (("<=", 25.0, 20.0), (">=", 10.0, 12.0), ("<=", -5.0, -6.0), (">=", -5.0, -4.0)):
        assert Constraint(cost="x", limit=limit, sense=sense).tightened(0.2).limits == pytest.approx((want,))
    both = Constraint(cost="x", limit=(10.0, 20.0), scale="average").tightened(0.5)
    assert (both.limits, both.scale) == ((5.0, 10.0), "average")
    assert Constraint(cost="x", limit=25.0).tightened(0.0) == Constraint(cost="x", limit=25.0)
