"""The peer's side of benchmarks/environments.py, run by the peers' interpreter: one mo-gymnasium environment in a loop.

Arguments: id, steps per turn.
"""

from __future__ import annotations

import sys

import mo_gymnasium

from benchmarks.turns import serve


def main() -> None:
    """Serve steps under actions drawn beforehand; a unit is one step."""
    id, steps = sys.argv[1], int(sys.argv[2])
    env = mo_gymnasium.make(id)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]
    env.reset(seed=0)

    def turn() -> float:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return steps

    serve(turn)


if __name__ == "__main__":
    main()
