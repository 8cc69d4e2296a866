"""Samples per second of training: our learner against MORL-Baselines' MOPPO, with identical hyper-parameters.

A sample is an environment step that was collected and trained on. Both train 64-64 tanh actors and vector critics on
mo-halfcheetah-v5 with MOPPO's defaults: 4 environments per policy, 2048 steps, 10 epochs of 32 minibatches, gamma
0.995, lambda 0.95, clip 0.2, Adam 3e-4, gradients cut at 0.5. MOPPO normalises observations and rewards in wrappers of
its environments and clips its value loss; ours normalises in the learner and does not clip. MOPPO trains several
policies one after another, so that its rate with 32 policies is its rate with one. Each side runs with the number of
threads that served it best, in turn with the other.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers import FOLDER, interpreter
from benchmarks.report import Row, emit, shown, spread, verdict
from benchmarks.turns import alternate, fastest, module

TARGETS = {1: 5.0, 32: 20.0}  # policies -> times the peer's samples per second


def threads() -> list[int]:
    """Thread settings that each side tries: one, and as many as there are cores."""
    return sorted({1, os.cpu_count() or 1})


def duel(policies: int, steps: int, repetitions: int, python: Path) -> dict[str, Any]:
    """Measure one number of policies."""
    ours = fastest({f"{t} threads": module(sys.executable, "moppo_ours", policies, t, steps) for t in threads()})
    peer = fastest({f"{t} threads": module(python, "moppo_peer", t, steps) for t in threads()})
    mine, theirs = alternate(ours, peer, repetitions)
    return {
        "policies": policies,
        "ours": spread(mine) | {"setting": ours.setting},
        "peer": spread(theirs) | {"setting": peer.setting},
        "ratio": spread([a / b for a, b in zip(mine, theirs, strict=True)]),
    }


def row(result: dict[str, Any]) -> Row:
    """One line of the table."""
    ratio, target = result["ratio"], TARGETS.get(result["policies"])
    return {
        "policies": str(result["policies"]),
        "ours, samples/s": f"{shown(result['ours'])}, {result['ours']['setting']}",
        "MOPPO, samples/s": f"{shown(result['peer'])}, {result['peer']['setting']}",
        "ratio": shown(ratio, 1),
        "target": verdict(ratio["median"], target) if target else "",
    }


def main(quick: bool = False, repetitions: int = 5, policies: tuple[int, ...] = (1, 32), peers: Path = FOLDER) -> None:
    """Run the comparison.

    Args:
        quick: 256 steps per iteration instead of 2048 and two repetitions; shows that it works, measures nothing.
        repetitions: turns of each side.
        policies: sizes of our population.
        peers: folder of the peers' virtual environment, made when missing.
    """
    python, steps = interpreter(peers), 256 if quick else 2048
    repetitions = 2 if quick else repetitions
    results = [duel(p, steps, repetitions, python) for p in policies]
    emit("MOPPO on mo-halfcheetah-v5", [row(r) for r in results], results, steps=steps, peer="morl-baselines 1.3.0")


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
