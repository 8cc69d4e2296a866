"""Our side of benchmarks/omnisafe.py.

Arguments: task, environment, units per turn and policy, torch threads, policies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.turns import serve
from tradeoff.engine import LearnerConfig
from tradeoff.engine.soft_config import Precision, SoftConfig
from tradeoff.envs import make
from tradeoff.safe.constraints import default_constraints
from tradeoff.safe.soft_solvers import SACLagrangian, soft_learner
from tradeoff.safe.solvers import PlainLagrangian, constrained_learner

ENVIRONMENTS, BATCH = 20, 64


def learner(env: str, steps: int, policies: int) -> Any:
    """PPO-Lagrangian with OmniSafe's defaults: `steps` per policy and iteration."""
    config = LearnerConfig(
        rollout_steps=steps // ENVIRONMENTS, environments=ENVIRONMENTS, epochs=40, minibatches=steps // BATCH,
        learning_rate=3e-4, gamma=0.99, gae_lambda=0.95, clip=0.2, max_norm=40.0, hidden=(64, 64),
    )  # fmt: skip
    made = make(env, num_envs=policies * ENVIRONMENTS)
    limits, generator = default_constraints(made.spec), torch.Generator().manual_seed(0)
    return constrained_learner(made, limits, PlainLagrangian(rate=0.035), config, generator, policies=policies)


def training(env: str, steps: int, policies: int) -> Callable[[], float]:
    """A turn is one iteration; a unit is an environment step that was collected and trained on."""
    ours = learner(env, steps, policies)

    def turn() -> float:
        ours.iterate()
        return steps * policies

    return turn


def rollout(env: str, steps: int, policies: int) -> Callable[[], float]:
    """A turn is one rollout; a unit is an environment step."""
    ours = learner(env, steps, policies)

    def turn() -> float:
        ours._sample()
        return steps * policies

    return turn


def soft(env: str, updates: int, policies: int, precision: Precision = "float32") -> Callable[[], float]:
    """A turn is so many updates from a replay of 2,000 steps; a unit is an update of one policy's critics."""
    steps = 2000
    config = SoftConfig(
        rollout_steps=steps // ENVIRONMENTS, environments=ENVIRONMENTS, updates=updates / steps, actor_every=2,
        batch=256, warmup=1, capacity=steps, learning_rate=3e-4, gamma=0.99, polyak=0.005, members=2, temperature=0.2,
        temperature_rate=0.0, hidden=(256, 256), normalise=False, precision=precision,
    )  # fmt: skip
    made = make(env, num_envs=policies * ENVIRONMENTS)
    limits, generator = default_constraints(made.spec), torch.Generator().manual_seed(0)
    ours = soft_learner(made, limits, SACLagrangian(), config, generator, policies=policies)
    data, weights = ours._sample(), torch.tensor([[1.0, -0.001]]).expand(policies, 2)

    def turn() -> float:
        ours._improve(data, weights, 1.0)
        return updates * policies

    return turn


def coarse(env: str, updates: int, policies: int) -> Callable[[], float]:
    """The same with factors of products rounded to bfloat16."""
    return soft(env, updates, policies, "bfloat16")


TURNS: dict[str, Callable[[str, int, int], Callable[[], float]]] = {
    "train": training,
    "navigate": training,
    "rollout": rollout,
    "soft": soft,
    "soft-bfloat16": coarse,
}


def main() -> None:
    """Serve turns."""
    task, env, *numbers = sys.argv[1:]
    units, threads, policies = map(int, numbers)
    torch.set_num_threads(threads)
    serve(TURNS[task](env, units, policies))


if __name__ == "__main__":
    main()
