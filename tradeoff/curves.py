"""Runs with one aim: their learning curves as pictures, their scores in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.trained import Trained
from evaluation import bootstrap_interval, interquartile_mean
from evaluation.plots import write_whole
from tradeoff.drawing import blank
from tradeoff.summary import files

PICTURES = ("curve.png",)
LINE, LIMIT = "#0072B2", "#D55E00"
Array = NDArray[np.float64]


def draw(trained: Trained, folder: Path, horizon: int | None) -> list[Path]:
    """Draw curve.png: value, every channel with its limit, and the weight of those that have one, over training steps.

    The line is the median over policies, the band the middle half of them.
    """
    panels = {"value": series(trained, "value")}
    for i, name in enumerate(trained.channels):
        panels[name] = series(trained, "returns")[..., i]
        if _limits(trained, name):
            panels[f"weight of {name}"] = series(trained, "weights")[..., i]
    steps = np.array([float(row["steps"]) for row in trained.history])
    figure = blank(3.6 * min(len(panels), 3), 3.0 * -(-len(panels) // 3))
    grid = figure.subplots(-(-len(panels) // 3), min(len(panels), 3), squeeze=False).ravel()
    for axes, (name, values) in zip(grid, panels.items(), strict=False):
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=1)
        axes.fill_between(steps, low, high, color=LINE, alpha=0.2, linewidth=0)
        axes.plot(steps, middle, color=LINE)
        for limit in _limits(trained, name):
            axes.axhline(limit, color=LIMIT, linestyle="--", linewidth=1, label="limit")
            axes.legend(frameon=False)
        axes.set(title=name, xlabel="training steps")
    for axes in grid[len(panels) :]:
        axes.remove()
    return [write_whole(folder / PICTURES[0], lambda path: figure.savefig(path, dpi=150))]


def series(trained: Trained, name: str) -> Array:
    """A number of the history over its evaluations [t, P, ...]."""
    return np.array([row[name] for row in trained.history], dtype=np.float64)


def _limits(trained: Trained, channel: str) -> list[float]:
    texts = [text.split() for text in trained.indicators.get("limits", ())]
    return [float(number) for name, _, number in texts if name == channel and "/" not in number]


def summary(trained: Trained, folder: Path) -> str:
    """Value over the policies, every channel, limits, steps, files, next commands."""
    scores = trained.indicators
    steps = scores["real_environment_steps"]
    parts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in steps.items() if name != "total")
    lines = [
        f"{scores['method']} on {trained.env}, seed {scores['seed']}, discount {scores['discount']:g}, "
        f"{len(trained)} {'policies' if len(trained) > 1 else 'policy'}",
        f"  value              {_spread(scores['value'])}; likeliest actions: {_spread(scores['deterministic_value'])}",
        *(f"  {name:<18} {_spread(x)}" for name, x in _channels(trained)),
        *_limit_lines(scores),
        *_exact_lines(scores),
        f"  environment steps  {steps['total']:,} ({parts})",
        f"  written to         {folder}: {files(folder)}",
        f"try  tradeoff evaluate {folder}",
        f"     tradeoff plot {folder}",
    ]
    return "\n".join(lines)


def _channels(trained: Trained) -> list[tuple[str, list[float]]]:
    means = trained.returns.mean(1)
    return [(name, means[:, i].tolist()) for i, name in enumerate(trained.channels)]


def _spread(values: list[float]) -> str:
    """One number, or the interquartile mean over policies with its interval."""
    if len(values) == 1:
        return f"{values[0]:.6g}"
    estimate = bootstrap_interval(np.array(values), interquartile_mean, seed=0)
    return f"{estimate.value:.6g} [{estimate.low:.6g}, {estimate.high:.6g}]"


def _limit_lines(scores: dict[str, Any]) -> list[str]:
    if "limits" not in scores:
        return []
    share = np.array(scores["episodes_over_the_limit"]).mean(0)
    held = f"held by {sum(scores['feasible'])} of {len(scores['feasible'])} policies on average"
    over = ", ".join(f"{name} in {x:.0%}" for name, x in zip(scores["limits"], share, strict=True))
    never = [f"  warning            {scores['never_feasible']}"] if scores.get("never_feasible") else []
    return [f"  limits             {held}; episodes that break them: {over}", *never]


def _exact_lines(scores: dict[str, Any]) -> list[str]:
    best = scores.get("exact")
    if best is None:
        return []
    drawn = "; it draws its actions" if best["stochastic"] else ""
    return [f"  exact optimum      {best['value']:.6g} within the limits; short of it by {_spread(best['gap'])}{drawn}"]
