"""Our side of benchmarks/moppo.py: iterations of the learner on mo-halfcheetah-v5.

Arguments: policies, torch threads, steps per iteration and environment.
"""

from __future__ import annotations

import sys

import torch

from benchmarks.turns import serve
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
from tradeoff.envs import make


def learner(policies: int, steps: int) -> Learner:
    """The learner with MOPPO's defaults, preferences spread evenly over the simplex."""
    config = LearnerConfig(
        rollout_steps=steps, environments=4, epochs=10, minibatches=32, learning_rate=3e-4, gamma=0.995,
        gae_lambda=0.95, clip=0.2, entropy=0.0, critic=0.5, max_norm=0.5, hidden=(64, 64),
    )  # fmt: skip
    env = make("mo-halfcheetah-v5", num_envs=policies * config.environments)
    generator = torch.Generator().manual_seed(0)
    head = make_head(env.spec.action_space)
    model = ActorCritic(make_features(env.spec.observation_space), head, channels=2, hidden=config.hidden)
    first = torch.linspace(0, 1, policies + 2)[1:-1]
    return Learner(
        model, Rollout(env, policies, steps), fresh_population(model, policies, generator),
        Linear(torch.stack([first, 1 - first], 1)), config, generator, discount=config.gamma,
    )  # fmt: skip


def main() -> None:
    """Serve iterations; a unit is an environment step that was collected and trained on."""
    policies, threads, steps = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    ours = learner(policies, steps)

    def iteration() -> float:
        ours.iterate()
        return policies * ours.config.environments * steps

    serve(iteration)


if __name__ == "__main__":
    main()
