"""The ring of past steps: what is overwritten, what is drawn, what a file brings back."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from tradeoff.engine.replay import Replay
from tradeoff.engine.trajectories import Trajectories


def _record(first: int, steps: int, policies: int = 2, environments: int = 2) -> Trajectories:
    """Step t of policy p in environment b holds the number 100 p + 10 (first + t) + b everywhere."""
    t = torch.arange(first, first + steps).view(-1, 1, 1)
    number = (10 * t + 100 * torch.arange(policies).view(1, -1, 1) + torch.arange(environments)).float().unsqueeze(-1)
    flag = torch.zeros(number.shape[:3], dtype=torch.bool)
    return Trajectories(
        observation=number, action=number + 0.25, log_prob=number[..., 0], reward=torch.cat([number, -number], -1),
        cost=2 * number, terminated=flag.clone(), truncated=flag.clone(), next_observation=number + 10,
        start=flag.clone(), context=number[..., :0],
    )  # fmt: skip


def _replay(capacity: int) -> Replay:
    return Replay(2, capacity, numbers=1, actions=1, channels=3)


def _held(replay: Replay, policy: int) -> list[float]:
    return sorted(replay.rows[policy, : len(replay), 0].tolist())


def test_the_oldest_steps_give_way_and_each_policy_keeps_its_own():
    replay = _replay(6)
    data = _record(0, 2)
    replay.add(data, data.action)  # 4 rows per policy
    assert len(replay) == 4 and _held(replay, 1) == [100, 101, 110, 111]
    data = _record(2, 2)
    replay.add(data, data.action)  # 4 more: the two of t = 0 are gone
    assert len(replay) == 6 and _held(replay, 0) == [10, 11, 20, 21, 30, 31]
    assert _held(replay, 1) == [110, 111, 120, 121, 130, 131]
    assert replay.next == 2


def test_a_drawn_step_is_one_whole_step_of_its_policy():
    replay, data = _replay(8), _record(0, 3)
    data.terminated[1, 0, 1] = data.truncated[2, 1, 0] = True  # step 11 of policy 0, step 120 of policy 1
    replay.add(data, data.action)
    drawn = replay.sample(400, Generator().manual_seed(0))
    seen = drawn.observation[..., 0]
    torch.testing.assert_close(drawn.action[..., 0], seen + 0.25)
    torch.testing.assert_close(drawn.next_observation[..., 0], seen + 10)
    torch.testing.assert_close(drawn.channels, torch.stack([seen, -seen, 2 * seen], -1))
    torch.testing.assert_close(drawn.terminated, (seen == 11).float())
    torch.testing.assert_close(drawn.truncated, (seen == 120).float())
    assert set(seen[0].tolist()) == {0, 1, 10, 11, 20, 21} and set(seen[1].tolist()) == {100, 101, 110, 111, 120, 121}
    counts = torch.unique(seen[0], return_counts=True)[1]  # 6 steps, 400 draws: 67 each, standard deviation 7.5
    assert (counts - 400 / 6).abs().max() < 4 * 7.5


def test_the_same_seed_draws_the_same_steps_and_a_file_brings_them_back():
    replay, data = _replay(5), _record(0, 2)
    replay.add(data, data.action)
    other = _replay(5)
    other.load_state_dict(replay.state_dict())
    more = _record(2, 1)
    for ring in (replay, other):
        ring.add(more, more.action)
    assert len(other) == 5 and other.next == 1
    for x, y in zip(*(r.sample(50, Generator().manual_seed(3)) for r in (replay, other)), strict=True):
        assert torch.equal(x, y)


def test_what_cannot_be_said_of_it_is_refused():
    replay, data = _replay(3), _record(0, 2)
    with pytest.raises(ValueError, match="4 steps per policy at once do not fit a replay of 3"):
        replay.add(data, data.action)
    with pytest.raises(ValueError, match="empty"):
        replay.sample(1, Generator())
    with pytest.raises(ValueError, match="does not fit"):
        replay.load_state_dict({"rows": torch.zeros(2, 4, 8), "next": 0})
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        _replay(0)
