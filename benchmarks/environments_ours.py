"""Our side of benchmarks/environments.py. Arguments: id, number of environments, steps per turn, torch threads."""

from __future__ import annotations

import sys

import torch

from benchmarks.turns import serve
from tradeoff.envs import make


def main() -> None:
    """Serve steps under actions drawn beforehand; a unit is one step of one environment."""
    id, number, steps, threads = sys.argv[1], *map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    env = make(id, num_envs=number)
    env.spec.action_space.seed(0)
    drawn = [[env.spec.action_space.sample() for _ in range(number)] for _ in range(50)]
    actions = [torch.tensor(row) if env.spec.action_space.shape == () else torch.stack([*map(torch.from_numpy, row)])
               for row in drawn]  # fmt: skip
    env.reset(0)

    def turn() -> float:
        for i in range(steps):
            env.step(actions[i % len(actions)])
        return number * steps

    serve(turn)


if __name__ == "__main__":
    main()
