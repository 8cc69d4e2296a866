"""Limits as environments mean them, and gains that fit the steps that are summed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tradeoff.envs import make
from tradeoff.options import training
from tradeoff.registry import METHODS, recommended
from tradeoff.safe.conditioned import ConditionedLagrangian
from tradeoff.safe.methods import ConstrainedConfig
from tradeoff.safe.presets import gains_for
from tradeoff.safe.soft_solvers import CAL, SACPID, SACLagrangian
from tradeoff.safe.solvers import CRPO, P3O, AugmentedLagrangian, FOCOPSolver, PIDLagrangian, PlainLagrangian, ReLOAD

CHEETAH = make("mo-halfcheetah-v5").spec  # 1000 steps: fifty times the 20 that the gains are meant for


def test_gains_are_per_violation_of_an_episode() -> None:
    assert gains_for(PlainLagrangian(), CHEETAH) == PlainLagrangian(rate=0.001, bound=10.0)
    found = gains_for(ReLOAD(rate=(0.05, 0.5)), CHEETAH)
    assert found.rate == pytest.approx((0.001, 0.01)) and found.strength == 1.0, "a multiple has no unit"
    found = gains_for(AugmentedLagrangian(), CHEETAH)
    assert (found.penalty, found.rate) == pytest.approx((0.02, 0.001))
    found = gains_for(PIDLagrangian(), CHEETAH)
    assert (found.rule.kp, found.rule.ki, found.rule.bound) == pytest.approx((0.01, 0.001, 10.0))
    assert gains_for(FOCOPSolver(), CHEETAH).radius == FOCOPSolver().radius


def test_what_is_no_gain_stays() -> None:
    assert gains_for(P3O(), CHEETAH) == P3O(), "its penalty multiplies normalised advantages, whatever the episode"
    assert gains_for(CRPO(), CHEETAH) == CRPO()
    short, endless = replace(CHEETAH, horizon=20), replace(CHEETAH, horizon=None)
    assert gains_for(ReLOAD(), short) == gains_for(ReLOAD(), endless) == ReLOAD()
    assert gains_for(ReLOAD(bound=2.0), CHEETAH).bound == 2.0, "a lower ceiling than ours stands"


def test_bodies_under_a_limit_on_speed_start_at_a_price() -> None:
    walk = make("SafetyAntVelocity-v1").spec
    assert gains_for(PlainLagrangian(), walk) == PlainLagrangian(rate=0.001, start=1.0, bound=4.0)
    assert gains_for(PlainLagrangian(start=0.5, bound=2.0), walk) == PlainLagrangian(rate=0.001, start=0.5, bound=2.0)
    assert gains_for(PlainLagrangian(), make("SafetyWalker2dVelocity-v1").spec) == PlainLagrangian(rate=0.001, bound=10)
    assert gains_for(CRPO(), walk) == CRPO()
    found = gains_for(PIDLagrangian(), walk).rule
    assert (found.kp, found.start, found.bound) == pytest.approx((0.01, 1.0, 4.0))


def test_prices_of_hazards_among_goals_grow_slowly() -> None:
    goals = make("SafetyPointGoal1-v0").spec
    assert gains_for(PlainLagrangian(), goals) == PlainLagrangian(rate=0.05 * 0.02 * 0.1, bound=0.5)
    assert gains_for(PlainLagrangian(bound=0.25), goals).bound == 0.25
    button = make("SafetyPointButton1-v0").spec
    assert gains_for(PlainLagrangian(), button) == PlainLagrangian(rate=0.001, bound=10.0)


@pytest.mark.parametrize(
    ("changes", "repeat", "margin", "entropy", "gamma", "steps"),
    [
        ({}, 4, 0.5, 0.04, 0.95, 4096),
        ({"margin": 0.2}, 4, 0.2, 0.04, 0.95, 4096),
        ({"repeat": 1}, 1, 0.0, 0.01, 0.97, 4000),
        ({"scale": "average"}, 1, 0.0, 0.01, 0.97, 4000),
    ],
)
def test_goals_are_learnt_in_rounds_of_four_steps_with_a_reserve(
    changes: Any, repeat: int, margin: float, entropy: float, gamma: float, steps: int
) -> None:
    found: Any = recommended("lagrangian", "SafetyCarGoal1-v0", **changes)
    learner = found.learner
    assert (found.repeat, found.margin, learner.entropy, learner.gamma) == (repeat, margin, entropy, gamma)
    assert learner.rollout_steps * learner.environments * found.repeat == steps
    words = [word for name, value in changes.items() for word in (f"--{name}", str(value))]
    assert training(["lagrangian", "--env", "SafetyCarGoal1-v0", *words]).method == found
    assert recommended("sac-lagrangian", "SafetyCarGoal1-v0").repeat == 1  # type: ignore[attr-defined]


def test_of_the_solvers_that_learn_from_replay_those_that_read_episodes_are_scaled() -> None:
    """Fifty times 20 steps make 1000; critics at gamma .99 look ahead 100 steps, however long the episode."""
    cheetah = "SafetyHalfCheetahVelocity-v1"
    found = recommended("sac-lagrangian", cheetah).solver  # type: ignore[attr-defined]
    assert found == SACLagrangian(rate=2e-6, start=1.0, bound=4.0)
    controller = recommended("sac-pid", cheetah).solver  # type: ignore[attr-defined]
    assert controller == SACPID(kp=2e-4, ki=2e-6, kd=2e-4, bound=4.0)
    assert recommended("cal", cheetah).solver == CAL()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if issubclass(kind, ConstrainedConfig)])
def test_a_budget_of_discounted_speed_is_taken_for_one(name: str) -> None:
    found: Any = recommended(name, "HopperSpeedBudget-v0")
    limit = () if name == "conditioned-lagrangian" else ("speed<=82.748",)  # wants a range
    assert (found.limit, found.scale, found.discount) == (limit, "discounted", 0.99)
    usual: Any = recommended(name, "SafetyHopperVelocity-v1")
    assert (usual.limit, usual.scale, usual.discount) == ((), "episodic", 1.0)
    chosen: Any = recommended(name, "HopperSpeedBudget-v0", limit=("5",), scale="average", discount=0.9)
    assert (chosen.limit, chosen.scale, chosen.discount) == (("5",), "average", 0.9)


def test_a_run_within_a_discounted_budget_measures_discounted_sums() -> None:
    words = ["sac-lagrangian", "--env", "HopperSpeedBudget-v0", "--steps", "100"]
    config = training(words).method
    run = replace(config, learner=replace(config.learner, capacity=5000)).start()
    (limit,) = run.learner.scalarizer.constraints.given
    assert (limit.cost, limit.limits, limit.scale, run.discount) == ("speed", (82.748,), "discounted", 0.99)
    assert run.learner.episodes.discount.tolist() == pytest.approx([0.99, 0.99])


def test_gains_are_per_violation_of_what_is_summed() -> None:
    """Discounted by .99, a thousand steps sum to (1 - .99^1000) / .01 = 99.9957, five times 20; a mean to one step."""
    share = 20 / 99.9956829
    body = "HopperSpeedBudget-v0"
    assert recommended("sac-lagrangian", body).solver.rate == pytest.approx(1e-4 * share)  # type: ignore[attr-defined]
    found = recommended("sac-pid", body).solver  # type: ignore[attr-defined]
    assert (found.kp, found.ki, found.kd, found.bound) == pytest.approx((0.01 * share, 1e-4 * share, 0.01 * share, 10))
    found = recommended("reload", body).solver  # type: ignore[attr-defined]
    assert found.rate == pytest.approx(0.05 * share) and found.strength == 1.0
    found = recommended("conditioned-lagrangian", body).solver  # type: ignore[attr-defined]
    assert (found.rate, found.penalty) == pytest.approx((0.05 * share, 0.5 * share))
    assert recommended("cal", body).solver == CAL()  # type: ignore[attr-defined]
    assert gains_for(ReLOAD(), replace(CHEETAH, horizon=None), "discounted", 0.99).rate == pytest.approx(0.05 / 5)
    assert gains_for(ReLOAD(), CHEETAH, "discounted", 0.9) == ReLOAD(), "ten steps ahead: less than 20"
    assert gains_for(ReLOAD(), CHEETAH, "average") == gains_for(ReLOAD(), CHEETAH, "per-step", 0.99) == ReLOAD()
    assert gains_for(ConditionedLagrangian(), CHEETAH, "discounted", 1.0).rate == pytest.approx(0.001)


@pytest.mark.parametrize("horizon", [30, 70, 100, 500, 999])
def test_recommended_gains_are_written_as_short_as_a_person_writes_them(horizon: int) -> None:
    """0.05 x 20 / 100 is 0.01; in binary the product is 0.010000000000000002."""
    spec = replace(make("deep-sea-treasure-v0").spec, horizon=horizon)
    for solver in (PlainLagrangian(), SACLagrangian(), PIDLagrangian(), ReLOAD(rate=(0.05, 0.1))):
        found = gains_for(solver, spec)
        found = getattr(found, "rule", found)
        gains = [getattr(found, name) for name in ("rate", "ki", "kp") if hasattr(found, name)]
        for gain in gains:
            for x in gain if isinstance(gain, tuple) else (gain,):
                assert x == float(f"{x:.12g}")
    assert gains_for(PlainLagrangian(), replace(spec, horizon=100)).rate == 0.01
