"""One point of benchmarks/scaling.py in a process of its own, so that its peak memory is its own.

Arguments: axis (policies, channels or environments), size, environment id (not for channels), least seconds measured.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from tradeoff.engine import (
    ActorCritic,
    Learner,
    LearnerConfig,
    Linear,
    Rollout,
    fresh_population,
    make_features,
    make_head,
)
from tradeoff.envs import VectorEnv, finite_arrays, make, make_tabular

STATES, ACTIONS = 64, 4  # of the made-up problem with any number of objectives
STEPS, ENVIRONMENTS = 128, 4  # per policy and iteration


def wanderings(channels: int, number: int) -> VectorEnv:
    """A random finite problem with as many objectives as are asked for."""
    numbers = np.random.default_rng(0)
    transition = np.eye(STATES)[numbers.integers(STATES, size=(STATES, ACTIONS))]
    reward = numbers.normal(size=(STATES, ACTIONS, channels))
    return make_tabular(finite_arrays(transition, reward, horizon=100), number)


def training(env: VectorEnv, policies: int) -> Callable[[], int]:
    """Iterations of the learner; returns samples."""
    config = LearnerConfig(rollout_steps=STEPS, environments=ENVIRONMENTS, minibatches=4)
    generator = torch.Generator().manual_seed(0)
    channels = len(env.spec.objectives)
    model = ActorCritic(make_features(env.spec.observation_space), make_head(env.spec.action_space), channels)
    weights = torch.full((policies, channels), 1 / channels)
    people = fresh_population(model, policies, generator)
    learner = Learner(
        model, Rollout(env, policies, STEPS), people, Linear(weights), config, generator, discount=config.gamma
    )

    def iteration() -> int:
        learner.iterate()
        return policies * STEPS * ENVIRONMENTS

    return iteration


def stepping(env: VectorEnv) -> Callable[[], int]:
    """A hundred steps under random actions; returns steps times environments."""
    actions = torch.randint(int(env.spec.action_space.n), (20, env.num_envs))  # type: ignore[attr-defined]

    def steps() -> int:
        for action in actions.repeat(5, 1):
            env.step(action)
        return 100 * env.num_envs

    return steps


def work(axis: str, size: int, id: str) -> Callable[[], int]:
    """What is measured at one point."""
    if axis == "policies":
        return training(make(id, num_envs=size * ENVIRONMENTS), size)
    if axis == "channels":
        return training(wanderings(size, 8 * ENVIRONMENTS), 8)
    return stepping(make(id, num_envs=size))


def megabytes() -> float:
    """Largest memory of this process so far [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the rate [1/s] and the peak memory [MB], in all and above that of the imports."""
    axis, size, id, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    idle = megabytes()
    turn = work(axis, size, id)
    turn()
    began, units = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds or not units:
        units += turn()
    print(json.dumps({"size": size, "rate": units / spent, "peak_mb": megabytes(), "own_mb": megabytes() - idle}))


if __name__ == "__main__":
    main()
