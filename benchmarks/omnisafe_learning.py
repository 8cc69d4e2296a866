"""What OmniSafe's PPO-Lagrangian learns with its own defaults, run by OmniSafe's interpreter (see omnisafe_setup.sh).

    FOLDER/bin/python -m benchmarks.omnisafe_learning SafetyPointGoal1-v0 1000000 0

Arguments: environment, steps, seed. Prints one line of JSON: sums of reward and cost over 50 fresh episodes with
sampled actions after the last update, the means of every epoch of training, and the seconds it took.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import omnisafe

EPISODES = 50
COLUMNS = {"steps": "TotalEnvSteps", "return": "Metrics/EpRet", "cost": "Metrics/EpCost"}


def play(peer: Any, episodes: int) -> list[tuple[float, float]]:
    """Reward and cost summed over each of so many episodes."""
    env, act = peer._env, peer._actor_critic.step
    played: list[tuple[float, float]] = []
    seen, _ = env.reset()
    reward = cost = 0.0
    while len(played) < episodes:
        seen, r, c, ended, cut, info = env.step(act(seen)[0])
        reward += float(info.get("original_reward", r))
        cost += float(info.get("original_cost", c))
        if bool(ended) or bool(cut):
            played.append((reward, cost))
            reward = cost = 0.0
    return played


def main(env: str, steps: int, seed: int) -> None:
    """Train and play."""
    logs = tempfile.mkdtemp()
    changes = {
        "seed": seed,
        "train_cfgs": {"torch_threads": 1, "total_steps": steps},
        "logger_cfgs": {"log_dir": logs, "use_tensorboard": False},
    }
    began = time.perf_counter()
    with redirect_stdout(sys.stderr):
        trainer = omnisafe.Agent("PPOLag", env, custom_cfgs=changes)
        trainer.learn()
        seconds = time.perf_counter() - began
        played = play(trainer.agent, EPISODES)
    (table,) = Path(logs).rglob("progress.csv")
    with table.open() as file:
        epochs = [{name: float(row[column]) for name, column in COLUMNS.items()} for row in csv.DictReader(file)]
    print(json.dumps({"env": env, "seed": seed, "seconds": seconds, "episodes": played, "epochs": epochs}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
