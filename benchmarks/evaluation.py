"""Seconds of a full evaluation of a front: 100 policies, 5 episodes of minecart-v0 each.

Ours plays 100 untrained stacked policies, deterministically. The peer is MORL-Baselines' evaluation of an untrained
Envelope agent (one network of 4 x 256 units that takes the weights as inputs), one weight vector and episode after
another. Untrained carts seldom come home before the 1000th step: this is the dear case on both sides.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.peers import FOLDER, interpreter
from benchmarks.report import emit, shown, spread, verdict
from benchmarks.turns import Contestant, fastest, module

TARGET = 3.0  # seconds


def main(
    quick: bool = False, repetitions: int = 5, policies: int = 100, episodes: int = 5, peers: Path = FOLDER
) -> None:
    """Run the comparison.

    Args:
        quick: one repetition of ours, and two weight vectors of the peer, scaled to 100.
        repetitions: evaluations by ours; the peer makes one.
        policies: evaluated at once by ours.
        episodes: of each policy.
        peers: folder of the peers' virtual environment, made when missing.
    """
    python, repetitions = interpreter(peers), 1 if quick else repetitions
    threads = sorted({1, os.cpu_count() or 1})
    ours = fastest({f"{t} threads": module(sys.executable, "evaluation_ours", policies, episodes, t) for t in threads})
    peer = Contestant("1 threads", module(python, "evaluation_peer", 2 if quick else 100, episodes))
    try:
        mine = spread([1 / ours.turn() for _ in range(repetitions)])
        theirs = spread([1 / peer.turn()])
    finally:
        ours.close()
        peer.close()
    row = {
        "policies x episodes": f"{policies} x {episodes}",
        "ours, s": f"{shown(mine, 2)}, {ours.setting}",
        "Envelope, s": shown(theirs, 1),
        "target, s": verdict(mine["median"], TARGET, at_least=False),
    }
    results = {"ours": mine | {"setting": ours.setting}, "peer": theirs}
    emit("evaluation of a front of minecart-v0", [row], results, quick=quick, policies=policies, episodes=episodes)


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
