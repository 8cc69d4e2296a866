"""Pictures of runs within limits: curves of return and cost, and where the runs ended up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from tradeoff.benchmark import Job
from tradeoff.beside import COLOURS, held_curves
from tradeoff.drawing import Formats, seed_words
from tradeoff.engine.trained import Trained
from tradeoff.evaluation import nondominated
from tradeoff.evaluation.plots import COLUMN, blank, draw_runs, entitle, in_print, save
from tradeoff.standings import bound_of, excess

PICTURES = ("curves", "costs")  # names without their endings


@in_print
def draw(jobs: Sequence[Job], out: Path, formats: Formats = ("png",)) -> list[Path]:
    """Draw curves.png, return and worst excess over training steps, and costs.png, where the policies ended up.

    Curves are a line per policy, from four on their median and middle half. formats: of the pictures.
    """
    groups: dict[str, dict[str, list[Trained]]] = {}
    for job in jobs:
        groups.setdefault(job.config.env, {}).setdefault(job.config.name, []).append(Trained.load(job.folder))
    bounds = {job.config.env: bound_of(job) for job in jobs}
    pictures = (_curves(groups, bounds), _costs(groups, bounds))
    named = list(zip(PICTURES, pictures, strict=True))
    return [save(figure, out / f"{name}.{kind}") for name, figure in named for kind in formats]


def _curves(groups: dict[str, dict[str, list[Trained]]], bounds: dict[str, Any]) -> Any:
    figure = blank(max(COLUMN, 2.3 * len(groups)), 3.4)
    grid = figure.subplots(2, len(groups), squeeze=False)
    for (env, methods), above, below in zip(groups.items(), *grid, strict=True):
        stop = max(row["steps"] / len(run) for runs in methods.values() for run in runs for row in run.history)
        for colour, (name, runs) in zip(cycle(COLOURS), methods.items(), strict=False):
            for axes, read in ((above, _value), (below, lambda row, b=bounds[env]: excess(b, row["returns"]))):
                curves = [
                    (np.array([row["steps"] / len(run) for row in run.history]), np.array(one, dtype=np.float64))
                    for run in runs
                    for one in zip(*(read(row) for row in run.history), strict=True)
                ]
                steps, values = held_curves(curves, stop)
                draw_runs(axes, steps, values, colour, f"{name}, {len(values)} policies")
        below.axhline(0.0, color="black", linestyle="--", linewidth=0.6)
        above.set(title=env, ylabel="return")
        below.set(xlabel="training steps per policy", ylabel="cost above the limit", yscale="symlog")
    grid[0, 0].legend(frameon=False)
    entitle(
        figure, _title(groups), f"Evaluations during training, the last of each run held to the end. {_runs(groups)}"
    )
    return figure


def _title(groups: dict[str, dict[str, list[Trained]]]) -> str:
    return f"{', '.join(dict.fromkeys(name for methods in groups.values() for name in methods))} within limits"


def _runs(groups: dict[str, dict[str, list[Trained]]]) -> str:
    """Environments, steps and seeds of the runs, for a caption."""
    runs = [run for methods in groups.values() for runs in methods.values() for run in runs]
    steps = sorted({run.indicators["real_environment_steps"]["total"] // len(run) for run in runs})
    many = " to ".join(f"{n:,}" for n in dict.fromkeys((steps[0], steps[-1])))
    return f"{', '.join(groups)}: {many} environment steps per policy, {seed_words([run.indicators for run in runs])}."


def _value(row: dict[str, Any]) -> list[float]:
    return list(row["value"])


def _costs(groups: dict[str, dict[str, list[Trained]]], bounds: dict[str, Any]) -> Any:
    figure = blank(max(COLUMN, 2.3 * len(groups)), 2.2)
    grid = figure.subplots(1, len(groups), squeeze=False)[0]
    for (env, methods), axes in zip(groups.items(), grid, strict=True):
        _plane(axes, methods, bounds[env])
        axes.set(title=env, xlabel="cost above the limit", ylabel="return")
    grid[0].legend(frameon=False)
    entitle(figure, _title(groups), f"Each policy where it ended, mean of fresh episodes. {_runs(groups)}")
    return figure


def _plane(axes: Any, methods: dict[str, list[Trained]], bound: Any) -> None:
    """Every policy where it ended up, the front of all of them, and the exact optimum where one is known."""
    found = []
    for (name, runs), mark in zip(methods.items(), cycle("os^vDPX<>"), strict=False):
        worst = np.concatenate([excess(bound, run.returns.mean(1)) for run in runs])
        earned = np.concatenate([run.indicators["value"] for run in runs])
        axes.plot(worst, earned, mark, label=name, alpha=0.7)
        found.append(np.stack([worst, earned], 1))
    axes.step(*front(np.concatenate(found)).T, where="post", color="grey", linewidth=0.6, zorder=0, label="front")
    exact = next(iter(methods.values()))[0].indicators.get("exact")
    if exact is not None:
        at = excess(bound, [exact["returns"]])
        axes.plot(at, exact["value"], "*", color="black", markersize=6, zorder=0, label="exact optimum")
    axes.axvline(0.0, color="black", linestyle="--", linewidth=0.6)
    low, high = axes.get_xlim()
    axes.axvspan(0.0, max(high, 0.0), color="#D55E00", alpha=0.07, linewidth=0)
    axes.set_xlim(low, high)


def front(points: np.ndarray) -> np.ndarray:
    """Of points [n, 2] of (cost, return), those that no other one outdoes in both, by rising cost [q, 2]."""
    best = points[nondominated(points * [-1.0, 1.0])]
    return np.asarray(best[np.argsort(best[:, 0])])
