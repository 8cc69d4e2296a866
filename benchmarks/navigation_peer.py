"""The peer's side of benchmarks/navigation.py, run by an interpreter that holds Safety-Gymnasium.

Arguments: `speed` or `reset`, a task, steps; then it serves turns. Or `walks`, steps, episodes, tasks; then it prints a
line of JSON per task and walk: sums of reward and of each cost, per episode.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import safety_gymnasium

from benchmarks.navigation_walks import KINDS, random_walk, seek
from benchmarks.turns import serve


def make(id: str) -> Any:
    """The original."""
    with redirect_stdout(sys.stderr):
        return safety_gymnasium.make(id)


def totals(env: Any, id: str, walk: str, seed: int, steps: int) -> list[float]:
    """Reward, costs in the order of KINDS and their joint indicator, summed over the first steps of an episode."""
    observation, _ = env.reset(seed=seed)
    planned, summed = random_walk(seed, steps), np.zeros(len(KINDS) + 2)
    for t in range(steps):
        action = planned[t] if walk == "random" else seek(id, observation[None])[0]
        observation, reward, cost, _, _, info = env.step(action)
        summed += [reward, *(info.get(f"cost_{kind}", 0.0) for kind in KINDS), cost]
    return [float(x) for x in summed]


def walks(steps: int, episodes: int, tasks: list[str]) -> None:
    """Episodes from seeds 0, 1, ..."""
    for id in tasks:
        env = make(id)
        for walk in ("random", "seek"):
            rows = [totals(env, id, walk, seed, steps) for seed in range(episodes)]
            print(json.dumps({"task": id, "walk": walk, "rows": rows}), flush=True)


def main() -> None:
    """Serve turns, or print walks."""
    what, *rest = sys.argv[1:]
    if what == "walks":
        return walks(int(rest[0]), int(rest[1]), rest[2:])
    env, steps = make(rest[0]), int(rest[1])
    actions = np.random.default_rng(0).uniform(-1, 1, (1000, 2))

    def speed() -> float:
        env.reset()
        for t in range(steps):
            env.step(actions[t])
        return steps

    def reset() -> float:
        for _ in range(steps):
            env.reset()
        return steps

    serve(speed if what == "speed" else reset)


if __name__ == "__main__":
    main()
