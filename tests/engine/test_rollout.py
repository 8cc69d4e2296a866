"""Rollouts and episode returns on an environment whose every number is known."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Generator

from tradeoff.engine.normalisers import fresh_moments, unit_moments
from tradeoff.engine.rollout import EpisodeReturns, Rollout
from tradeoff.engine.trajectories import Batch, Trajectories, minibatches
from tradeoff.envs.errors import NumericalTrouble

LENGTHS, TERMINATES = (3, 4, 2, 6), (True, False, False, True)
MOMENTS = unit_moments(fresh_moments(2, 2))  # observations as they are


@pytest.fixture
def collect(clockwork, model_for):
    """Two policies with two environments each, five steps per call."""
    env = clockwork(LENGTHS, TERMINATES)
    model, draw = model_for(env), Generator().manual_seed(0)
    theta, source = model.init(2, draw), Rollout(env, 2, 5)

    def call() -> Trajectories:
        return source.collect(model, theta, MOMENTS, draw)

    call.env, call.model, call.theta, call.source = env, model, theta, source
    return call


def test_records_hold_what_happened(collect) -> None:
    # Environment i is at clock t mod L_i before step t, pays clock + 1 and -2, costs 10 (clock + 1), sees (i, clock).
    for start in (0, 5, 10):
        data = collect()
        t = torch.arange(start, start + 5).view(5, 1, 1)
        length = torch.tensor(LENGTHS).view(1, 2, 2)
        clock, environment = t % length, torch.arange(4).view(1, 2, 2).expand(5, 2, 2)
        ended, terminates = clock + 1 == length, torch.tensor(TERMINATES).view(1, 2, 2)
        assert torch.equal(data.reward, torch.stack([clock + 1, torch.full_like(clock, -2)], -1).float())
        assert torch.equal(data.cost, 10.0 * (clock + 1).unsqueeze(-1))
        assert torch.equal(data.channels, torch.cat([data.reward, data.cost], -1))
        assert torch.equal(data.observation, torch.stack([environment, clock], -1).float())
        assert torch.equal(data.next_observation, torch.stack([environment, clock + 1], -1).float())
        assert torch.equal(data.start, clock == 0)
        assert torch.equal(data.terminated, ended & terminates) and torch.equal(data.truncated, ended & ~terminates)
        assert torch.equal(data.ended, ended)


def test_log_probabilities_are_those_of_each_policys_own_actor(collect) -> None:
    model, data = collect.model, collect()
    for t in range(5):
        logits, _ = model.outputs(model.actor(collect.theta), data.observation[t].clamp(-10, 10))
        want = logits.log_softmax(-1).gather(-1, data.action[t]).squeeze(-1)
        torch.testing.assert_close(data.log_prob[t], want, rtol=1e-4, atol=1e-5)
    assert set(data.action.flatten().tolist()) == {0, 1}


def _mean_return(length: int) -> float:
    """sum_{c=1..L} c / 2^(c-1) = 4 - (L + 2) / 2^(L-1): 1, 2, 2.75, 3.25, ..., 3.75 for L = 1, 2, 3, 4, ..., 6."""
    return 4 - (length + 2) / 2 ** (length - 1)


def test_episode_returns_are_stitched_over_rollouts(collect) -> None:
    # discount 1/2; lengths (3, 4) and (2, 6). Ends by step:
    #   steps 0..4:    policy 0: 3 at 2, 4 at 3              policy 1: 2 at 1 and 3
    #   steps 5..9:    policy 0: 3 at 5 and 8, 4 at 7        policy 1: 2 at 5, 7 and 9, 6 at 5 (begun at 0)
    #   steps 10..14:  policy 0: 3 at 11 and 14, 4 at 11     policy 1: 2 at 11 and 13, 6 at 11 (begun at 6)
    episodes = EpisodeReturns(0.5)
    ends = [((3, 4), (2, 2)), ((3, 3, 4), (2, 2, 2, 6)), ((3, 3, 4), (2, 2, 6))]
    for per_policy in ends:
        means = episodes.update(collect())
        for policy, lengths in enumerate(per_policy):
            up = sum(map(_mean_return, lengths)) / len(lengths)
            down = sum(-4 + 4 / 2**n for n in lengths) / len(lengths)  # -2 (1 + 1/2 + ...)
            torch.testing.assert_close(means[policy], torch.tensor([up, down, 10 * up]), rtol=1e-6, atol=0)


def test_returns_are_unknown_until_an_episode_ends_and_then_the_last_known(clockwork, model_for, generator) -> None:
    # One environment per policy, lengths 3 and 7, discount 1, two steps per call. Up-returns: 1 + 2 + 3 = 6, 28.
    env = clockwork((3, 7))
    model = model_for(env)
    theta, source, episodes = model.init(2, generator), Rollout(env, 2, 2), EpisodeReturns(1.0)
    seen = [episodes.update(source.collect(model, theta, MOMENTS, generator))[:, 0] for _ in range(4)]
    want = [[torch.nan, torch.nan], [6, torch.nan], [6, torch.nan], [6, 28]]
    torch.testing.assert_close(torch.stack(seen), torch.tensor(want), equal_nan=True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_reward_stops_the_run_and_says_where(collect, bad: float) -> None:
    collect.env.poison = {(7, 3): bad}  # eighth call: step 2 of the second rollout; policy 1, its environment 1
    collect()
    with pytest.raises(NumericalTrouble, match=rf"reward 'up' is {bad} at step 2 .*, policy 1, environment 1"):
        collect()


def test_state_goes_on_exactly(collect, clockwork) -> None:
    collect()
    state = copy.deepcopy(collect.source.state_dict())
    want = collect()
    other = Rollout(clockwork(LENGTHS, TERMINATES), 2, 5)
    other.load_state_dict(state)
    got = other.collect(collect.model, collect.theta, MOMENTS, Generator().manual_seed(9))
    for name in ("observation", "reward", "start", "terminated", "truncated", "next_observation"):
        assert torch.equal(getattr(got, name), getattr(want, name)), name
    assert other.taken == collect.source.taken == 2 * 5 * collect.env.num_envs  # two rollouts of five steps


def test_restart_begins_new_episodes_from_its_seed(collect) -> None:
    collect()
    collect.source.restart(17)
    assert collect.env.seeds == 17
    data = collect()
    assert data.start[0].all() and (data.observation[0, ..., 1] == 0).all() and (data.reward[0, ..., 0] == 1).all()


def _numbered(samples: int) -> Batch:
    number = torch.arange(2 * samples).view(2, samples).float()
    return Batch(
        *(number.unsqueeze(-1), number.unsqueeze(-1), number, number.unsqueeze(-1), number, number.unsqueeze(-1))
    )


def test_minibatches_cover_every_sample_once_per_epoch_and_keep_rows_together() -> None:
    # 10 samples in 3 parts of 3: nine different ones per epoch, one left out; policy 1's samples are policy 0's + 10.
    parts = list(minibatches(_numbered(10), 4, 3, Generator().manual_seed(0)))
    assert len(parts) == 12 and all(part.log_prob.shape == (2, 3) for part in parts)
    orders = [torch.cat([p.log_prob for p in parts[e * 3 : e * 3 + 3]], 1) for e in range(4)]
    for order in orders:
        assert len(set(order[0].tolist())) == 9 and set(order[0].tolist()) <= set(range(10))
        assert torch.equal(order[1], order[0] + 10)
    assert not torch.equal(orders[0], orders[1]), "every epoch has an order of its own"
    for part in parts:
        assert all(torch.equal(field.flatten(1), part.log_prob) for field in part)


def test_one_epoch_of_one_part_is_the_batch_itself() -> None:
    batch = _numbered(5)
    (only,) = minibatches(batch, 1, 1, Generator())
    assert only is batch and only.log_prob.sum() == 45  # 0 + 1 + ... + 9
