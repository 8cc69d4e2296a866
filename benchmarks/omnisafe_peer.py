"""The peer's side of benchmarks/omnisafe.py, run by OmniSafe's interpreter.

Arguments: task, environment, units per turn, torch threads. Everything else is as OmniSafe has it by default, early
stops aside. A turn calls what its `learn` calls to collect and to update; its tables and checkpoints are left out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import omnisafe

from benchmarks.turns import serve


def agent(algorithm: str, env: str, steps: int, threads: int, **settings: Any) -> Any:
    """An OmniSafe algorithm ready to train."""
    changes = {
        "train_cfgs": {"torch_threads": threads, "total_steps": 1000 * steps},
        "algo_cfgs": {"steps_per_epoch": steps, **settings},
        "logger_cfgs": {"log_dir": tempfile.mkdtemp(), "use_tensorboard": False},
    }
    with redirect_stdout(sys.stderr):
        return omnisafe.Agent(algorithm, env, custom_cfgs=changes).agent


def collect(peer: Any, steps: int) -> None:
    """The rollout of one epoch."""
    peer._env.rollout(steps_per_epoch=steps, agent=peer._actor_critic, buffer=peer._buf, logger=peer._logger)


def training(env: str, steps: int, threads: int) -> Callable[[], float]:
    """A turn is one epoch; a unit is an environment step that was collected and trained on."""
    peer = agent("PPOLag", env, steps, threads, kl_early_stop=False)

    def turn() -> float:
        collect(peer, steps)
        peer._update()
        return steps

    return turn


def rollout(env: str, steps: int, threads: int) -> Callable[[], float]:
    """A turn is the rollout of one epoch; a unit is an environment step."""
    peer = agent("PPOLag", env, steps, threads)

    def turn() -> float:
        collect(peer, steps)
        peer._buf.get()  # empties it
        return steps

    return turn


def soft(env: str, updates: int, threads: int) -> Callable[[], float]:
    """A turn is so many updates from a replay of 2,000 random steps; a unit is an update."""
    peer = agent("SACLag", env, 2000, threads)
    peer._env.rollout(
        rollout_step=2000, agent=peer._actor_critic, buffer=peer._buf, logger=peer._logger, use_rand_action=True
    )
    peer._epoch = 0

    def turn() -> float:
        for _ in range(updates):
            peer._update()
        return updates

    return turn


TURNS = {"train": training, "navigate": training, "rollout": rollout, "soft": soft, "soft-bfloat16": soft}


def main() -> None:
    """Serve turns."""
    task, env, units, threads = sys.argv[1:]
    serve(TURNS[task](env, int(units), int(threads)))


if __name__ == "__main__":
    main()
