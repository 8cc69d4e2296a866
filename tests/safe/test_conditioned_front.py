"""One policy for a range of limits, against the exact front of deep sea treasure."""

from __future__ import annotations

import numpy as np
import pytest

from engine.learner import LearnerConfig
from safe.conditioned_methods import ConditionedRun

SMALL = LearnerConfig(
    rollout_steps=32, environments=64, epochs=4, minibatches=4, learning_rate=2e-3, gamma=1.0, entropy=0.05,
    anneal=True,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_one_policy_has_the_whole_front(seed: int) -> None:
    # Mixes of treasures, by linear program: 12.75 within six steps, half of 11.5 (5 steps) and half of 14.0 (7). Prices
    # are slopes: (14.0 - 11.5) / 2 at 6, (11.5 - 8.2) / 2 at 4, and (19.6 - 16.1) / 4 at 11, between 9 and 13 steps.
    run = ConditionedRun(
        env="deep-sea-treasure-v0", limit=("time>=-14..-3",), weights=(1.0, 0.0), steps=400_000, seed=seed, sweep=12,
        final_episodes=200, evaluate_every=50, learner=SMALL,
    )  # fmt: skip
    front = run.run().indicators["front"]
    value, exact, price, over = (
        np.array([row[name] for row in front]) for name in ("value", "exact_value", "price time", "violation time")
    )
    print(f"\n{value.round(2)}\n{exact.round(2)}\n{price.round(2)}\n{over.round(2)}")
    np.testing.assert_allclose(exact[[0, 8, 10, 11]], [20.3, 12.75, 9.85, 8.2], atol=1e-6)
    assert np.abs(value - exact).max() < 1.2 and np.abs(value - exact).mean() < 0.35
    assert over.max() < 0.8 and over.mean() < 0.2
    np.testing.assert_allclose(price[[3, 8, 10]], [0.875, 1.25, 1.65], atol=0.3)
    assert np.corrcoef(price, np.arange(12))[0, 1] > 0.85 and price[0] < price[3] < price[8] < price[10]
