"""Every field of the configuration has an effect, and every bad value an error that names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.engine import LearnerConfig
from tradeoff.envs.protocol import EnvSpec, Step


class Line:
    """A point on a line is pushed by an action in [-1, 1] and paid (-x^2, -push^2); episodes are cut after 5 steps."""

    exact_state = True

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self.device = num_envs, torch.device("cpu")
        see, act = spaces.Box(-np.inf, np.inf, (1,), np.float32), spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.spec = EnvSpec(id="line", observation_space=see, action_space=act, objectives=("near", "idle"))

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        self.x, self.clock = torch.linspace(2, 5, self.num_envs).unsqueeze(-1), 0
        return self.x

    def step(self, action: Tensor) -> Step:
        self.x, self.clock = self.x + action, self.clock + 1
        reward, final = -torch.cat([self.x, action], -1).square(), self.x
        over = torch.full((self.num_envs,), self.clock == 5)
        seen = self.reset() if self.clock == 5 else final
        return Step(seen, reward, torch.zeros(self.num_envs, 0), torch.zeros_like(over), over, final)


BASE = LearnerConfig(
    rollout_steps=8, environments=4, epochs=2, minibatches=2, learning_rate=0.05, hidden=(4,), gamma=0.9
)
OTHER: dict[str, Any] = {
    "rollout_steps": 9,
    "environments": 5,
    "epochs": 3,
    "minibatches": 4,
    "learning_rate": 0.06,
    "gamma": 0.8,
    "gae_lambda": 0.5,
    "clip": 0.01,
    "entropy": 0.1,
    "divergence": 1.0,
    "critic": 5.0,
    "max_norm": 0.01,
    "hidden": (5,),
    "normalise": False,
    "squash": True,
    "spread": 0.5,
}
OF_THE_RUN = {"anneal", "calm"}  # only who knows the length of a run can read them, and hands the learner its rate


@pytest.fixture
def trained(learner_for):
    """Parameters after two iterations."""

    def run(config: LearnerConfig) -> Tensor:
        learner = learner_for(Line(2 * config.environments), [[1.0, 0.0], [0.3, 0.7]], config)
        for _ in range(2):
            learner.iterate()
        return learner.population.theta

    return run


def test_every_field_is_named_here() -> None:
    assert {f.name for f in fields(LearnerConfig)} == OTHER.keys() | OF_THE_RUN
    assert len(OTHER) == 16


@pytest.mark.parametrize("name", OTHER)
def test_every_field_changes_the_result(trained, name: str) -> None:
    base = trained(BASE)
    assert torch.equal(base, trained(replace(BASE))), "and nothing else does"
    other = trained(replace(BASE, **{name: OTHER[name]}))
    if base.shape == other.shape:
        assert (base - other).abs().max() > 1e-4
    else:
        assert name == "hidden" and other.shape == (2, 2, 1 * 5 + 5 + 5 * 2 + 2 + 1)


BAD = [
    ("rollout_steps", 0, "rollout_steps must be at least 1, got 0"),
    ("environments", 0, "environments must be at least 1, got 0"),
    ("epochs", 0, "epochs must be at least 1, got 0"),
    ("minibatches", -1, "minibatches must be at least 1, got -1"),
    ("learning_rate", 0.0, "learning_rate must be positive, got 0.0"),
    ("max_norm", -1.0, "max_norm must be positive, got -1.0"),
    ("spread", 0.0, "spread must be positive, got 0.0"),
    ("gamma", 1.01, r"gamma must lie in \[0, 1\], got 1.01"),
    ("gae_lambda", -0.1, r"gae_lambda must lie in \[0, 1\], got -0.1"),
    ("entropy", -0.1, "entropy must not be negative, got -0.1"),
    ("divergence", -0.1, "divergence must not be negative, got -0.1"),
    ("critic", -0.1, "critic must not be negative, got -0.1"),
    ("clip", 0.0, r"clip must lie in \(0, 1\), got 0.0"),
    ("clip", 1.0, r"clip must lie in \(0, 1\), got 1.0"),
    ("calm", 0.0, r"calm must lie in \(0, 1\], got 0.0"),
    ("calm", 0.5, "calm 0.5 has no effect: it follows a learning rate that falls; give anneal"),
    ("hidden", (), r"hidden must name at least one layer of at least one unit, got \(\)"),
    ("hidden", (4, 0), r"hidden must name at least one layer of at least one unit, got \(4, 0\)"),
    ("minibatches", 33, "8 steps x 4 environments give fewer samples than 33 minibatches"),
    ("learning_rate", float("nan"), "learning_rate must be positive, got nan"),
    ("gamma", float("nan"), r"gamma must lie in \[0, 1\], got nan"),
    ("critic", float("nan"), "critic must not be negative, got nan"),
    ("clip", float("nan"), r"clip must lie in \(0, 1\), got nan"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD, ids=[f"{name}={value}" for name, value, _ in BAD])
def test_bad_values_are_refused_at_birth(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(BASE, **{name: value})


def test_noise_is_held_below_a_line_that_falls_with_the_learning_rate(learner_for) -> None:
    # From 0.5 down to a fifth of it, with a quarter of the rate left: 0.5 (0.2 + 0.8 / 4) = 0.2; at the end 0.1.
    config = replace(BASE, spread=0.5, calm=0.2, anneal=True, learning_rate=1e-4)
    learner = learner_for(Line(8), [[1.0, 0.0], [0.3, 0.7]], config)
    network = learner.model.network
    for rate, most in ((1.0, 0.5), (0.25, 0.2), (0.0, 0.1)):
        learner.iterate(rate)
        noise = network.layers(learner.population.theta[:, 0]).extra.exp()
        torch.testing.assert_close(noise, torch.full((2, 1), most), rtol=1e-3, atol=0)
        assert noise.max() <= most * (1 + 1e-6)
    assert network.layers(learner.population.theta[:, 1]).extra.abs().max() < 1e-3, "critics have none to hold"


@pytest.mark.parametrize(
    ("name", "value"), [("gamma", 1.0), ("gamma", 0.0), ("gae_lambda", 1.0), ("minibatches", 32), ("critic", 0.0)]
)
def test_values_at_the_edge_are_taken(name: str, value: float) -> None:
    assert getattr(replace(BASE, **{name: value}), name) == value
