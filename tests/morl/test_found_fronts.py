"""What front methods find, and what can be done with it."""

from __future__ import annotations

import mo_gymnasium
import numpy as np
import pytest
import torch

from tradeoff.engine import CheckpointError
from tradeoff.evaluation import InvalidWeights, hypervolume
from tradeoff.morl import (
    Front,
    NothingFits,
    known_front,
    recommended,
)
from tradeoff.morl.report import compare

SEA = "deep-sea-treasure-v0"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def front() -> Front:
    return recommended("weighted-sum", SEA, steps=200_000).run()


def same(a: Front, b: Front) -> bool:
    return (
        a.table() == b.table() and a.indicators == b.indicators and torch.equal(a.population.theta, b.population.theta)
    )


def test_weighted_sum_learns_deep_sea_treasure(front):
    """Exact front: 10 points, hypervolume 360.40. Broken credit assignment finds three or four points."""
    assert front.indicators["known_front"]["points_found"] >= 8
    assert front.indicators["hypervolume"]["value"] >= 0.95 * 360.40


def test_a_policy_returns_on_the_original_what_the_front_says(front):
    env = mo_gymnasium.make(SEA)
    for row in range(len(front)):
        policy, (seen, _) = front.policy(row), env.reset(seed=0)
        total, over, factor = np.zeros(2), False, 1.0
        while not over:
            seen, reward, terminated, truncated, _ = env.step(policy(seen))
            total, factor, over = total + factor * reward, 0.99 * factor, terminated or truncated
        np.testing.assert_allclose(total, front.points[row], rtol=1e-5)


def test_selection_by_weights_by_minimum_and_by_both(front):
    best = front.points[(front.points @ [0.5, 0.5]).argmax()]
    assert front.select(weights=[1, 1]).point.tolist() == best.tolist()
    enough = front.points[front.points[:, 0] >= 10]
    assert front.select(weights=[0, 1], minimum=[10, None]).point[1] == enough[:, 1].max()
    assert (front.select(minimum=[5.0, -10.0]).point >= [5.0, -10.0]).all()
    with pytest.raises(NothingFits, match="no policy reaches"):
        front.select(minimum=[100.0, None])
    for bad in ([1.0], [-1.0, 2.0], [0.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(InvalidWeights):
            front.select(weights=bad)


def test_a_saved_front_acts_and_reads_the_same(front, tmp_path):
    front.save(tmp_path)
    loaded = Front.load(tmp_path)
    assert same(front, loaded) and loaded.history == front.history
    cells = np.argwhere(np.ones((5, 5)))
    for row in range(len(front)):
        assert (front.policy(row)(cells) == loaded.policy(row)(cells)).all()
    header, first = (tmp_path / "front.csv").read_text().splitlines()[:2]
    assert header == "treasure,time,treasure_stderr,time_stderr,treasure_preference,time_preference,member"
    assert float(first.split(",")[0]) == front.points[0, 0]
    (tmp_path / "front.pt").write_bytes((tmp_path / "front.pt").read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="damaged"):
        Front.load(tmp_path)


def test_known_fronts_have_their_published_values():
    """Deep sea treasure at .99 above (0, -25): 360.40; resource gathering at .9: nine points; fruit tree: 64 leaves."""
    sea, gathering, tree = (
        known_front(id, g) for id, g in ((SEA, 0.99), ("resource-gathering-v0", 0.9), ("fruit-tree-v0", 0.99))
    )
    assert float(hypervolume(sea.points, (0, -25))) == pytest.approx(360.40, abs=0.01)
    assert len(gathering.points) == 9 and len(tree.points) == 64
    assert known_front(SEA, 0.99, horizon=10) is None and known_front("mo-hopper-v5", 0.99) is None
    itself = compare(sea.points, sea.points, np.array([0, -25]), "exact")
    assert itself["points_found"] == 10 and itself["igd_plus"] == itself["additive_epsilon"] == 0


@pytest.mark.slow
def test_c_morl_finds_the_whole_front_of_deep_sea_treasure():
    """Of 20 seeds, 19 found all ten points and one found nine: one front of three is left to chance.

    Broken credit assignment finds three or four points.
    """
    runs = [recommended("c-morl", SEA, steps=200_000, seed=seed).run().indicators for seed in range(3)]
    found = [run["known_front"]["points_found"] for run in runs]
    assert min(found) >= 9 and found.count(10) >= 2
    assert max(run["hypervolume"]["value"] for run in runs) == pytest.approx(360.40, abs=0.01)


@pytest.mark.slow
def test_c_morl_finds_most_leaves_of_the_fruit_tree():
    found = recommended("c-morl", "fruit-tree-v0", steps=500_000).run().indicators["known_front"]
    assert found["points_found"] >= 54
