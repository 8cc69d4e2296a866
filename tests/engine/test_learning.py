"""Learning to known optima."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.engine import LearnerConfig
from tradeoff.engine.evaluate import evaluate
from tradeoff.envs.protocol import EnvSpec, Step

QUICK = LearnerConfig(
    rollout_steps=8, environments=16, epochs=4, minibatches=4, learning_rate=0.02, hidden=(8,), gamma=0.9
)


class Bandit:
    """One step per episode: arm 0 pays (3, 0), arm 1 pays (0, 2)."""

    exact_state = True

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self.device = num_envs, torch.device("cpu")
        see, act = spaces.Discrete(1), spaces.Discrete(2)
        self.spec = EnvSpec(id="bandit", observation_space=see, action_space=act, objectives=("first", "second"))

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        return torch.zeros(self.num_envs, 1, dtype=torch.int64)

    def step(self, action: Tensor) -> Step:
        see, over = self.reset(), torch.ones(self.num_envs, dtype=torch.bool)
        reward = torch.tensor([[3.0, 0], [0, 2]])[action]
        return Step(see, reward, torch.zeros(self.num_envs, 0), over, ~over, see)

    def close(self) -> None: ...


def test_the_better_arm_is_found_for_each_preference(learner_for) -> None:
    # (1/2, 1/2): 3/2 against 1, arm 0. (0.3, 0.7): 0.9 against 1.4, arm 1.
    learner = learner_for(Bandit(32), [[0.5, 0.5], [0.3, 0.7]], QUICK)
    for _ in range(15):
        learner.iterate()
    logits, _ = learner.model.outputs(learner.model.actor(learner.population.theta), torch.ones(2, 1, 1))
    chance = logits.softmax(-1)[:, 0]
    assert chance[0, 0] > 0.95 and chance[1, 1] > 0.95


def test_the_corridor_is_walked_to_the_end_that_each_preference_wants(corridor, learner_for) -> None:
    # Discount 1/2, two steps either way: (1/2, 0), (0, 1/2), cost 3/2. The third wants neither end more: with price 1
    # on steps and 1 on both ends the shortest walk is best again, 1/2 - 3/2 = -1; wandering for 20 steps pays -2.
    weights = [[1.0, 0, -0.01], [0, 1.0, -0.01], [1.0, 1.0, -1.0]]
    learner = learner_for(corridor(48), weights, QUICK)
    for _ in range(25):
        learner.iterate()
    scores = evaluate(
        lambda n, seed: corridor(n), learner.model, learner.population, episodes=100, discount=0.5, seed=0,
        deterministic=False,
    )  # fmt: skip
    utility = (scores.mean * torch.tensor(weights)).sum(-1)
    torch.testing.assert_close(utility, torch.tensor([0.485, 0.485, -1]).double(), rtol=0, atol=0.04)


@pytest.mark.slow
def test_deep_sea_treasure_is_dived_for_as_deep_as_the_preference_pays() -> None:
    # Undiscounted, a treasure at c columns and d rows takes c + d steps. With weights (1, 1) / 2 the known front pays
    # 15.1 - 8 and 16.1 - 9 = 7.1 at most (halved); the neighbours 14 - 7 and 11.5 - 5; the nearest -0.3.
    # With (0.1, 0.9) the nearest treasure is best: 0.07 - 0.9 = -0.83, the next one pays 0.82 - 2.7.
    from tradeoff.engine import ActorCritic, Learner, Linear, Rollout, fresh_population, make_features, make_head
    from tradeoff.envs.registry import make

    config = LearnerConfig(
        rollout_steps=64, environments=16, epochs=4, minibatches=4, learning_rate=3e-3, entropy=0.02, gamma=0.99
    )
    build = partial(make, "deep-sea-treasure-v0", max_episode_steps=60)
    env, weights = build(32, seed=0), torch.tensor([[0.5, 0.5], [0.1, 0.9]])
    draw = torch.Generator().manual_seed(0)
    model = ActorCritic(make_features(env.spec.observation_space), make_head(env.spec.action_space), 2)
    people = fresh_population(model, 2, draw)
    learner = Learner(model, Rollout(env, 2, 64), people, Linear(weights), config, draw, discount=1.0)
    for _ in range(150):
        learner.iterate()
    make_env = lambda n, seed: build(n, seed=seed)  # noqa: E731
    scores = evaluate(make_env, model, learner.population, episodes=1, discount=1.0, seed=0)
    utility = (scores.mean * weights).sum(-1)
    assert utility[0] >= 6.5 / 2 and utility[1] > -0.84, scores.mean
