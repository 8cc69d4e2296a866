"""The bounds behind the safety report: by hand, against scipy, and by how often they hold."""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from tradeoff.safe.bounds import (
    BadCosts,
    clopper_pearson,
    conditional_value_at_risk,
    cvar_bound,
    cvar_by_band,
    cvar_by_excess,
    empirical_bernstein,
    hoeffding,
    mean_bound,
    quantile_bound,
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


def test_choosing_the_smaller_of_two_is_paid_for_with_half_the_risk_each() -> None:
    # Risk 2 exp(-2), so Hoeffding takes log(1 / risk) = 2: 100 costs of mean 1, ceiling 2: 1 + 2 sqrt(2 / 200) = 1.2.
    # Bernstein at the same risk exp(-2), L = 2 + log 2: with the variance 100/99 wider, with none narrower:
    # 1 + 7 * 2 * (2 + log 2) / (3 * 99).
    confidence = 1 - 2 * RISK
    assert mean_bound([0.0, 2.0] * 50, confidence, 2) == (pytest.approx(1.2), "Hoeffding")
    assert mean_bound([1.0] * 100, confidence, 2) == (pytest.approx(1 + 14 * (2 + log(2)) / 297), "empirical Bernstein")


@pytest.mark.parametrize(("broken", "episodes"), [(0, 50), (3, 100), (40, 41), (7, 7)])
def test_clopper_pearson_is_scipys_exact_interval(broken, episodes) -> None:
    # A one-sided bound at 95 % is the upper end of the two-sided interval at 90 %; and with the bound for its chance,
    # so few failures or fewer have a probability of 5 %.
    exact = binomtest(broken, episodes).proportion_ci(0.9, method="exact").high
    found = clopper_pearson(broken, episodes, 0.95)
    assert found == pytest.approx(exact, abs=1e-9)
    if broken < episodes:
        assert found == pytest.approx(beta(broken + 1, episodes - broken).ppf(0.95))
        assert binomtest(broken, episodes, found, alternative="less").pvalue == pytest.approx(0.05)


def test_no_failure_in_n_episodes_is_the_rule_of_three() -> None:
    # (1 - p)^n = 0.05.
    assert clopper_pearson(0, 100, 0.95) == pytest.approx(1 - 0.05**0.01)


def test_quantile_bound_by_hand() -> None:
    # Of five costs the largest exceeds the median unless all five lie below it: 1 - 1/32 = 0.969; the second largest
    # unless at least four do: 1 - 6/32 = 0.8125.
    costs = [5, 1, 4, 2, 3]
    assert quantile_bound(costs, 0.5, 0.95) == 5
    assert quantile_bound(costs, 0.5, 0.8125) == 4
    assert quantile_bound(costs, 0.5, 0.97) == inf
    assert quantile_bound([-2, -1, -3], 0.5, 0.8) == -1  # no floor is asked for


def test_cvar_by_hand() -> None:
    # Worst quarter of 8 costs: the two largest. A share of 3/16 is one and a half: (8 + 7 / 2) / 1.5.
    costs = [4, 8, 1, 7, 2, 3, 5, 6]
    assert conditional_value_at_risk(costs, 0.25) == 7.5
    assert conditional_value_at_risk(costs, 3 / 16) == pytest.approx(11.5 / 1.5)
    assert conditional_value_at_risk(costs, 1.0) == 4.5


def test_cvar_by_the_band_by_hand() -> None:
    # n = 16, log(1 / risk) = 2: e = 1/4. Share 1/2 of costs 0 and 4, ceiling 8: (1/4 * 8 + 1/4 * 4) / (1/2) = 6.
    costs = [0.0] * 8 + [4.0] * 8
    assert cvar_by_band(costs, 0.5, 1 - RISK, 8) == pytest.approx(6)
    assert cvar_by_band(costs, 0.25, 1 - RISK, 8) == 8  # too few episodes to say anything
    with pytest.raises(BadCosts, match=r"at least 0\.5"):
        cvar_by_band(costs, 0.5, 0.4, 8)


def test_the_band_is_the_formula_of_thomas_and_learned_miller() -> None:
    # Their theorem 3 over order statistics Z_1 <= ... <= Z_n <= Z_{n+1} = ceiling:
    # Z_{n+1} - 1/share sum_i (Z_{i+1} - Z_i) (i/n - e - (1 - share))_+.
    z = np.sort(np.random.default_rng(5).gamma(2.0, 1.0, 90).clip(max=9.0))
    e, steps = sqrt(-log(0.1) / 180), np.diff(np.append(z, 10.0))
    theirs = 10.0 - (steps * np.clip(np.arange(1, 91) / 90 - e - 0.7, 0, None)).sum() / 0.3
    assert cvar_by_band(z, 0.3, 0.9, 10.0) == pytest.approx(theirs)


def test_cvar_of_everything_is_the_mean_with_hoeffdings_error_towards_the_ceiling() -> None:
    # share 1: e ceiling + the upper (1 - e) of the sample; never below the sample's mean.
    costs = np.linspace(0, 1, 200)
    e = sqrt(-log(0.1) / 400)
    assert cvar_by_band(costs, 1.0, 0.9, 1.0) == pytest.approx(e + (1 - e) * conditional_value_at_risk(costs, 1 - e))


def test_cvar_by_excess_by_hand() -> None:
    # 100 costs, five of 6, the others 1; above 4 they exceed by 2 on a range of 12 - 4 = 8. Excess: mean 0.1, variance
    # (5 * 1.9^2 + 95 * 0.1^2) / 99 = 19/99. Risk 2 exp(-2), L = 2: 0.1 + sqrt(2 * 19/99 * 2 / 100) + 7 * 8 * 2 / 297.
    costs = [6.0] * 5 + [1.0] * 95
    excess = 0.1 + sqrt(4 * 19 / 99 / 100) + 112 / 297
    assert cvar_by_excess(costs, 0.1, 1 - 2 * RISK, 12, 4.0) == pytest.approx(4 + excess / 0.1)
    assert cvar_by_excess(costs, 0.1, 1 - 2 * RISK, 12, 99.0) == 12  # nothing beyond the ceiling
    nothing_below = cvar_by_excess(costs, 1.0, 1 - 2 * RISK, 12, -7.0)
    assert nothing_below == pytest.approx(empirical_bernstein(costs, 1 - 2 * RISK, 12))


def test_the_smaller_bound_on_cvar_is_named() -> None:
    # 500 episodes of cost 1, half the risk 0.05: the band has lost sqrt(log(40) / 1000) = 0.0607 of the worst 0.1, the
    # excess over 2 pays 7 * 98 * log(80) / (3 * 499) / 0.1 above 2.
    found = cvar_bound([1.0] * 500, 0.1, 0.95, 100, 2.0)
    assert found == (pytest.approx(2 + 6860 * log(80) / 1497), "excess over the limit")
    # A limit at the ceiling leaves no excess to look at; the band then has the word: (e 100 + (1/2 - e) 1) / (1/2).
    e = sqrt(log(40) / 1000)
    assert cvar_bound([1.0] * 500, 0.5, 0.95, 100, 100) == (pytest.approx(2 * (100 * e + 0.5 - e)), "Massart's band")


def test_bounds_hold_as_often_as_they_say() -> None:
    # Costs 10 Beta(1, 4): mean 2; P(> 5) = (1/2)^4; the worst tenth begins at q with (1 - q / 10)^4 = 1/10; its
    # mean is q + (10 - q) / 5. 1500 samples of 60 at 80 %: a correct bound fails at most 300 times, 3 sd = 47.
    draw = np.random.default_rng(0)
    q = 10 * (1 - 0.1**0.25)
    truth = np.array([2.0, 2.0, q + (10 - q) / 5, q + (10 - q) / 5, 1 / 16, q])
    failures = np.zeros(6)
    for _ in range(1500):
        x = 10 * draw.beta(1, 4, 60)
        of_cvar = cvar_by_band(x, 0.1, 0.8, 10), cvar_by_excess(x, 0.1, 0.8, 10, 5.0)
        chance = clopper_pearson(int((x > 5).sum()), 60, 0.8)
        of_mean = hoeffding(x, 0.8, 10), empirical_bernstein(x, 0.8, 10)
        failures += np.array([*of_mean, *of_cvar, chance, quantile_bound(x, 0.1, 0.8)]) < truth
    assert (failures <= 347).all() and failures[4] > 75 and failures[5] > 75, (
        failures
    )  # exact ones are not far too wide


def test_a_rare_disaster_does_not_break_the_bounds() -> None:
    # Cost 1 with probability 1/50, else 0, in [0, 1]: mean and share 0.02, the worst tenth 0.2. Half of the samples of
    # 30 see no disaster at all; 2000 at 95 %: a correct bound fails at most 100 times, 3 sd = 29.
    draw, failures = np.random.default_rng(2), np.zeros(4)
    for _ in range(2000):
        x = (draw.random(30) < 0.02).astype(float)
        found = mean_bound(x, 0.95, 1)[0], cvar_bound(x, 0.1, 0.95, 1, 0.0)[0], clopper_pearson(int(x.sum()), 30, 0.95)
        failures += [found[0] < 0.02, found[1] < 0.2, found[2] < 0.02, hoeffding(x, 0.95, 1) < 0.02]
    assert (failures <= 129).all(), failures


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BadCosts, match="share"):
        cvar_by_band([1.0], 0.0, 0.9, 4.0)
    with pytest.raises(BadCosts, match="8 of 7"):
        clopper_pearson(8, 7, 0.9)
    with pytest.raises(BadCosts, match="ceiling 4"):
        hoeffding([5.0], 0.9, 4.0)
    with pytest.raises(BadCosts, match="confidence"):
        quantile_bound([5.0], 0.1, 1.5)
