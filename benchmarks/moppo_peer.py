"""The peer's side of benchmarks/moppo.py, run by the peers' interpreter: iterations of MOPPO on mo-halfcheetah-v5.

Arguments: torch threads, steps per iteration and environment. Everything else is as PGMORL makes it by default.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from mo_gymnasium.wrappers.vector import MOSyncVectorEnv
from morl_baselines.single_policy.ser.mo_ppo import MOPPO, MOPPONet, make_env

from benchmarks.turns import serve


def main() -> None:
    """Serve iterations; a unit is an environment step that was collected and trained on."""
    threads, steps = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    env = MOSyncVectorEnv([make_env("mo-halfcheetah-v5", i, i, "benchmark", 0.995) for i in range(4)])  # type: ignore[arg-type]
    shapes = env.single_observation_space.shape, env.single_action_space.shape
    weights = np.full(2, 0.5, dtype=np.float32)
    agent = MOPPO(0, MOPPONet(*shapes, 2), weights, env, device="cpu", log=False, steps_per_iteration=steps)
    began = time.time()

    def iteration() -> float:
        agent.train(began, 0, 1)
        return 4 * steps

    serve(iteration)


if __name__ == "__main__":
    main()
