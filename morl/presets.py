"""Settings that work, by environment: the program's defaults, and what the results page was made with."""

from __future__ import annotations

from typing import Any

from engine.learner import LearnerConfig
from morl.methods import METHODS, FrontConfig

SMALL = LearnerConfig(
    rollout_steps=32, environments=16, epochs=4, minibatches=4, learning_rate=2e-3, gamma=0.99, gae_lambda=0.95,
    entropy=0.05,
)  # fmt: skip
"""For small discrete problems: short rollouts in many copies, and enough entropy to try everything."""

PRESETS: dict[str, dict[str, Any]] = {
    "deep-sea-treasure-v0": {"learner": SMALL},
}


def recommended(method: str, env: str, **changes: Any) -> FrontConfig:
    """A method's config with the settings recommended for an environment, then `changes`."""
    settings: dict[str, Any] = {"env": env, **PRESETS.get(env, {}), **changes}
    return METHODS[method](**settings)
