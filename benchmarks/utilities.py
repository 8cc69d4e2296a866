"""Nonlinear utilities: value against environment steps, plain and variance-reduced gradients, median of eight runs.

Server queues of every published size (-sum 500 / (J + 1)) and deep sea treasure (sqrt(J1 + 1) + sqrt(J2 + 101)). Step
sizes were chosen on six queues and on the sea, once per method; the other sizes take those of six queues. Writes
docs/figures/utilities.png. MO-PPO gets half the steps of the others. A method's share is the steps at which the median
of its runs first reached, for good, the value that plain MO-PG with the published batches ended at, over MO-PG's steps.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.report import Row, emit
from benchmarks.turns import ROOT

FIGURE = ROOT / "docs" / "figures" / "utilities.png"
SIZES = (6, 8, 12, 16, 32, 64)
RANDOM = {6: -61.4, 8: -161.6, 12: -297.3, 16: -592.0, 32: -2225.0, 64: -8044.0}  # uniformly random service
LONGEST = {6: -57.9, 8: -152.4, 12: -275.2, 16: -540.5, 32: -1923.0, 64: -6545.0}  # longest queue first
RUNS, POINTS = 8, 14


class Entry(NamedTuple):
    """A method with its settings, for queues and for the sea."""

    label: str
    method: str
    queues: dict[str, Any]
    sea: dict[str, Any]
    turn: tuple[int, int]  # episodes per policy, on average, on queues and in the sea
    part: float = 1.0  # of the budget


LARGE, MIDDLE, BLEND = {"batch": 288}, {"batch": 24}, {"learning_rate": 0.003, "eta": 0.3}
ENTRIES = (
    Entry("MO-PG, 288 + 288", "mo-pg", {**LARGE, "learning_rate": 0.03}, {**LARGE, "learning_rate": 0.01}, (576, 576)),
    Entry("MO-PG, 12 + 12", "mo-pg", {"learning_rate": 0.01}, {"learning_rate": 0.003}, (24, 24)),
    Entry(
        "MO-TSIVR-PG, Adam", "mo-tsivr-pg",
        {"learning_rate": 0.001, "step": "adam"}, {"learning_rate": 0.003, "step": "adam"}, (46, 46),
    ),
    Entry("MO-STORM-PG", "mo-storm-pg", BLEND, BLEND, (24, 24)),
    Entry("MO-N-PG-IGT", "mo-n-pg-igt", {"learning_rate": 1.0, **MIDDLE}, {"learning_rate": 0.5, **MIDDLE}, (48, 48)),
    Entry("MO-PPO, half the steps", "mo-ppo", {}, {}, (2, 20), 0.5),
)  # fmt: skip


def curve(env: str, entry: Entry, budget: int) -> dict[str, Any]:
    """Train eight runs side by side; steps per run, values, and the value on fresh seeds. budget: episodes per run."""
    import torch

    from tradeoff.registry import recommended

    torch.set_num_threads(1)
    sea = "queues" not in env
    own, length = (entry.sea, 25) if sea else (entry.queues, 500)
    budget = round(budget * entry.part)
    every = max(1, round(budget / POINTS / entry.turn[sea]))
    config = recommended(
        entry.method, env, policies=RUNS, steps=budget * RUNS * length, episodes=20, final_episodes=100,
        evaluate_every=every, **({} if entry.method == "mo-ppo" else {"hidden": (128,)}), **own,
    )  # fmt: skip
    found = config.run()
    steps = [row["steps"] / RUNS for row in found.history]
    return {"steps": steps, "value": [row["value"] for row in found.history], "final": found.indicators["value"]}


def share_to_reach(found: dict[str, Any], goal: float, total: float) -> float:
    """Share of `total` steps after which the median stays at or above the goal; infinite where it does not."""
    above = np.median(found["value"], axis=1) >= goal
    kept = np.flatnonzero(np.logical_and.accumulate(above[::-1])[::-1])
    return float(found["steps"][kept[0]] / total) if len(kept) else float("inf")


def row(env: str, entry: Entry, found: dict[str, Any], plain: dict[str, Any]) -> Row:
    """One line of the table."""
    low, middle, high = np.quantile(found["final"], (0.25, 0.5, 0.75))
    share = share_to_reach(found, float(np.median(plain["final"])), plain["steps"][-1])
    return {
        "problem": env, "method": entry.label, "final value": f"{middle:,.2f} [{low:,.2f}, {high:,.2f}]",
        "share of MO-PG's steps": "never" if np.isinf(share) else f"{share:.2f}",
        "above random": "" if "queues" not in env else str(middle > RANDOM[int(env.split("-")[2])]),
    }  # fmt: skip


def draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A panel per problem: median and middle half of the runs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.5), layout="constrained")
    grid = figure.subplots(2, -(-len(curves) // 2), squeeze=False).ravel()
    for axes, (env, group) in zip(grid, curves.items(), strict=False):
        for entry, found in zip(ENTRIES, group, strict=True):
            low, middle, high = np.quantile(found["value"], (0.25, 0.5, 0.75), axis=1)
            (line,) = axes.plot(found["steps"], middle, label=entry.label)
            axes.fill_between(found["steps"], low, high, alpha=0.15, color=line.get_color(), linewidth=0)
        if "queues" in env:
            size = int(env.split("-")[2])
            axes.axhline(RANDOM[size], color="grey", linestyle=":", linewidth=1)
            axes.axhline(LONGEST[size], color="grey", linestyle="--", linewidth=1)
            axes.set_ylim(RANDOM[size] * 1.15, LONGEST[size] * 0.97)
        axes.set(title=env, xlabel="environment steps per run", ylabel="utility")
    for axes in grid[len(curves) :]:
        axes.remove()
    grid[0].legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(quick: bool = False, budget: int = 4000, sizes: tuple[int, ...] = SIZES, figure: Path = FIGURE) -> None:
    """Run the comparison.

    Args:
        quick: a fiftieth of the episodes on the two smallest sizes; shows that it works, measures nothing.
        budget: episodes per run on queues; the sea takes as many steps as four times that of 25 steps each.
        sizes: numbers of queues.
        figure: where the picture goes.
    """
    budget, sizes = (budget // 50, sizes[:2]) if quick else (budget, sizes)
    problems = {"deep-sea-treasure-v0": 4 * budget} | {f"server-queues-{m}-v0": budget for m in sizes}
    with ProcessPoolExecutor(max(1, (os.cpu_count() or 1))) as pool:
        jobs = {env: [pool.submit(curve, env, e, episodes) for e in ENTRIES] for env, episodes in problems.items()}
        curves = {env: [job.result() for job in group] for env, group in jobs.items()}
    draw(curves, figure)
    rows = [row(env, e, f, group[0]) for env, group in curves.items() for e, f in zip(ENTRIES, group, strict=True)]
    emit("utilities of expected returns", rows, curves, budget=budget, runs=RUNS)


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
