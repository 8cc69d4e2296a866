"""Speed of constrained training: ours against OmniSafe 0.5.0 in an environment of its own, in turn, one thread each.

Identical hyper-parameters, OmniSafe's defaults. PPO-Lagrangian: 20,000 steps per turn, then 40 passes in minibatches of
64 over 64-64 tanh networks, gamma 0.99, lambda 0.95, clip 0.2, Adam 3e-4, gradients cut at 40, limit 25. OmniSafe may
stop its passes early by their divergence; here it may not, so that both do the same work. Its 20,000 steps are 20
episodes of one environment, ours one episode of each of 20. It keeps a network each for the values of reward and cost
and pulls their parameters to zero, ours has one network for both and does not.
SAC-Lagrangian: batches of 256, 256-256 relu networks, the actor every other update, a fixed temperature of 0.2.
OmniSafe has two critics of the reward and one of the cost, ours two that answer for reward, cost and entropy at once.
The bfloat16 variant rounds the factors of ours, not those of OmniSafe, which offers no such thing.
Rollouts: acting and stepping alone, with no update after it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Row, emit, shown, spread, verdict
from benchmarks.turns import ROOT, Contestant, alternate, module

FOLDER = Path("build/omnisafe")
SETUP = ROOT / "benchmarks" / "omnisafe_setup.sh"


@dataclass(frozen=True)
class Task:
    """What is measured: `units` per turn of the peer; ours does `times` as many, to fill a turn of its own."""

    env: str
    unit: str
    units: int
    times: int
    target: float  # times the peer's rate
    base: int  # the peer's rate that the target was set by


TASKS = {
    "train": Task("SafetyHalfCheetahVelocity-v1", "steps/s", 20_000, 1, 10.0, 487),
    "navigate": Task("SafetyPointGoal1-v0", "steps/s", 20_000, 1, 10.0, 224),
    "rollout": Task("SafetyPointGoal1-v0", "steps/s", 2_000, 10, 10.0, 224),
    "soft": Task("SafetyHalfCheetahVelocity-v1", "updates/s", 500, 2, 8.0, 88),
    "soft-bfloat16": Task("SafetyHalfCheetahVelocity-v1", "updates/s", 500, 4, 8.0, 88),
}


def interpreter(folder: Path = FOLDER) -> Path:
    """The Python that has OmniSafe, installed on the first call (minutes and 2 GB)."""
    folder = folder.absolute()
    if not (folder / "installed").exists():
        print(f"installing OmniSafe into {folder} (some minutes) ...", file=sys.stderr)
        subprocess.run(["sh", str(SETUP), str(folder), sys.executable], check=True)
    return folder / "bin" / "python"


def duel(name: str, quick: bool, threads: int, policies: int, repetitions: int, python: Path) -> dict[str, Any]:
    """Measure one task."""
    task = TASKS[name]
    units = max(task.units // 10, 200) if quick else task.units
    ours = module(sys.executable, "omnisafe_ours", name, task.env, units * task.times, threads, policies)
    peer = module(python, "omnisafe_peer", name, task.env, units, threads)
    sides = Contestant("ours", ours), Contestant("peer", peer)
    for side in sides:
        side.turn()  # warms up
    mine, theirs = alternate(*sides, repetitions)
    return {
        "task": name,
        "policies": policies,
        "units": units,
        "ours": spread(mine),
        "peer": spread(theirs),
        "ratio": spread([a / b for a, b in zip(mine, theirs, strict=True)]),
    }


def row(result: dict[str, Any]) -> Row:
    """One line of the table."""
    task, ratio = TASKS[result["task"]], result["ratio"]
    return {
        "task": f"{result['task']} {task.env}, {result['policies']} at once",
        "unit": task.unit,
        "ours": shown(result["ours"]),
        "OmniSafe": shown(result["peer"]),
        "ratio": shown(ratio, 1),
        "target": verdict(ratio["median"], task.target),
        "the target's base": f"{result['ours']['median'] / task.base:.1f} x {task.base}",
    }


def main(
    quick: bool = False,
    repetitions: int = 4,
    threads: int = 1,
    policies: int = 1,
    tasks: tuple[str, ...] = tuple(TASKS),
    peers: Path = FOLDER,
) -> None:
    """Run the comparison.

    Args:
        quick: a tenth of the work per turn, where a turn of the peer takes a minute or more otherwise.
        repetitions: turns of each side, after one to warm up.
        threads: of torch, for each side.
        policies: that ours trains at once, each with all the steps; OmniSafe trains one.
        tasks: train, navigate, rollout, soft, soft-bfloat16.
        peers: folder of the peer's virtual environment, made when missing.
    """
    python = interpreter(peers)
    results = [duel(name, quick, threads, policies, repetitions, python) for name in tasks]
    emit("OmniSafe", [row(r) for r in results], results, threads=threads, peer="omnisafe 0.5.0")


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
