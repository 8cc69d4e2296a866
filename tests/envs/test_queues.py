"""Server queues: rates, single steps by hand, and published returns of two simple rules."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from tradeoff.envs import make
from tradeoff.envs.queues import arrival_rates, most_arrivals

ID = "server-queues-v0"


@pytest.mark.parametrize(
    ("queues", "low", "load"),
    [(6, 0.05, 0.795), (8, 0.0125, 0.8), (12, 0.0115, 0.798), (16, 0.005, 0.8), (32, 0.00175, 0.8), (64, 0.00053, 0.8)],
)
def test_published_arrival_rates(queues, low, load):
    # M low + M (M - 1) / 2 rise; for 64 queues 64 x .00053 + 2016 x .00038 = .8
    rates = arrival_rates(queues)
    assert len(rates) == queues and rates[0] == low
    assert math.isclose(sum(rates), load, rel_tol=1e-9)


def test_arrival_rates_of_other_sizes():
    assert arrival_rates(3) == pytest.approx([0.8 / 6, 1.6 / 6, 2.4 / 6])  # 1 : 2 : 3 and 0.8 in all


def test_arrivals_that_are_not_drawn_are_rare():
    for rate in (0.0006, 0.215, 0.6):
        n = most_arrivals(rate)
        assert stats.poisson.sf(n, rate) < 1e-10 <= stats.poisson.sf(n - 2, rate)


def test_steps_by_hand():
    env = make(ID, 3, queues=2)  # rates 0.2667 and 0.5333: P(0) = .766 and .587, P(<= 1) = .970 and .899
    env.state = (torch.tensor([[0.0, 0.0], [2.0, 0.0], [500.0, 3.0]]),)
    draws = torch.tensor([[0.5, 0.7], [0.8, 0.1], [0.98, 0.95]], dtype=torch.float64)
    after = env.transition(env.state, torch.tensor([1, 1, 0]), draws)
    # arrivals (0, 1), (1, 0), (2, 2); then the second, the second (empty: no reward) and the first queue are served
    assert after.state[0].tolist() == [[0.0, 0.0], [3.0, 0.0], [499.0, 5.0]]
    assert after.reward.tolist() == [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    assert not after.terminated.any()


def test_the_clock_ends_an_episode_after_500_steps():
    env, serve = make(ID, 2), torch.zeros(2, dtype=torch.int64)
    cut = [env.step(serve) for _ in range(500)]
    assert [s.truncated.all().item() for s in cut].count(True) == 1 and cut[-1].truncated.all()
    assert cut[-1].observation.tolist() == [[0.0] * 6] * 2 and cut[-1].final_observation[:, 1:].min() > 10


def utility_of(rule, queues=6, episodes=400, discount=0.9999):
    env = make(ID, episodes, seed=1, queues=queues)
    total, seen = torch.zeros(queues, dtype=torch.float64), env.reset()
    for t in range(500):
        step = env.step(rule(seen))
        total, seen = total + discount**t * step.reward.double().mean(0), step.observation
    return -(500 / (total + 1)).sum().item()


def test_returns_of_simple_rules():
    # Simulated independently, 400 episodes: -57.9 and -61.4, noise about 1 %; the bound is -57.5.
    longest = utility_of(lambda seen: seen.argmax(1))
    numbers = torch.Generator().manual_seed(0)
    uniform = utility_of(lambda seen: torch.randint(6, (len(seen),), generator=numbers))
    assert abs(longest + 57.9) < 0.6 and abs(uniform + 61.4) < 0.6


def test_at_least_two_queues():
    with pytest.raises(ValueError, match="at least 2 queues, got 1"):
        make(ID, 1, queues=1)


@pytest.mark.parametrize("queues", [6, 8, 12, 16, 32, 64])
def test_every_published_size_has_an_id_of_its_own(queues):
    env = make(f"server-queues-{queues}-v0", 2)
    assert (env.spec.id, len(env.spec.objectives)) == (f"server-queues-{queues}-v0", queues)
    assert env.rates.tolist() == arrival_rates(queues) and env.reset().shape == (2, queues)
