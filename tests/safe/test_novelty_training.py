"""Policies that must differ from earlier ones, on a 3 x 3 grid with two ways around a wall.

From the middle of the bottom row the goal, in the middle of the top row, is four moves away on the left and on the
right: with a discount of 0.9 both ways are worth 0.9^3 = 0.729. Who goes left differs from who goes right at the first
step by a total variation of 1, a mean of at least 1/4 over the four.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import Categorical, Gaussian
from tradeoff.engine.learner import LearnerConfig
from tradeoff.engine.normalisers import standard
from tradeoff.engine.population import fresh_population
from tradeoff.engine.run import complete
from tradeoff.envs import TradeoffError, make, register
from tradeoff.envs.finite import FiniteModel
from tradeoff.envs.tabular import finite_arrays, make_tabular
from tradeoff.replay_trained import replay
from tradeoff.safe.novelty import action_distance
from tradeoff.safe.novelty_methods import CTNB, IPD, METHODS
from tradeoff.safe.novelty_watch import Acting, NoveltyWatch, acting, stacked

SIDE, START, GOAL, WALL = 3, 7, 1, 4
LEFT, RIGHT, WORTH = 3, 1, 0.9**3
LEARNER = LearnerConfig(
    rollout_steps=32, environments=32, epochs=4, minibatches=4, learning_rate=5e-3, gamma=0.9, hidden=(32,)
)


@cache
def ways(right: float) -> FiniteModel:
    """The goal pays 1 to who comes from the left and `right` to who comes from the right; moves: up, right, down,
    left."""
    transition, paid = np.zeros((9, 4, 9)), np.zeros((9, 4, 9, 1))
    for s in range(9):
        for a, move in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
            row, column = np.clip(np.array(divmod(s, SIDE)) + move, 0, SIDE - 1)
            after = s if row * SIDE + column == WALL else row * SIDE + column
            transition[s, a, after] = 1
            paid[s, a, after] = (after == GOAL) * (right if s == 2 else 1.0)
    return finite_arrays(transition, paid, start=START, terminal=np.arange(9) == GOAL, horizon=20)


@pytest.fixture
def grid() -> Any:
    """Make the ways known under an id, and say what the right one pays."""

    def pay(right: float) -> str:
        def build(num_envs: int, seed: int = 0, **_: Any) -> Any:
            env = make_tabular(ways(right), num_envs, discount=0.9)
            env.reset(seed)
            return env

        register("two-ways", build)
        return "two-ways"

    return pay


def train(kind: Any, steps: int = 50_000, **settings: Any) -> Any:
    return kind(env="two-ways", steps=steps, discount=0.9, learner=LEARNER, **settings)


def first_moves(found: Any, row: int) -> Tensor:
    """Probabilities [4] of a policy at the start."""
    at = torch.tensor([[float(START)]])
    out, _ = acting(found.model, found.population[[row]]).outputs(at)
    return out.softmax(-1)[0, 0]


@pytest.fixture(scope="module")
def leftward(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a policy that goes left, because the right way paid nothing to it."""
    register("two-ways", lambda num_envs, **_: make_tabular(ways(0.0), num_envs, discount=0.9))
    found, folder = train(IPD, policies=1).run(), tmp_path_factory.mktemp("leftward")
    assert first_moves(found, 0)[LEFT] > 0.95
    found.save(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "right", "seed"), [(IPD, 0.97, 103), (IPD, 1.0, 105), (CTNB, 1.0, 103), (CTNB, 1.0, 105)]
)
def test_who_must_differ_takes_the_other_way_and_gives_up_nothing(grid, leftward, kind, right, seed) -> None:
    # Without the reference these seeds go left.
    grid(right)
    settings = {"grace": 2} if kind is IPD else {}
    alone = train(kind, policies=1, seed=seed).run()
    assert first_moves(alone, 0)[LEFT] > 0.9
    found = train(kind, policies=1, seed=seed, references=(leftward,), distance=0.5, **settings).run()
    # An episode that lacks novelty ends for IPD, long before the goal; CTNB's slope of the distance vanishes at 0.5,
    # and who keeps that gains nothing by going right more often.
    assert first_moves(found, 0)[RIGHT] > (0.95 if kind is IPD else 0.8)
    assert found.returns[0, :, 1].max() <= 1  # a mean of total variations, no sum
    assert found.returns[0, :, 1].mean() >= 0.5 and found.indicators["feasible"] == [True]
    assert found.indicators["value"][0] == pytest.approx(right * WORTH, rel=0.01)


def test_policies_one_after_another_share_the_steps_and_part_ways(grid) -> None:
    grid(1.0)
    found = train(CTNB, 120_000, policies=2, distance=0.2, seed=9).run()
    ahead = [int(first_moves(found, p).argmax()) for p in (0, 1)]
    assert sorted(ahead) == [RIGHT, LEFT]
    assert found.returns[0, :, 1].max() == 0 and found.returns[1, :, 1].mean() >= 0.2
    assert found.indicators["limits"] == ["novelty >= 0/0.2"]
    np.testing.assert_allclose(found.indicators["value"], WORTH, rtol=0.02)
    halves = [row["steps"] for row in found.history]
    assert halves == sorted(halves) and found.indicators["real_environment_steps"]["training"] == halves[-1]


def test_an_interrupted_sequence_goes_on_to_the_same_bits(grid) -> None:
    grid(1.0)
    config = train(IPD, 40_000, policies=2, grace=2, distance=0.2, evaluate_every=1, episodes=1)
    whole, broken = config.start(), config.start()
    while len(broken.earlier) == 0:
        broken.advance()
    broken.advance()
    resumed = config.start()
    resumed.load_state_dict(broken.state_dict())
    a, b = complete(whole), complete(resumed)
    assert torch.equal(a.population.theta, b.population.theta) and len(a) == 2
    np.testing.assert_array_equal(a.returns, b.returns)


def table(model: ActorCritic, chances: Tensor) -> Tensor:
    """theta [1, 2, D] of a network without hidden layers whose softmax is chances [S, A]."""
    theta = torch.zeros(1, 2, model.network.parameters)
    model.network.layers(theta[:, 0]).weights[0][0] = chances.log()
    return theta


def policies() -> tuple[ActorCritic, Any]:
    """A model without hidden layers, and the making of a policy that goes up, right, down, left by given chances."""
    model = ActorCritic(make_features(spaces.Discrete(9)), Categorical((4,)), 2, ())
    people = fresh_population(model, 1, torch.Generator().manual_seed(0))

    def make_policy(*chances: float) -> Acting:
        return Acting(model, table(model, torch.tensor([chances] * 9)), standard(people.observations))

    return model, make_policy


def test_novelty_is_paid_where_the_actor_stands_and_lack_of_it_ends_the_episode(grid) -> None:
    # Total variation of (.7 .1 .1 .1) from (.4 .4 .1 .1): .3; from (.5 .1 .1 .3): .2, the nearest.
    _, policy = policies()
    env = NoveltyWatch(make(grid(1.0), 2), [policy(0.4, 0.4, 0.1, 0.1), policy(0.5, 0.1, 0.1, 0.3)], 0.25, grace=2)
    assert len(env.references) == 1 and env.spec.costs == ("novelty",)
    env.follow(policy(0.7, 0.1, 0.1, 0.1))
    env.reset(0)
    steps = [env.step(torch.tensor([LEFT, 0])) for _ in range(4)]
    torch.testing.assert_close(torch.stack([s.cost for s in steps]), torch.full((4, 2, 1), 0.2))
    assert [s.terminated.tolist() for s in steps] == [[False] * 2, [False] * 2, [True] * 2, [False] * 2]
    assert steps[2].final_observation[:, 0].tolist() == [6, 7] and steps[2].observation[:, 0].tolist() == [7, 7]
    assert env.mean == pytest.approx(0.2)


def test_enough_novelty_ends_nothing_and_a_policy_is_not_unlike_itself(grid) -> None:
    _, policy = policies()
    one, other = policy(0.7, 0.1, 0.1, 0.1), policy(0.1, 0.1, 0.1, 0.7)
    env = NoveltyWatch(make(grid(1.0), 1), [one], 0.6, grace=2)
    for actor, paid in ((other, 0.6), (one, 0.0)):
        env.follow(actor)
        env.reset(0)
        steps = [env.step(torch.tensor([0])) for _ in range(3)]
        assert [s.cost.item() for s in steps] == pytest.approx([paid] * 3, abs=1e-6)
    assert bool(steps[-1].terminated) and env.mean == pytest.approx(0.0, abs=1e-6)


def test_distances_by_head() -> None:
    # Gaussian: means (0, 3) and (4, 0), deviations 1 and e^0: sqrt(16 + 9) = 5. Choices of 2 and 3: their total
    # variations add up, 1/4 + 1/2.
    head = Gaussian((-1.0,) * 2, (1.0,) * 2)
    flat = torch.zeros(1, 1, 2)
    assert action_distance(head, torch.tensor([[[0.0, 3]]]), flat, torch.tensor([[[4.0, 0]]]), flat).item() == 5.0
    ours, theirs = (0.5, 0.5, 0.5, 0.25, 0.25), (0.75, 0.25, 0.25, 0.0 + 1e-30, 0.75)
    logits = [torch.tensor(x).log().view(1, 1, -1) for x in (ours, theirs)]
    found = action_distance(Categorical((2, 3)), logits[0], flat, logits[1], flat)
    assert found.item() == pytest.approx(0.75)


def test_policies_of_one_shape_are_stacked(grid) -> None:
    _, policy = policies()
    wide = ActorCritic(make_features(spaces.Discrete(9)), Categorical((4,)), 2, (5,))
    draw = torch.Generator().manual_seed(1)
    odd = acting(wide, fresh_population(wide, 2, draw))
    found = stacked([policy(0.4, 0.4, 0.1, 0.1), odd, policy(0.5, 0.1, 0.1, 0.3)])
    assert [len(x.theta) for x in found] == [2, 2]
    seen = torch.tensor([[3.0], [5.0]])
    torch.testing.assert_close(found[0].outputs(seen)[0][1].softmax(-1)[0], torch.tensor([0.5, 0.1, 0.1, 0.3]))
    torch.testing.assert_close(found[1].outputs(seen)[0], odd.outputs(seen)[0])


def test_what_cannot_be_is_said(grid, leftward, tmp_path: Path) -> None:
    grid(1.0)
    assert set(METHODS) == {"ipd", "ctnb"}
    with pytest.raises(ValueError, match="distance must be positive, got 0"):
        CTNB(distance=0.0)
    with pytest.raises(TradeoffError, match="holds no finished run"):
        train(IPD, references=(str(tmp_path),)).start()
    with pytest.raises(TradeoffError, match="two-ways, this run is for deep-sea-treasure-v0"):
        IPD(env="deep-sea-treasure-v0", references=(leftward,)).start()

    class Sealed:
        spec = make("two-ways", 1).spec

    _, policy = policies()
    with pytest.raises(TradeoffError, match="use the method 'ctnb'"):
        NoveltyWatch(Sealed(), [policy(0.4, 0.4, 0.1, 0.1)], 0.5, grace=2)  # type: ignore[arg-type]


def test_a_finished_run_plays_again_in_the_plain_environment(grid, leftward) -> None:
    # The way left, four moves, is worth 0.729 whoever watches; the environment itself pays no novelty.
    grid(1.0)
    found = replay(Path(leftward), episodes=4, seed=3).record()["policies"][0]["likeliest"]["mean"]
    assert list(found) == ["objective_0"]
    assert found["objective_0"] == pytest.approx(WORTH)
