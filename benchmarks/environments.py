"""Steps per second of random actions: our batched environments against one mo-gymnasium environment in a loop.

Actions are drawn beforehand on both sides; resets are part of the steps. Ours runs on the CPU, with the number of torch
threads that served it best; MuJoCo bodies use as many threads as there are cores.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers import FOLDER, interpreter
from benchmarks.report import Row, emit, shown, spread, verdict
from benchmarks.turns import Contestant, alternate, fastest, module


class Case(NamedTuple):
    """One environment to compare."""

    id: str
    number: int  # our environments
    ours: int  # steps per turn of each of our environments
    peer: int  # steps per turn of the peer's
    target: float | None  # times the peer's steps per second


CASES = (
    Case("deep-sea-treasure-v0", 4096, 5000, 300_000, 50.0),
    Case("minecart-v0", 4096, 500, 50_000, 50.0),
    Case("mo-halfcheetah-v5", 128, 500, 20_000, None),
    Case("mo-hopper-v5", 128, 300, 10_000, None),
    Case("mo-ant-v5", 128, 100, 5_000, None),
)


def duel(case: Case, shrink: int, repetitions: int, python: Path) -> dict[str, Any]:
    """Measure one environment; `shrink` divides the steps per turn."""
    steps = case.ours // shrink
    threads = sorted({1, os.cpu_count() or 1}) if case.target else [1]
    settings = {
        f"{t} threads": module(sys.executable, "environments_ours", case.id, case.number, steps, t) for t in threads
    }
    peer = Contestant("1 environment", module(python, "environments_peer", case.id, case.peer // shrink))
    ours = fastest(settings)
    peer.turn()  # the first one warms up
    mine, theirs = alternate(ours, peer, repetitions)
    return {
        "id": case.id, "environments": case.number, "target": case.target,
        "ours": spread(mine) | {"setting": ours.setting}, "peer": spread(theirs),
        "ratio": spread([a / b for a, b in zip(mine, theirs, strict=True)]),
    }  # fmt: skip


def row(result: dict[str, Any]) -> Row:
    """One line of the table."""
    target = result["target"]
    return {
        "environment": result["id"],
        "N": str(result["environments"]),
        "ours, steps/s": shown(result["ours"]),
        "one mo-gymnasium, steps/s": shown(result["peer"]),
        "ratio": shown(result["ratio"], 1),
        "target": verdict(result["ratio"]["median"], target) if target else "",
    }


def main(quick: bool = False, repetitions: int = 5, peers: Path = FOLDER) -> None:
    """Run the comparison.

    Args:
        quick: a tenth of the steps and two repetitions; shows that it works, measures little.
        repetitions: turns of each side.
        peers: folder of the peers' virtual environment, made when missing.
    """
    python = interpreter(peers)
    shrink, repetitions = (10, 2) if quick else (1, repetitions)
    results = [duel(case, shrink, repetitions, python) for case in CASES]
    emit("steps of environments", [row(r) for r in results], results, shrink=shrink, peer="mo-gymnasium 1.3.2")


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
