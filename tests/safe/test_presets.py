"""Gains that fit the length of an episode."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envs import make
from safe.presets import gains_for
from safe.soft_solvers import CAL, SACPID, SACLagrangian
from safe.solvers import CRPO, P3O, AugmentedLagrangian, FOCOPSolver, PIDLagrangian, PlainLagrangian, ReLOAD
from tradeoff.registry import recommended

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


def test_of_the_solvers_that_learn_from_replay_those_that_read_episodes_are_scaled() -> None:
    """Fifty times 20 steps make 1000; critics at gamma .99 look ahead 100 steps, however long the episode."""
    cheetah = "SafetyHalfCheetahVelocity-v1"
    found = recommended("sac-lagrangian", cheetah).solver  # type: ignore[attr-defined]
    assert found == SACLagrangian(rate=1e-4 * (20 / 1000), start=1.0, bound=4.0)
    controller = recommended("sac-pid", cheetah).solver  # type: ignore[attr-defined]
    assert controller == SACPID(kp=0.01 * 0.02, ki=1e-4 * 0.02, kd=0.01 * 0.02, bound=4.0)
    assert recommended("cal", cheetah).solver == CAL()  # type: ignore[attr-defined]
