"""The reward-cost front of policies that see their limits: front.csv, front.png, and the front in words."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeoff.drawing import Formats, seed_words
from tradeoff.engine.files import write_atomically
from tradeoff.engine.trained import Trained
from tradeoff.evaluation.plots import EXACT, FOUND, PAGE, blank, entitle, in_print, save
from tradeoff.safe.conditioned_methods import ranges_of
from tradeoff.safe.constraints import Constraint

FILES = ("front.csv", "front.png")
Array = NDArray[np.float64]


@in_print
def draw(trained: Trained, folder: Path, formats: Formats = ("png",)) -> list[Path]:
    """Write front.csv, a row per policy and limit, and draw front.png, a row of pictures per range of limits.

    Left: value against what was measured, with the exact front where it is known. Middle: what was measured against
    the limit, with the forbidden side. Right: the multiplier against the limit.
    """
    path, ranges = folder / FILES[0], ranges_of(trained)
    write_atomically(path, table(trained.indicators["front"]).encode())
    figure = blank(PAGE, 2.1 * len(ranges))
    for pictures, (i, c) in zip(figure.subplots(len(ranges), 3, squeeze=False), enumerate(ranges), strict=True):
        _value(pictures[0], c, sweep(trained, i))
        _kept(pictures[1], c, sweep(trained, i))
        _price(pictures[2], c, sweep(trained, i))
    scores = trained.indicators
    said = f"{scores['real_environment_steps']['total']:,} environment steps, {seed_words([scores])}"
    entitle(
        figure,
        f"{scores['method']} on {trained.env}: one training, any limit",
        f"Means over fresh episodes, bars: one standard error. {said}, discount {scores['discount']:g}.",
    )
    return [path, *(save(figure, folder / f"front.{kind}") for kind in formats)]


def table(front: list[dict[str, Any]]) -> str:
    """Rows as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(front[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(front)
    return out.getvalue()


def sweep(trained: Trained, index: int) -> list[dict[str, Any]]:
    """The rows in which the limit of one range is swept, policy by policy, the other limits at their loosest."""
    front = trained.indicators["front"]
    ranges, policies = len(ranges_of(trained)), len(trained)
    count = len(front) // (policies * ranges)
    return [row for n, row in enumerate(front) if n // count % ranges == index]


def column(rows: list[dict[str, Any]], name: str) -> Array:
    """Numbers of a column."""
    return np.array([row[name] for row in rows], dtype=np.float64)


def lines(trained: Trained) -> list[str]:
    """What a person should know: how many limits were kept on average, and how far from the exact front."""
    front, ranges = trained.indicators["front"], ranges_of(trained)
    excess = np.stack([column(front, f"violation {c.cost}") for c in ranges], -1)
    worst = ", ".join(f"{c.cost} by {x:.3g}" for c, x in zip(ranges, excess.max(0), strict=True) if x > 0)
    kept = f"{int((excess <= 0).all(1).sum())} of {len(front)} kept on average"
    said = [f"  limits             {kept}{f'; at worst broken: {worst}' if worst else ''}"]
    if "exact_value" in front[0]:
        gap = np.abs(column(front, "value") - column(front, "exact_value"))
        said.append(f"  exact front        value off by {gap.mean():.3g} on average, {gap.max():.3g} at worst")
    return said


def example(trained: Trained) -> str:
    """Limits in the middle of their ranges, as words for the command line."""
    return " ".join(f"--limit '{c.cost}{c.sense}{sum(c.limits) / 2:g}'" for c in ranges_of(trained))


def _value(axes: Any, c: Constraint, rows: list[dict[str, Any]]) -> None:
    if "exact_value" in rows[0]:
        bound, best = column(rows, f"limit {c.cost}"), column(rows, "exact_value")
        order = np.argsort(bound, kind="stable")
        axes.plot(bound[order], best[order], color=EXACT, marker="o", mfc="none", lw=0.8, label="exact, at the limit")
    errors = {"xerr": column(rows, f"{c.cost}_stderr"), "yerr": column(rows, "value_stderr")}
    axes.errorbar(column(rows, c.cost), column(rows, "value"), **errors, fmt="o", ms=2.5, color=FOUND, label="found")
    _finish(axes, f"{c.cost} per episode", "value")


def _kept(axes: Any, c: Constraint, rows: list[dict[str, Any]]) -> None:
    ends = np.array(c.limits)
    errors = column(rows, f"{c.cost}_stderr")
    axes.plot(ends, ends, color=EXACT, ls="--", lw=1, label="limit")
    axes.errorbar(column(rows, f"limit {c.cost}"), column(rows, c.cost), yerr=errors, fmt="o", ms=2.5, color=FOUND)
    bottom, top = axes.get_ylim()
    axes.fill_between(ends, ends, top if c.sense == "<=" else bottom, color=EXACT, alpha=0.07, lw=0, label="forbidden")
    axes.set_ylim(bottom, top)
    _finish(axes, f"limit, {c.cost} {c.sense}", f"{c.cost} per episode")


def _price(axes: Any, c: Constraint, rows: list[dict[str, Any]]) -> None:
    axes.plot(
        column(rows, f"limit {c.cost}"), column(rows, f"price {c.cost}"), "o", ms=2.5, color=FOUND, label="multiplier"
    )
    _finish(axes, f"limit, {c.cost} {c.sense}", "value per unit")


def _finish(axes: Any, horizontal: str, vertical: str) -> None:
    axes.set(xlabel=horizontal, ylabel=vertical)
    axes.legend(frameon=False)
