"""One policy for a range of limits, against the exact front of deep sea treasure."""

from __future__ import annotations

import numpy as np
import pytest

from tradeoff.engine.learner import LearnerConfig
from tradeoff.safe.conditioned_methods import ConditionedRun

SMALL = LearnerConfig(
    rollout_steps=32, environments=64, epochs=4, minibatches=4, learning_rate=2e-3, gamma=1.0, entropy=0.05,
    anneal=True,
)  # fmt: skip


def _front(seed: int) -> np.ndarray:
    """[4, 12]: value, exact value, price and violation at twelve limits from -14 to -3."""
    run = ConditionedRun(
        env="deep-sea-treasure-v0", limit=("time>=-14..-3",), weights=(1.0, 0.0), steps=400_000, seed=seed, sweep=12,
        final_episodes=200, evaluate_every=50, learner=SMALL,
    )  # fmt: skip
    rows = run.run().indicators["front"]
    return np.array([[row[name] for row in rows] for name in ("value", "exact_value", "price time", "violation time")])


@pytest.mark.slow
def test_one_policy_has_the_whole_front() -> None:
    # Mixes of treasures, by linear program: 12.75 within six steps, half of 11.5 (5 steps) and half of 14.0 (7). Prices
    # are slopes: (14.0 - 11.5) / 2 at 6, (11.5 - 8.2) / 2 at 4, and (19.6 - 16.1) / 4 at 11, between 9 and 13 steps.
    fronts = np.stack([_front(seed) for seed in range(2)])
    value, exact, price, over = fronts.swapaxes(0, 1)
    print(f"\n{value.round(2)}\n{exact[0].round(2)}\n{price.round(2)}\n{over.round(2)}")
    np.testing.assert_allclose(exact[0, [0, 8, 10, 11]], [20.3, 12.75, 9.85, 8.2], atol=1e-6)
    away = np.abs(value - exact)
    assert away.max() < 1.2 and away.mean() < 0.35
    assert over.max() < 0.8 and over.mean() < 0.2
    mean = price.mean(0)  # a price is the last of its run, and sways by a tenth
    np.testing.assert_allclose(mean[[3, 8, 10]], [0.875, 1.25, 1.65], atol=0.3)
    assert mean[:4].mean() + 0.05 < mean[4:8].mean() < mean[8:].mean() - 0.25
