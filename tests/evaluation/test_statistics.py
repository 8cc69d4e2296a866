"""Intervals and tests against scipy, closed forms, enumeration and repeated experiments."""

import numpy as np
import pytest
from scipy import stats

from tradeoff.evaluation import (
    InvalidPoints,
    bootstrap_interval,
    expected_utility,
    front_interval,
    hypervolume,
    interquartile_mean,
    paired_comparison,
)


def test_interquartile_mean():
    assert interquartile_mean([100, 1, 2, 3, 4, 5, 6, -100]) == (2 + 3 + 4 + 5) / 4
    assert interquartile_mean([[7.0]]) == 7.0
    for count in range(1, 14):
        values = np.random.default_rng(count).normal(size=(count, 3))
        np.testing.assert_allclose(interquartile_mean(values), stats.trim_mean(values.ravel(), 0.25), rtol=1e-12)


def test_bootstrap_interval_equals_the_library():
    values = np.random.default_rng(0).exponential(size=25)
    ours = bootstrap_interval(values, np.mean, confidence=0.9, resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose(ours[:3], (values.mean(), theirs.low, theirs.high), rtol=0.01)
    assert ours.method == "bootstrap"


def test_bootstrap_of_two_values_by_enumeration():
    # Resamples of (0, 1) have means 0, 1/2, 1/2, 1: the quarter quantiles are 0 or 1/2, the outer ones 0 and 1.
    assert bootstrap_interval([0.0, 1.0], np.mean) == (0.5, 0.0, 1.0, "bootstrap")


def test_runs_are_resampled_within_tasks():
    # Each task has its own level and no scatter, so no resample within tasks can differ: the interval is a point.
    levels = np.tile([1.0, 10.0, 100.0], (5, 1))
    assert bootstrap_interval(levels, np.mean) == (37.0, 37.0, 37.0, "bootstrap")
    # Two independent tasks of standard normal runs: the mean of both scatters by sqrt(1 / (2 n)), not sqrt(1 / n).
    table = np.random.default_rng(1).normal(size=(400, 2))
    table[:, 1] = table[:, 0]  # equal columns: resampling whole rows would show sqrt(1 / n)
    found = bootstrap_interval(table, np.mean)
    np.testing.assert_allclose(found.high - found.low, 2 * 1.96 * table[:, 0].std() / np.sqrt(800), rtol=0.08)


def test_intervals_repeat_and_move_with_the_seed():
    values = np.random.default_rng(2).normal(size=(6, 3))
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, seed=4).low != bootstrap_interval(values, seed=5).low


def test_paired_comparison_by_hand():
    # Differences 1, 2, 3, 4 (sum 10): of the 16 sign patterns only all plus and all minus reach 10, so p = 2 / 16.
    # Runs 2, 3, 4, 5 against 1, 1, 1, 1: all 16 pairs are won.
    found = paired_comparison([2, 3, 4, 5], [1, 1, 1, 1])
    assert (found.difference.value, found.p_value, found.improvement) == (2.5, 2 / 16, 1.0)
    assert 1.0 <= found.difference.low < 2.5 < found.difference.high <= 4.0
    # Pairs (1, 1), (1, 3), (2, 1), (2, 3): a tie, a loss, a win, a loss: (1/2 + 0 + 1 + 0) / 4.
    assert paired_comparison([1, 2], [1, 3]).improvement == 0.375
    assert paired_comparison([1, 2], [1, 2]).p_value == 1.0
    # Beyond 14 pairs what was seen counts as one of the patterns: of 2 ** 30 none of 10,000 random ones reaches it.
    assert paired_comparison(np.ones(30), np.zeros(30)).p_value == 1 / 10_001


@pytest.mark.parametrize(("count", "error"), [(9, 1e-12), (30, 0.015)])
def test_paired_comparison_equals_the_library(count, error):
    generator = np.random.default_rng(count)
    first, second = generator.normal(0.4, 1.0, count), generator.normal(0.0, 1.0, count)
    wanted = stats.permutation_test(
        (first - second,), np.mean, permutation_type="samples", n_resamples=20_000, rng=0, vectorized=False
    ).pvalue
    found = paired_comparison(first, second)
    assert 0.01 < wanted < 0.99
    np.testing.assert_allclose(found.p_value, wanted, atol=error)
    wins = stats.mannwhitneyu(first, second).statistic / count**2
    np.testing.assert_allclose(found.improvement, wins, rtol=1e-12)


def test_front_interval_of_one_policy_and_a_mean():
    # A linear score of one policy is a mean: the interval must be the normal one, 1.96 s / sqrt(e).
    returns = np.random.default_rng(3).normal(size=(1, 200, 2))
    found = front_interval(returns, lambda points: expected_utility(points, [0.5, 0.5]), resamples=4000)
    scores = returns[0].mean(axis=1)
    half = 1.96 * scores.std(ddof=1) / np.sqrt(200)
    np.testing.assert_allclose(found.value, scores.mean(), rtol=1e-12)
    np.testing.assert_allclose([found.low, found.high], [scores.mean() - half, scores.mean() + half], atol=0.01)


def test_front_interval_with_few_episodes_is_wide_enough():
    # From e episodes the resampled means scatter by (e - 1) / e of the true variance: with 2, by half; made good.
    returns = np.array([[[0.0], [2.0]]])
    found = front_interval(returns, lambda points: float(points[0, 0]))
    np.testing.assert_allclose(found[:3], [1.0, 1.0 - np.sqrt(2.0), 1.0 + np.sqrt(2.0)])


def test_front_interval_takes_the_flattery_off():
    # 20 points of a quarter circle, 8 noisy episodes each: the plain value is mostly above the truth; the
    # interval still holds the truth (at 95 %: fewer than 33 of 40 has probability 0.003).
    angle = np.linspace(0.1, np.pi / 2 - 0.1, 20)
    circle = 10 * np.column_stack([np.cos(angle), np.sin(angle)])
    truth = hypervolume(circle, (0, 0)).value
    inside, above = 0, 0
    for seed in range(40):
        episodes = circle[:, None] + np.random.default_rng(seed).normal(size=(20, 8, 2))
        found = front_interval(episodes, lambda points: hypervolume(points, (0, 0)), resamples=150)
        inside += found.low <= truth <= found.high
        above += found.value > truth
    assert inside >= 33
    assert above >= 30  # the plain value is above in 32 of 40


def test_front_interval_without_scatter_or_without_knowledge():
    fixed = np.tile([[[1.0, 3.0]], [[2.0, 1.0]]], (1, 5, 1))
    found = front_interval(fixed, lambda points: hypervolume(points, (0, 0)))
    np.testing.assert_allclose(found[:3], [4.0, 4.0, 4.0], rtol=1e-12)  # 3 + 2 - 1
    once = front_interval(fixed[:, :1], lambda points: hypervolume(points, (0, 0)))
    assert once[:3] == (4.0, -np.inf, np.inf)


def test_front_interval_does_not_leave_what_can_be():
    # One policy seen at (-1, -1) and at (1, 1), four times each: its mean is the reference point, of area 0. Resampled
    # means (x, x) have areas x^2 above 0 or none, so the reflected interval reaches from below 0 to 0.
    episodes = np.array([[[0.0, 0.0], [2.0, 2.0]] * 4])

    def volume(points):
        return hypervolume(points, (0.0, 0.0))

    free, cut = (front_interval(episodes - 1.0, volume, least=least) for least in (-np.inf, 0.0))
    assert free.value == cut.value == 0.0 and free.low < 0.0 and free.high == 0.0
    assert cut.low == 0.0 and cut.high == pytest.approx(-free.low), "up to where the resampled areas go"
    assert front_interval(episodes + 9.0, volume, least=0.0) == front_interval(episodes + 9.0, volume), "far from it"
    assert front_interval(episodes[:, :1], volume, least=0.0)[1:3] == (0.0, np.inf)


def test_front_interval_near_a_bound_holds_the_truth():
    # One policy, truth (0.3, 0.3): area 0.09, with 8 episodes of standard deviation 1 each.
    inside = 0
    for seed in range(60):
        episodes = 0.3 + np.random.default_rng(seed).normal(size=(1, 8, 2))
        found = front_interval(episodes, lambda points: hypervolume(points, (0, 0)), resamples=150, least=0.0)
        assert found.low >= 0.0
        inside += found.low <= 0.09 <= found.high
    assert inside >= 50


def test_bad_input_is_refused():
    with pytest.raises(InvalidPoints, match="no NaN"):
        interquartile_mean([1.0, np.nan])
    with pytest.raises(InvalidPoints, match="at least one"):
        bootstrap_interval([])
    with pytest.raises(InvalidPoints, match=r"\[runs, tasks\]"):
        bootstrap_interval(np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="confidence is 95"):
        bootstrap_interval([1.0, 2.0], confidence=95)
    with pytest.raises(InvalidPoints, match="one length"):
        paired_comparison([1.0, 2.0], [1.0])
    with pytest.raises(InvalidPoints, match="policies, episodes, objectives"):
        front_interval(np.ones((2, 2)), np.sum)
