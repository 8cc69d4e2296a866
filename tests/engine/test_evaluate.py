"""Scores of whole episodes, by hand."""

from __future__ import annotations

import importlib

import pytest
import torch

from tradeoff.engine import fresh_population
from tradeoff.engine.evaluate import Scores, evaluate
from tradeoff.envs.errors import NumericalTrouble, TradeoffError

module = importlib.import_module("tradeoff.engine.evaluate")  # the package shows the function under the same name


@pytest.fixture
def play(clockwork, model_for, generator):
    """Evaluate on environments whose lengths go round 3, 1, 2; `built` keeps them."""

    def run(policies: int, episodes: int, poison=None, **options) -> Scores:
        def make_env(num_envs: int, seed: int):
            env = clockwork([(3, 1, 2)[i % 3] for i in range(num_envs)], [i % 2 == 0 for i in range(num_envs)])
            env.poison = poison or {}
            run.built.append(env)
            return env

        model = model_for(clockwork((1,)))
        population = fresh_population(model, policies, generator)
        return evaluate(make_env, model, population, episodes=episodes, discount=0.5, seed=40, **options)

    run.built = []
    return run


@pytest.mark.parametrize("deterministic", [True, False])
def test_returns_by_hand(play, deterministic: bool) -> None:
    # discount 1/2, episodes of 3, 1 and 2 steps, first channel 1 + 2/2 + 3/4 = 2.75, 1, 1 + 2/2 = 2;
    # second -2 - 1 - 1/2 = -3.5, -2, -3; cost ten times the first. All stand until the longest is over: 6 * 3 steps.
    scores = play(2, 3, deterministic=deterministic)
    want = [[2.75, -3.5, 27.5], [1, -2, 10], [2, -3, 20]]
    assert scores.returns.tolist() == [want, want] and scores.returns.dtype == torch.float64
    assert scores.lengths.tolist() == [[3, 1, 2]] * 2 and scores.steps == 18
    # mean of 2.75, 1, 2: 23/12; deviations 10/12, -11/12, 1/12: variance (100 + 121 + 1) / 144 / 2, error sqrt(./3).
    torch.testing.assert_close(scores.mean[0, 0].item(), 23 / 12)
    torch.testing.assert_close(scores.error[0, 0].item(), (222 / 144 / 2 / 3) ** 0.5)
    assert play(1, 1).error.tolist() == [[0, 0, 0]]


def test_every_policy_meets_the_same_seeds_and_environments_are_closed(play) -> None:
    play(2, 3)
    (env,) = play.built
    assert env.seeds == [40, 41, 42, 40, 41, 42] and env.closed


def test_large_populations_are_played_in_parts(play, monkeypatch) -> None:
    # Six environments at once: two policies of three episodes. Five policies: parts of 2, 2 and 1; steps 18 + 18 + 9.
    monkeypatch.setattr(module, "AT_ONCE", 7)
    scores = play(5, 3)
    assert [env.num_envs for env in play.built] == [6, 6, 3] and all(env.closed for env in play.built)
    assert scores.steps == 45 and scores.returns[..., 0].tolist() == [[2.75, 1, 2]] * 5


def test_trouble_counts_only_while_an_episode_lives(play) -> None:
    # Environment 1 ends after one step: what it pays in call 2 belongs to nobody. Environment 0 lives through call 2.
    assert play(1, 3, {(2, 1): float("nan")}).returns[0, :, 0].tolist() == [2.75, 1, 2]
    with pytest.raises(
        NumericalTrouble, match=r"reward 'up' is nan at step 2 of an evaluation, policy 0, environment 0"
    ):
        play(1, 3, {(2, 0): float("nan")})
    assert play.built[-1].closed


def test_an_episode_that_never_ends_is_an_error(play, monkeypatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 2)
    with pytest.raises(TradeoffError, match="clockwork has not ended in 2 steps; set a horizon"):
        play(1, 3)
    assert play.built[-1].closed


def test_the_mode_is_played_or_samples(corridor, model_for, generator) -> None:
    # An actor that goes right with probability 3/4. Its mode walks to the right end: two steps, 1/2 discounted, costs
    # 1 + 1/2. Its samples reach the right end with probability (9/16) / (9/16 + 1/16) = 9/10: from cell 2 two moves
    # right (9/16), two left (1/16), or back to cell 2. Episodes cut at 20 steps are rarer than (6/16)^10 = 5e-5.
    model = model_for(corridor(1))
    people = fresh_population(model, 1, generator)
    people.theta.zero_()
    model.network.layers(people.theta[:, 0]).biases[-1][..., :2] = torch.tensor([1.0, 3]).log()
    make_env = lambda n, seed: corridor(n)  # noqa: E731
    played = evaluate(make_env, model, people, episodes=4, discount=0.5, seed=0)
    assert played.returns.tolist() == [[[0.5, 0, 1.5]] * 4] and played.lengths.tolist() == [[2] * 4]
    drawn = evaluate(make_env, model, people, episodes=1000, discount=1.0, seed=0, deterministic=False)
    right, left, steps = drawn.mean[0].tolist()
    assert abs(right - 0.9) < 4 * (0.09 / 1000) ** 0.5 and abs(right + left - 1) < 0.003
    # Steps: 2 per round, a round is the last with probability 10/16: mean 3.2, variance 4 (6/16) / (10/16)^2 = 3.84.
    assert abs(steps - 3.2) < 4 * (3.84 / 1000) ** 0.5
