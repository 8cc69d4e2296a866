"""Fronts: choosing, saving, acting."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Generator

from tests.morl.conftest import TREASURE, sea
from tradeoff.engine import ActorCritic, CheckpointError, Population, fresh_population, make_features, make_head
from tradeoff.envs import TradeoffError
from tradeoff.evaluation import InvalidWeights
from tradeoff.morl import Front, NothingFits

POINTS = np.array([[0.0, 10.0], [2.0, 9.0], [6.0, 6.0], [10.0, 0.0]])


def model_of(seen: spaces.Space, acts: spaces.Space, squash: bool = False) -> tuple[ActorCritic, Population]:
    """Networks and four policies that differ: drawn at random, not trained."""
    model = ActorCritic(make_features(seen), make_head(acts, squash), 2, (8,))
    people = fresh_population(model, 4, Generator().manual_seed(0))
    people.theta = people.theta + torch.randn(people.theta.shape, generator=Generator().manual_seed(1))
    noise = torch.rand(people.observations.mean.shape, dtype=torch.float64, generator=Generator().manual_seed(2))
    seen_before = people.observations._replace(weight=people.observations.weight + 9, mean=noise)
    people.observations = seen_before._replace(variance=torch.ones_like(noise))
    return model, people


def front_of(model: ActorCritic, people: Population) -> Front:
    """Four policies with the returns POINTS."""
    preferences = np.array([[0, 1], [0.25, 0.75], [0.5, 0.5], [1, 0]])
    episodes = np.stack([POINTS - 1, POINTS + 1], 1)
    return Front(
        env="market", objectives=("left", "right"), points=POINTS, errors=np.full((4, 2), 0.5), preferences=preferences,
        members=np.array([7, 1, 40, 3]), episode_returns=episodes, indicators={"hypervolume": {"value": 1.5}},
        history=[{"steps": 10, "hypervolume": 1.25}], model=model, population=people,
    )  # fmt: skip


@pytest.fixture
def front() -> Front:
    return front_of(*model_of(spaces.Box(-1, 1, (3,)), spaces.Discrete(4)))


@pytest.mark.parametrize(
    ("weights", "row"),
    [
        ([0, 1], 0),  # 10, 9, 6, 0
        ([1, 3], 0),  # 30, 29, 24, 10
        ([1, 1.5], 1),  # 15, 15.5, 15, 10
        ([1, 1], 2),  # 10, 11, 12, 10
        ([200, 100], 3),  # 10, 13, 18, 20 hundreds: a scale changes nothing
        ([1, 0], 3),
    ],
)
def test_weights_choose_the_best_weighted_return(front: Front, weights: list[float], row: int) -> None:
    assert front.choose(weights=weights) == row
    policy = front.select(weights=weights)
    assert policy.point.tolist() == POINTS[row].tolist()
    assert policy.preference.tolist() == front.preferences[row].tolist()
    assert torch.equal(policy.population.theta[0], front.population.theta[row])


@pytest.mark.parametrize(
    ("minimum", "row"),
    [
        # Both bounded: slack of the worst objective in units of the ranges, both 10:
        ([0, 0], 2),  # 0, 0.2, 0.6, 0
        ([1, 8], 1),  # row 1 alone has both: 0.1 and 0.1
        ([6, 6], 2),  # met exactly
        ([-100, -100], 2),
        # One bounded: the best of the other one among those that meet the bound.
        ([None, 8], 1),  # 0 and 2 of the first
        ([None, 9.5], 0),
        ([5, None], 2),  # 6 and 0 of the second
        ([7, None], 3),
        # None bounded: the mean in units of the ranges, 1, 1.1, 1.2 and 1 halves.
        ([None, None], 2),
    ],
)
def test_a_minimum_chooses_by_what_it_does_not_bound(front: Front, minimum: list[float | None], row: int) -> None:
    assert front.choose(minimum=minimum) == row


def test_the_minimum_of_one_objective_is_not_ignored_on_deep_sea_treasure(front: Front) -> None:
    # Returns with discount .99, treasure against time. At least 15 of treasure: 17.37 is the nearest that fits.
    # At least 5: 8.2 three steps away, 8.04 discounted. At least -10 of time: the largest treasure by then.
    front.points = sea(TREASURE, 0.99)
    chosen = [front.points[front.choose(minimum=least)] for least in ([15, None], [5, None], [None, -10], [None, -5])]
    assert chosen[0] == pytest.approx([17.37, -12.25], abs=0.01)
    assert chosen[1] == pytest.approx([8.04, -2.97], abs=0.01)
    assert chosen[2][0] == pytest.approx(front.points[front.points[:, 1] >= -10][:, 0].max())
    assert chosen[3][0] == pytest.approx(front.points[front.points[:, 1] >= -5][:, 0].max())


def test_what_a_front_and_its_policies_print_is_a_few_lines(front: Front) -> None:
    lines = repr(front).splitlines()
    assert lines[0] == "Front of 4 policies for market" and len(lines) <= 5 and "left 0 to 10" in lines[1]
    assert "hypervolume 1.5" in lines[-1]
    policy = repr(front.policy(2))
    assert policy == "FrontPolicy(left 6, right 6; Categorical actions, hidden layers 8)"


def test_slack_is_measured_in_units_of_the_range() -> None:
    # Ranges 1 and 100: slacks of (0.5, 90) are 0.5 and 0.9, of (0.9, 10) 0.9 and 0.1, of (0, 100) 0, of (1, 0) 0.
    front = front_of(*model_of(spaces.Box(-1, 1, (3,)), spaces.Discrete(4)))
    front.points = np.array([[0.9, 10.0], [0.5, 90.0], [0.0, 100.0], [1.0, 0.0]])
    assert front.choose(minimum=[0, 0]) == 1
    front.points = np.array([[3.0, 5.0], [3.0, 6.0], [3.0, 4.0], [3.0, 0.0]])  # an objective without a range
    assert front.choose(minimum=[0, 0]) == 1


def test_weights_and_a_minimum_choose_among_those_that_fit(front: Front) -> None:
    assert front.choose(weights=[1, 0], minimum=[None, 5]) == 2  # 10 is out of reach, 6 fits
    assert front.choose(weights=[1, 0], minimum=[None, 6.5]) == 1
    assert front.choose(weights=[0, 1], minimum=[1, None]) == 1
    assert front.choose(weights=[0, 1], minimum=[None, None]) == 0


def test_nothing_fits_names_the_closest(front: Front) -> None:
    # Worst slacks for (7, 7): -0.7, -0.5, -0.1, -0.7.
    with pytest.raises(NothingFits, match=r"no policy reaches \[7, 7\]; the closest returns \[6.0, 6.0\]"):
        front.select(minimum=[7, 7])
    with pytest.raises(NothingFits, match=r"\[10.5, None\]; the closest returns \[10.0, 0.0\]"):
        front.select(minimum=[10.5, None], weights=[0, 1])


def test_what_cannot_be_asked_for(front: Front) -> None:
    for weights in ([1], [1, 1, 1], [0, 0], [-1, 2], [np.nan, 1], [np.inf, 1], [[1, 1], [1, 0]], "ab"):
        with pytest.raises(InvalidWeights, match="weights"):
            front.choose(weights=weights)
    with pytest.raises(ValueError, match="minimum has 3 numbers, the objectives are left, right"):
        front.choose(minimum=[1, 2, 3])
    with pytest.raises(ValueError, match=r"minimum \[nan, 1.0\] has a NaN; None lets an objective go"):
        front.choose(minimum=[float("nan"), 1.0])
    with pytest.raises(ValueError, match="give weights, a minimum, or both"):
        front.choose()
    assert len(front) == 4


def test_the_table_has_a_column_per_objective_error_and_preference(front: Front) -> None:
    front.points = POINTS + 1 / 3
    rows = list(csv.reader(io.StringIO(front.table())))
    assert rows[0] == [
        "left", "right", "left_stderr", "right_stderr", "left_preference", "right_preference", "member"
    ]  # fmt: skip
    assert rows[2] == ["2.3333333333333335", "9.333333333333334", "0.5", "0.5", "0.25", "0.75", "1"]
    assert [float(x) for row in rows[1:] for x in row[:2]] == (POINTS + 1 / 3).ravel().tolist(), "not a digit is lost"
    assert [row[-1] for row in rows[1:]] == ["7", "1", "40", "3"]


SPACES = [
    (spaces.Box(-1, 1, (3,)), spaces.Discrete(4), False),
    (spaces.Box(0, 10, (3,), np.int32), spaces.Discrete(4), False),
    (spaces.MultiDiscrete([3, 4, 5]), spaces.MultiDiscrete([2, 3]), False),
    (spaces.Box(-1, 1, (3,)), spaces.Box(-2, 3, (2,)), False),
    (spaces.Box(-1, 1, (3,)), spaces.Box(-2, 3, (2,)), True),
]


@pytest.mark.parametrize(("seen", "acts", "squash"), SPACES)
def test_a_saved_front_is_the_same_front(seen: spaces.Space, acts: spaces.Space, squash: bool, tmp_path: Path) -> None:
    front = front_of(*model_of(seen, acts, squash))
    front.save(tmp_path)
    other = Front.load(tmp_path)
    for name in ("points", "errors", "preferences", "members", "episode_returns"):
        assert getattr(other, name).tolist() == getattr(front, name).tolist()
        assert getattr(other, name).dtype == getattr(front, name).dtype
    assert (other.env, other.objectives) == (front.env, front.objectives)
    assert (other.indicators, other.history, other.table()) == (front.indicators, front.history, front.table())
    space = spaces.Box(-1, 1, (3,)) if isinstance(seen, spaces.Box) and seen.dtype != np.int32 else seen
    space.seed(0)
    many = np.stack([space.sample() for _ in range(50)])
    actions = []
    for row in range(4):
        mine, theirs = front.policy(row), other.policy(row)
        for deterministic in (True, False):
            assert mine(many, deterministic).tolist() == theirs(many, deterministic).tolist()
        actions.append(mine(many))
    assert len({a.tobytes() for a in actions}) == 4, "the policies differ"
    again, others = tmp_path / "again", ("front.pt", "front.csv", "indicators.json")
    other.save(again)
    assert [(again / name).stat().st_size > 0 for name in others] == [True] * 3


@pytest.mark.parametrize(("seen", "acts", "squash"), SPACES)
def test_a_policy_acts_on_one_observation_and_on_several(seen: spaces.Space, acts: spaces.Space, squash: bool) -> None:
    policy = front_of(*model_of(seen, acts, squash)).policy(2)
    seen.seed(3)
    many = np.stack([seen.sample() for _ in range(40)])
    actions = policy(many)
    assert actions.shape == (40, *(acts.shape or ()))
    assert policy(many).tolist() == actions.tolist(), "twice the same"
    for observation, action in zip(many, actions, strict=True):
        alone = policy(observation)
        np.testing.assert_allclose(alone, action, atol=1e-6)
        assert acts.contains(alone.astype(acts.dtype) if isinstance(acts, spaces.Box) else alone)
    sampled = policy(many, deterministic=False)
    assert sampled.shape == actions.shape and (sampled != actions).any()


def test_a_policy_sees_observations_as_it_did_in_training(front: Front) -> None:
    # What is 5 more than usual where 5 more is usual looks as usual.
    seen = np.random.default_rng(0).normal(size=(50, 3))
    before = front.policy(1)(seen)
    usual = front.population.observations
    front.population.observations = usual._replace(mean=usual.mean + 5)
    assert front.policy(1)(seen + 5).tolist() == before.tolist() != front.policy(1)(seen).tolist()


def test_a_discrete_observation_is_a_number() -> None:
    policy = front_of(*model_of(spaces.Discrete(7), spaces.Discrete(4))).policy(0)
    one_by_one = [int(policy(n)) for n in range(7)]
    assert policy(np.arange(7)[:, None]).tolist() == one_by_one


def test_a_folder_without_a_front(tmp_path: Path) -> None:
    with pytest.raises(TradeoffError, match=r"holds no finished front \(no front.pt\); resume the run"):
        Front.load(tmp_path)


@pytest.mark.parametrize("where", [0.2, 0.5, 0.999])
def test_a_damaged_front_is_not_loaded(front: Front, where: float, tmp_path: Path) -> None:
    front.save(tmp_path)
    path = tmp_path / "front.pt"
    content = path.read_bytes()
    at = int(where * len(content))
    for damaged in (content[:at], content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"front.pt is damaged"):
            Front.load(tmp_path)
    path.write_bytes(content)
    assert len(Front.load(tmp_path)) == 4
