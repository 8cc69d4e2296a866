"""The peer's side of benchmarks/evaluation.py, run by the peers' interpreter: Envelope's evaluation at the start.

Arguments: weights, episodes. One torch thread: with more, networks this small only wait for each other.
"""

from __future__ import annotations

import sys

import mo_gymnasium
import numpy as np
import torch
from morl_baselines.common.evaluation import policy_evaluation_mo
from morl_baselines.multi_policy.envelope.envelope import Envelope

from benchmarks.turns import serve


def main() -> None:
    """Serve evaluations of an untrained agent; a unit is one evaluation of 100 weights."""
    weights, episodes = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    env = mo_gymnasium.make("minecart-v0")
    agent = Envelope(env, gamma=0.98, log=False, seed=0, device="cpu", buffer_size=1000)
    preferences = np.random.default_rng(0).dirichlet(np.ones(3), weights).astype(np.float32)

    def turn() -> float:
        for w in preferences:
            policy_evaluation_mo(agent, env, w, rep=episodes)
        return weights / 100

    serve(turn)


if __name__ == "__main__":
    main()
