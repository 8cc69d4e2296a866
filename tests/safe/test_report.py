"""Bounds from fresh episodes: by hand, against scipy, and by how often they hold."""

from __future__ import annotations

from math import log, nan, sqrt

import numpy as np
import pytest
from scipy.stats import binomtest

from safe.report import (
    BadCosts,
    broken_when_deterministic,
    clopper_pearson,
    conditional_value_at_risk,
    cvar_bound,
    empirical_bernstein,
    hoeffding,
    safety_report,
)

RISK = float(np.exp(-2))  # log(1 / RISK) = 2: square roots come out even


def test_hoeffding_by_hand() -> None:
    # n = 4, mean 3, ceiling 16: 3 + 16 sqrt(2 / 8) = 11; never above the ceiling.
    assert hoeffding([1, 2, 3, 6], 1 - RISK, 16) == pytest.approx(11)
    assert hoeffding([1, 2, 3, 6], 1 - RISK, 6) == pytest.approx(6)


def test_empirical_bernstein_by_hand() -> None:
    # 100 costs, half 0, half 2: mean 1, variance 100/99. Risk 2 exp(-2), so L = 2.
    # 1 + sqrt(2 * 100/99 * 2 / 100) + 7 * 2 * 2 / (3 * 99) = 1 + .2010 + .0943.
    costs = [0.0, 2.0] * 50
    assert empirical_bernstein(costs, 1 - 2 * RISK, 2) == pytest.approx(1 + sqrt(4 / 99) + 28 / 297)
    with pytest.raises(BadCosts, match="at least 2"):
        empirical_bernstein([1.0], 0.9, 2)


@pytest.mark.parametrize(("broken", "episodes"), [(0, 50), (3, 100), (40, 41), (7, 7)])
def test_clopper_pearson_is_scipys_exact_interval(broken, episodes) -> None:
    # A one-sided bound at 95 % is the upper end of the two-sided interval at 90 %.
    exact = binomtest(broken, episodes).proportion_ci(0.9, method="exact").high
    assert clopper_pearson(broken, episodes, 0.95) == pytest.approx(exact, abs=1e-9)


def test_no_failure_in_n_episodes_is_the_rule_of_three() -> None:
    # (1 - p)^n = 0.05.
    assert clopper_pearson(0, 100, 0.95) == pytest.approx(1 - 0.05**0.01)


def test_cvar_by_hand() -> None:
    # Worst quarter of 8 costs: the two largest. A share of 3/16 is one and a half: (8 + 7 / 2) / 1.5.
    costs = [4, 8, 1, 7, 2, 3, 5, 6]
    assert conditional_value_at_risk(costs, 0.25) == 7.5
    assert conditional_value_at_risk(costs, 3 / 16) == pytest.approx(11.5 / 1.5)
    assert conditional_value_at_risk(costs, 1.0) == 4.5


def test_cvar_bound_by_hand() -> None:
    # n = 16, log(1 / risk) = 2: e = 1/4. Share 1/2 of costs 0 and 4, ceiling 8: (1/4 * 8 + 1/4 * 4) / (1/2) = 6.
    costs = [0.0] * 8 + [4.0] * 8
    assert cvar_bound(costs, 0.5, 1 - RISK, 8) == pytest.approx(6)
    assert cvar_bound(costs, 0.25, 1 - RISK, 8) == 8  # too few episodes to say anything
    with pytest.raises(BadCosts, match=r"at least 0\.5"):
        cvar_bound(costs, 0.5, 0.4, 8)


def test_cvar_of_everything_is_the_mean_with_hoeffdings_error_towards_the_ceiling() -> None:
    # share 1: e ceiling + the upper (1 - e) of the sample; never below the sample's mean.
    costs = np.linspace(0, 1, 200)
    e = sqrt(-log(0.1) / 400)
    assert cvar_bound(costs, 1.0, 0.9, 1.0) == pytest.approx(e + (1 - e) * conditional_value_at_risk(costs, 1 - e))


def test_bounds_hold_as_often_as_they_say() -> None:
    # Costs 10 Beta(1, 4): mean 2; P(> 5) = (1/2)^4; the worst tenth begins at q with (1 - q / 10)^4 = 1/10; its
    # mean is q + (10 - q) / 5. 2000 reports of 60 episodes at 80 %: a correct bound fails at most 400 times, 3 sd = 54.
    draw = np.random.default_rng(0)
    q = 10 * (1 - 0.1**0.25)
    truth = 2.0, 1 / 16, q + (10 - q) / 5
    failures = np.zeros(4)
    for _ in range(2000):
        x = 10 * draw.beta(1, 4, 60)
        found = hoeffding(x, 0.8, 10), empirical_bernstein(x, 0.8, 10), cvar_bound(x, 0.1, 0.8, 10)
        chance = clopper_pearson(int((x > 5).sum()), 60, 0.8)
        failures += [found[0] < truth[0], found[1] < truth[0], found[2] < truth[2], chance < truth[1]]
    assert (failures <= 454).all() and failures[3] > 100, failures  # the exact bound is not far too wide


def test_the_report_states_what_was_proven() -> None:
    costs = {"heat": [0.0] * 95 + [2.0] * 5, "noise": [1.0] * 100}
    heat, noise = safety_report(costs, {"heat": 1.0, "noise": 0.5}, {"heat": 2.0, "noise": 4.0}, joint=False)
    assert heat.proven and not noise.proven and (heat.broken, noise.broken) == (5, 100)
    assert heat.broken_bound == pytest.approx(binomtest(5, 100).proportion_ci(0.9, method="exact").high)
    assert "95 % confidence" in str(heat) and "5 of 100 did" in str(heat)
    # Together: six bounds, each at risk 0.05 / 6, so every one of them is wider.
    joint = safety_report(costs, {"heat": 1.0, "noise": 0.5}, {"heat": 2.0, "noise": 4.0})
    assert joint[0].broken_bound == pytest.approx(clopper_pearson(5, 100, 1 - 0.05 / 6)) and joint[0].confidence == 0.95
    other = safety_report(costs, {"heat": 1.0}, {"heat": 2.0}, joint=False, method="hoeffding", share=0.5)
    assert other[0].mean_bound == hoeffding(costs["heat"], 0.95, 2.0) and other[0].cvar == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("costs", "word"),
    [([1.0, nan], "nan"), ([-1.0], "-1"), ([5.0], "ceiling 4"), ([], "at least one"), ([[1.0]], "one number per")],
)
def test_costs_that_prove_nothing_are_refused_by_name(costs, word) -> None:
    with pytest.raises(BadCosts, match=f"cost 'heat'.*{word}"):
        safety_report({"heat": costs}, {"heat": 1.0}, {"heat": 4.0})


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BadCosts, match="limits name noise"):
        safety_report({"heat": [1.0]}, {"noise": 1.0}, {"heat": 4.0})
    with pytest.raises(BadCosts, match="confidence"):
        safety_report({"heat": [1.0]}, {"heat": 1.0}, {"heat": 4.0}, confidence=1.0)
    with pytest.raises(BadCosts, match="share"):
        cvar_bound([1.0], 0.0, 0.9, 4.0)
    with pytest.raises(BadCosts, match="8 of 7"):
        clopper_pearson(8, 7, 0.9)


def test_a_limit_that_only_drawn_actions_keep_is_told() -> None:
    said = broken_when_deterministic([0.5, 0.2, 2], [1.0, 0.1, 3], {"heat": 0.5, "noise": 1.0, "dust": 1.0})
    assert said == ["heat: 0.5 <= 0.5 with drawn actions, 1 with the likeliest; deploy it stochastic"]
