"""Reports: the known fronts, how far a front is from one, and the numbers of a finished run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.morl.conftest import CONCAVE, TINY, TREASURE, changed, sea
from tradeoff.evaluation import hypervolume
from tradeoff.morl import Front, known_front
from tradeoff.morl.report import compare, final_front, score_front, utility_weights


@pytest.mark.parametrize(
    ("env", "treasure"),
    [
        ("deep-sea-treasure-v0", TREASURE),
        ("deep-sea-treasure-concave-v0", CONCAVE),
        ("deep-sea-treasure-mirrored-v0", CONCAVE),
    ],
)
@pytest.mark.parametrize("discount", [0.99, 0.9])
def test_the_sea_is_known_exactly(env: str, treasure: tuple[float, ...], discount: float) -> None:
    known = known_front(env, discount)
    assert known is not None and known.kind == "exact"
    expected = sea(treasure, discount)
    order = lambda points: points[np.argsort(-points[:, 1])]  # noqa: E731
    better = [not any((q >= p).all() and (q > p).any() for q in expected) for p in expected]
    np.testing.assert_allclose(order(known.points), order(expected[better]), rtol=1e-6)


def test_the_volume_of_the_discounted_sea() -> None:
    # n moves return treasure * 0.99^(n - 1) and -(1 - 0.99^n) / 0.01; the rectangles above (0, -25), left to right.
    area, left = 0.0, 0.0
    for treasure, n in zip(TREASURE, (1, 3, 5, 7, 8, 9, 13, 14, 17, 19), strict=True):
        right = treasure * 0.99 ** (n - 1)
        area, left = area + (right - left) * (25 - (1 - 0.99**n) / 0.01), right
    assert area == pytest.approx(360.40, abs=0.005)
    known = known_front("deep-sea-treasure-v0", 0.99)
    assert known is not None and len(known.points) == 10
    assert hypervolume(known.points, [0, -25]).value == pytest.approx(area, rel=1e-6)


def test_other_known_fronts() -> None:
    gathering, tree = known_front("resource-gathering-v0", 0.9), known_front("fruit-tree-v0", 0.99)
    assert gathering is not None and len(gathering.points) == 9
    assert tree is not None and tree.points.shape == (64, 6)  # every leaf of depth 6 is a trade-off
    for env in ("minecart-v0", "minecart-deterministic-v0"):
        cart = known_front(env, 0.98)
        assert cart is not None and cart.kind == "published" and cart.points.shape[1] == 3 and len(cart.points) > 1


def test_what_is_not_known() -> None:
    assert known_front("deep-sea-treasure-v0", 0.99, 50) is None
    assert known_front("water-reservoir-v0", 0.99) is None
    assert known_front("deep-sea-treasure-v0", 0.99) is known_front("deep-sea-treasure-v0", 0.99), "computed once"


def test_a_front_compared_with_itself() -> None:
    truth = sea(TREASURE)
    found = compare(truth[::-1], truth, np.array([0.0, -25.0]), "exact")
    assert found["kind"] == "exact" and found["points"] == found["points_found"] == 10
    assert [found[name] for name in ("igd_plus", "additive_epsilon", "maximum_utility_loss")] == [0.0, 0.0, 0.0]
    assert found["hypervolume"] == pytest.approx(401.8, rel=1e-12)


def test_a_front_that_lacks_a_corner() -> None:
    # Truth (0, 4), (3, 3), (4, 0); found (0, 4) and (3, 3), one of them moved by less than the tolerance of 1e-3.
    truth, ours = np.array([[0.0, 4], [3, 3], [4, 0]]), np.array([[3.0, 3], [0, 3.9995]])
    found = compare(ours, truth, np.array([-1.0, -1.0]), "published")
    assert (found["points"], found["points_found"], found["kind"]) == (3, 2, "published")
    # What lacks at (4, 0) is 1 (from (3, 3), nothing in the second objective); at (0, 4) it is 0.0005.
    assert found["igd_plus"] == pytest.approx((1 + 0.0005) / 3, rel=1e-9)
    assert found["additive_epsilon"] == pytest.approx(1.0)
    assert found["hypervolume"] == pytest.approx(1 * 5 + 3 * 4 + 1 * 1)  # of the truth
    # Losses at weights (w, 1 - w): max of (4 - 4w, 3, 4w) less max of (3, 3.9995 (1 - w)); the largest has w = 1.
    assert found["maximum_utility_loss"] == pytest.approx(1.0)
    weights = np.stack([np.arange(50) / 49, 1 - np.arange(50) / 49], 1)
    np.testing.assert_allclose(np.sort(utility_weights(2)[:, 0]), weights[:, 0], atol=0.01)
    assert found["expected_utility"] == pytest.approx(np.maximum(3, 4 * weights.max(1)).mean(), abs=0.01)


def test_scores_by_hand() -> None:
    # Means (1, 3) and (3, 1) over (0, 0): 1 * 3 + 2 * 1 = 5. Utilities at (w, 1 - w): 1 + 2 max(w, 1 - w), on average
    # 2.5. Sparsity: (2^2 + 2^2) / 1 = 8. Each episode lies 0.5 off its mean.
    means = np.array([[1.0, 3.0], [3.0, 1.0]])
    episodes = means[:, None] + np.array([[0.5], [-0.5]] * 8)[None]
    scores = score_front(episodes, np.zeros(2))
    assert scores["hypervolume"]["value"] == pytest.approx(5.0)
    assert scores["hypervolume"]["low"] < 5.0 < scores["hypervolume"]["high"]
    assert scores["hypervolume"]["method"] == "exact"
    assert scores["expected_utility"]["value"] == pytest.approx(2.5, abs=0.02)
    assert scores["sparsity"] == pytest.approx(8.0) and scores["cardinality"] == 2
    sure = score_front(np.repeat(means[:, None], 3, axis=1), np.zeros(2))["hypervolume"]
    assert (sure["low"], sure["high"]) == pytest.approx((5.0, 5.0))


def test_a_finished_run_reports_its_own_numbers() -> None:
    front: Front = changed(TINY, env="dice", discount=0.5, reference_point=(-1.0, -2.0), final_episodes=6).run()
    np.testing.assert_allclose(front.points, front.episode_returns.mean(1), rtol=1e-12)
    spread = front.episode_returns.std(1, ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(front.errors, spread, rtol=1e-9)
    assert (spread.max(1) > 0.5).all(), "the throws differ"
    said = front.indicators
    assert said["hypervolume"]["value"] == pytest.approx(float(hypervolume(front.points, [-1, -2]).value), rel=1e-12)
    assert said["hypervolume"]["low"] < said["hypervolume"]["high"]
    assert {k: said[k] for k in ("env", "method", "seed", "backend", "reference_point", "discount")} == {
        "env": "dice", "method": "c-morl", "seed": 0, "backend": "gymnasium-sync", "reference_point": [-1.0, -2.0],
        "discount": 0.5,
    }  # fmt: skip
    assert said["episodes_per_policy"] == front.episode_returns.shape[1] == 6 and "known_front" not in said
    # Three throws of at most 9 at discount 1/2 pay at most 9 + 4.5 + 2.25 in all.
    assert front.episode_returns.sum(-1).max() < 15.75 and front.episode_returns.min() >= 0


def test_luck_of_the_archive_does_not_reach_the_report() -> None:
    # The archive believes (9, 9) and (8, 10) of two policies that return the same: one is left, with its true return.
    from tradeoff.morl import Discovery

    run = Discovery(dataclasses.replace(TINY, env="deal"))
    assert run.learner is not None
    twice = run.learner.population[[0, 0]]
    run.archive.offer(np.array([[9.0, 9.0], [8.0, 10.0]]), np.eye(2), twice)
    front = final_front(run)
    assert len(run.archive) == 2 and len(front) == front.indicators["cardinality"] == 1
    assert tuple(front.points[0].round(6)) in {(1.0, 0.0), (0.0, 1.0), (0.92, 0.3)}
    assert front.errors.tolist() == [[0.0, 0.0]] and front.members.tolist() == [0]
