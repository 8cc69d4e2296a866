"""Published gradient estimators on CartPole-v1 and Acrobot-v1 at equal environment steps, median of eight runs.

Every method takes its own steps on whole episodes (discount .99, a network of 32 units, the others' mean as baseline).
The command first tries each method's step sizes on seed 100 and keeps the one with the best median at the end, then
reports seed 0. Steps include those that finished episodes wait for the longest of their batch, and leave evaluations
out. Writes docs/figures/classic_control.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.report import Row, emit
from benchmarks.turns import ROOT

FIGURE = ROOT / "docs" / "figures" / "classic_control.png"
RUNS, CHOICE, REPORT = 8, 100, 0
PROBLEMS = ("CartPole-v1", "Acrobot-v1")
LARGE = {"checkpoint": 30, "batch": 10, "period": 3}


class Entry(NamedTuple):
    """A method with its settings, and the step sizes to try."""

    method: str
    settings: dict[str, Any]
    grid: tuple[float, ...]


PLAIN, LENGTHS = (0.003, 0.01, 0.03, 0.1), (0.1, 0.3, 1.0, 3.0)
ENTRIES = (
    Entry("reinforce", {}, PLAIN),
    Entry("gpomdp", {}, PLAIN),
    Entry("svrpg", LARGE, PLAIN),
    Entry("srvr-pg", LARGE, PLAIN),
    Entry("storm-pg", {"checkpoint": 30, "eta": 0.5}, PLAIN),
    Entry("n-pg-igt", {}, LENGTHS),
    Entry("n-harpg", {}, LENGTHS),
)


def curve(env: str, entry: Entry, rate: float, budget: int, seed: int) -> dict[str, Any]:
    """Eight runs side by side: steps per run and discounted returns at each evaluation, and returns on fresh seeds.

    Where a weight stops being finite the entry is given up, and `trouble` says why.
    """
    import torch

    from tradeoff.envs.errors import TradeoffError
    from tradeoff.registry import recommended

    torch.set_num_threads(1)
    config = recommended(
        entry.method, env, policies=RUNS, steps=budget * RUNS, seed=seed, hidden=(32,), learning_rate=rate,
        evaluate_every=2, episodes=5, final_episodes=20, **entry.settings,
    )  # fmt: skip
    try:
        found = config.run()
    except TradeoffError as error:
        return {"trouble": str(error)}
    steps = [row["steps"] / RUNS for row in found.history]
    value = [row["value"] for row in found.history]
    return {"steps": steps, "value": value, "final": found.indicators["value"]}


def chosen(env: str, entry: Entry, budget: int) -> float:
    """The step size whose runs end best, by their median; those that end in trouble come last."""
    found = {rate: curve(env, entry, rate, budget, CHOICE) for rate in entry.grid}
    return max(found, key=lambda rate: float(np.median(found[rate].get("final", -np.inf))))


def row(env: str, entry: Entry, rate: float, found: dict[str, Any]) -> Row:
    """One line of the table."""
    if "trouble" in found:
        shown = "stopped: a number was not finite"
    else:
        shown = "{1:.2f} [{0:.2f}, {2:.2f}]".format(*np.quantile(found["final"], (0.25, 0.5, 0.75)))
    return {"problem": env, "method": entry.method, "step size": f"{rate:g}", "final return": shown}


def draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A panel per problem: median and middle half of the runs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    grid = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (env, group) in zip(grid, curves.items(), strict=True):
        for entry, found in zip(ENTRIES, group, strict=True):
            if "trouble" in found:
                continue
            low, middle, high = np.quantile(found["value"], (0.25, 0.5, 0.75), axis=1)
            (line,) = axes.plot(found["steps"], middle, label=entry.method)
            axes.fill_between(found["steps"], low, high, alpha=0.15, color=line.get_color(), linewidth=0)
        axes.set(title=env, xlabel="environment steps per run", ylabel="discounted return")
    grid[0].legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(quick: bool = False, budget: int = 100_000, figure: Path = FIGURE) -> None:
    """Run the comparison.

    Args:
        quick: a hundredth of the steps; shows that it works, measures nothing.
        budget: environment steps per run; step sizes are tried with half of them.
        figure: where the picture goes.
    """
    budget = budget // 100 if quick else budget
    rows, curves = [], {env: [] for env in PROBLEMS}  # type: tuple[list[Row], dict[str, list[dict[str, Any]]]]
    for env in PROBLEMS:
        for entry in ENTRIES:
            rate = chosen(env, entry, budget // 2)
            curves[env].append(curve(env, entry, rate, budget, REPORT))
            rows.append(row(env, entry, rate, curves[env][-1]))
    draw(curves, figure)
    emit("gradient estimators on classic control", rows, curves, budget=budget, runs=RUNS)


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
