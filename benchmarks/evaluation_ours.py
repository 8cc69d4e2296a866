"""Our side of benchmarks/evaluation.py. Arguments: policies, episodes, torch threads."""

from __future__ import annotations

import sys

import torch

from benchmarks.turns import serve
from tradeoff.engine import ActorCritic, fresh_population, make_features, make_head
from tradeoff.engine.evaluate import evaluate
from tradeoff.envs import VectorEnv, make


def minecarts(number: int, seed: int) -> VectorEnv:
    """Environments for an evaluation."""
    return make("minecart-v0", num_envs=number, seed=seed)


def main() -> None:
    """Serve evaluations of untrained policies, most of which never come home; a unit is one of all policies."""
    policies, episodes, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    spec = minecarts(1, 0).spec
    model = ActorCritic(make_features(spec.observation_space), make_head(spec.action_space), channels=3)
    people = fresh_population(model, policies, torch.Generator().manual_seed(0))

    def turn() -> float:
        evaluate(minecarts, model, people, episodes=episodes, discount=0.98, seed=0)
        return 1

    serve(turn)


if __name__ == "__main__":
    main()
