"""Plain methods for one weighted return: which weights they climb, and that they reach known optima."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tradeoff.engine.learner import LearnerConfig
from tradeoff.envs import finite_arrays, make, make_tabular, register
from tradeoff.envs.errors import TradeoffError
from tradeoff.morl.proximal_utility import MOPPO
from tradeoff.morl.scalar_methods import METHODS, PPO

LEARNER = LearnerConfig(
    rollout_steps=32, environments=4, epochs=2, minibatches=2, learning_rate=1e-2, gamma=1.0, hidden=(8,)
)
ARMS = [[2.0, 0.0], [0.0, 1.0], [0.7, 0.35]]


@pytest.fixture(autouse=True)
def arms() -> None:
    """One choice among ARMS ends the episode."""

    def make_arms(num_envs: int, **options: Any) -> Any:
        model = finite_arrays([[[0, 1.0]] * 3] * 2, [ARMS] * 2, terminal=[False, True], horizon=1)
        return make_tabular(model, num_envs, id="arms", objectives=("left", "right"), discount=1.0, **options)

    register("arms", make_arms)


def settings(**changes: Any) -> dict[str, Any]:
    """A short run on three policies."""
    short = {"env": "arms", "policies": 3, "steps": 12_000, "evaluate_every": 20, "episodes": 2, "final_episodes": 50}
    return short | {"learner": LEARNER} | changes


@pytest.mark.parametrize(("weights", "best"), [((), 0), ((1.0, 3.0), 1), ((0.0, 1.0), 1)])
def test_ppo_finds_the_best_arm_for_its_weights(weights: tuple[float, ...], best: int) -> None:
    # Equal weights: .5 * 2 = 1 against .5 and .525. (1, 3): 2 against 3 and 1.75. (0, 1): 0 against 1 and .35.
    found = PPO(**settings(weights=weights)).run()
    w = np.array(weights or (0.5, 0.5))
    optimum = max(w @ arm for arm in np.array(ARMS))
    assert optimum == pytest.approx(w @ np.array(ARMS[best]))
    assert np.mean(found.indicators["value"]) > 0.93 * optimum
    assert found.indicators["value"] == pytest.approx((found.returns.mean(1) @ w).tolist())


def test_ppo_is_mo_ppo_with_a_linear_utility() -> None:
    short = settings(steps=1500)
    one = PPO(**short, weights=(1.0, 3.0)).run()
    other = MOPPO(**short, utility="linear", weights=(1.0, 3.0)).run()
    assert torch.equal(one.population.theta, other.population.theta)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("weights", [(-1.0, 2.0), (0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_weights_that_cannot_be_climbed_are_refused(name: str, weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="weights must be finite, not negative and not all zero"):
        METHODS[name](env="arms", weights=weights)


@pytest.mark.parametrize("name", METHODS)
def test_weights_of_the_wrong_number_are_refused_before_training(name: str) -> None:
    with pytest.raises((ValueError, TradeoffError), match="one for each of left, right"):
        METHODS[name](env="arms", weights=(1.0,)).start()


def test_costs_are_reported_and_have_no_weight() -> None:
    config = PPO(env="safe-deep-sea-treasure-v0", steps=600, final_episodes=2, learner=LEARNER)
    spec = make(config.env).spec
    run = config.start()
    m, k = len(spec.objectives), len(spec.costs)
    assert k >= 1
    weights = run.learner.scalarizer.weights(torch.zeros(1, m + k))
    assert weights.tolist() == [[1 / m] * m + [0.0] * k]
    assert config.run().channels == (*spec.objectives, *spec.costs)
