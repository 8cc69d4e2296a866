"""Coding of observations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff.engine import (
    ActorCritic,
    Learner,
    LearnerConfig,
    Linear,
    Rollout,
    fresh_population,
    make_features,
    make_head,
)
from tradeoff.engine.features import WIDEST
from tradeoff.envs import TradeoffError, make

CONFIG = LearnerConfig(rollout_steps=10, environments=2, minibatches=2)


def test_whole_numbers_become_one_hot_blocks() -> None:
    # First number in {-1, 0, 1, 2} (4 inputs), second in {3, 4} (2 inputs).
    #   (-1, 3): place 0 of the first block, place 0 of the second  -> 1 0 0 0 | 1 0
    #   ( 2, 4): place 3 of the first block, place 1 of the second  -> 0 0 0 1 | 0 1
    #   ( 0, 3): place 1 of the first block, place 0 of the second  -> 0 1 0 0 | 1 0
    features = make_features(spaces.Box(np.array([-1, 3]), np.array([2, 4]), dtype=np.int64))
    assert features.one_hot and features.width == 6 and features.numbers == 2
    code = features(torch.tensor([[-1, 3], [2, 4], [0, 3]]))
    want = torch.tensor([[1, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 1], [0, 1, 0, 0, 1, 0]], dtype=torch.float32)
    assert torch.equal(code, want)
    assert torch.equal(features(torch.tensor([[[-1.0, 3.0]], [[2.0, 4.0]]])), want[:2].unsqueeze(1)), "batch axes"


def test_discrete_spaces_are_one_hot() -> None:
    single = make_features(spaces.Discrete(3, start=5))
    assert torch.equal(single(torch.tensor([[5], [7]])), torch.tensor([[1.0, 0, 0], [0, 0, 1]]))
    several = make_features(spaces.MultiDiscrete([2, 3]))
    assert torch.equal(several(torch.tensor([[1, 0], [0, 2]])), torch.tensor([[0.0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]))


@pytest.mark.parametrize(("most", "one_hot"), [(WIDEST - 1, True), (WIDEST, False)])
def test_a_wide_box_is_read_as_numbers(most: int, one_hot: bool) -> None:
    features = make_features(spaces.Box(0, most, (1,), np.int64))  # `most` + 1 values
    assert features.one_hot is one_hot and features.width == (WIDEST if one_hot else 1)
    if not one_hot:
        assert torch.equal(features(torch.tensor([[7]])), torch.tensor([[7.0]]))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.uint64])
def test_the_widest_integers_do_not_overflow_into_a_one_hot_code(dtype: type) -> None:
    # Two numbers of at least 256 values each are 512 inputs at the least: one-hot for 8 bits, numbers beyond.
    info = np.iinfo(dtype)
    features = make_features(spaces.Box(info.min, info.max, (2,), dtype))
    assert features.width == (512 if info.bits == 8 else 2)


def test_real_numbers_pass_unchanged() -> None:
    features = make_features(spaces.Box(-1.0, 1.0, (2, 2), np.float64))
    seen = torch.tensor([[0.5, -0.25, 1.0, 0.0]], dtype=torch.float64)
    assert features.width == features.numbers == 4 and not features.one_hot
    assert torch.equal(features(seen), seen.float()) and features(seen).dtype == torch.float32


def test_what_is_near_is_seen_a_second_time_sharpened() -> None:
    # 0.5^10 = 1 / 1024; the first number is no closeness and stays single.
    features = make_features(spaces.Box(-np.inf, np.inf, (3,), np.float64), near=(1, 2))
    seen = torch.tensor([[7.0, 0.5, 1.0], [-2.0, 0.0, 0.5]], dtype=torch.float64)
    assert (features.numbers, features.normalised, features.width) == (3, 5, 5)
    want = torch.tensor([[7.0, 0.5, 1.0, 1 / 1024, 1.0], [-2.0, 0.0, 0.5, 0.0, 1 / 1024]])
    assert torch.equal(features(seen), want) and torch.equal(features.numbered(seen), want.double())


def test_closeness_by_lidar_is_near_and_followed_by_the_moments() -> None:
    env = make("SafetyCarGoal1-v0", 4)
    assert env.spec.near == tuple(range(24, 72)), "24 numbers of the body, 16 bins each of goal, hazards and vases"
    features = make_features(env.spec.observation_space, env.spec.near)
    model = ActorCritic(features, make_head(env.spec.action_space), 2, (8,))
    draw = torch.Generator().manual_seed(0)
    people, source = fresh_population(model, 2, draw), Rollout(env, 2, 10)
    learner = Learner(model, source, people, Linear(torch.ones(2, 2)), CONFIG, draw, discount=1.0)
    data = source.collect(model, people.theta, people.observations, draw)
    learner._remember({"": data})
    far = data.observation[..., 24:].double().pow(10).movedim(1, 0).flatten(1, 2)  # [policies, samples, bins]
    assert torch.allclose(learner.population.observations.mean[:, 72:], far.mean(1), atol=1e-5)
    assert torch.allclose(learner.population.observations.variance[:, 72:], far.var(1, correction=0), atol=1e-4)


@pytest.mark.parametrize(
    ("seen", "said"), [([[1, 5], [2, 2]], r"\[0\] is 1; .* 2 to 3"), ([[2, 8]], r"\[1\] is 8; .* 5 to 7")]
)
def test_whole_numbers_outside_of_their_space_are_refused(seen: list[list[int]], said: str) -> None:
    """One more lit the first slot of the next number, or none at all."""
    features = make_features(spaces.Box(np.array([2, 5]), np.array([3, 7]), dtype=np.int64))
    assert features(torch.tensor([[3, 7]])).tolist() == [[0, 1, 0, 0, 1]]
    with pytest.raises(TradeoffError, match=f"observation{said}: widen"):
        features(torch.tensor(seen))
