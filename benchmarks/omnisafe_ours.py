"""Our side of benchmarks/omnisafe.py.

Arguments: task, environment, units per turn and policy, torch threads, policies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.turns import serve
from engine import LearnerConfig
from envs import make
from safe.constraints import default_constraints
from safe.solvers import PlainLagrangian, constrained_learner

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


TURNS = {"train": training, "navigate": training, "rollout": rollout}


def main() -> None:
    """Serve turns."""
    task, env, *numbers = sys.argv[1:]
    units, threads, policies = map(int, numbers)
    torch.set_num_threads(threads)
    serve(TURNS[task](env, units, policies))


if __name__ == "__main__":
    main()
