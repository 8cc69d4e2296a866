"""The picture of a safety report: what episodes cost, beside the limit and the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradeoff.evaluation.plots import COLUMN, blank, entitle, in_print, save
from tradeoff.safe.report import Bound, CostReport

if TYPE_CHECKING:
    from tradeoff.safety import Finding

MOST_BARS = 12  # different costs up to which each has a bar of its own
MOST = 12  # panels; what lies beyond is in safety.json alone
BARS, LIMIT = "#56B4E9", "#D55E00"
LINES = {"mean": ("#0072B2", "-"), "quantile": ("#009E73", "-."), "cvar": ("black", ":")}


@in_print
def draw(findings: Sequence[Finding], paths: Sequence[Path], title: str, caption: str) -> None:
    """A histogram per policy, way of choosing actions and limit, at most MOST of them, in files of several kinds."""
    shown = findings[:MOST]
    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    figure = blank(COLUMN * columns, 3.0 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, finding in zip(grid, shown, strict=False):
        _panel(axes, finding)
    for axes in grid[len(shown) :]:
        axes.remove()
    rest = f" (the first {MOST} of {len(findings)} pictures)" if len(findings) > MOST else ""
    entitle(figure, title, caption + rest)
    for path in paths:
        save(figure, path)


def window(report: CostReport, costs: NDArray[np.float64]) -> tuple[float, float]:
    """Costs, limit, and those bounds that lie no further off than twice the spread (or half the size) of both."""
    seen = [*costs.tolist(), report.limit.limits[0]]
    low, high = min(seen), max(seen)
    spread = max(high - low, 0.25 * max(abs(low), abs(high)), 1e-9)
    near = [b.bound for b in _lines(report) if low - 2 * spread <= b.bound <= high + 2 * spread]
    low, high = min([low, *near]), max([high, *near])
    return low - 0.15 * spread, high + 0.15 * spread


def _lines(report: CostReport) -> list[Bound]:
    return [b for b in report.bounds if b.quantity in LINES and isfinite(b.bound)]


def _panel(axes: Any, finding: Finding) -> None:
    report, costs = finding.report, finding.costs
    limit, (low, high) = report.limit, window(report, costs)
    _histogram(axes, costs, high - low)
    axes.axvline(limit.limits[0], color=LIMIT, linestyle="--", label=f"limit {limit.sense} {limit.limits[0]:g}")
    for bound in _lines(report):
        colour, style = LINES[bound.quantity]
        away = "" if low <= bound.bound <= high else " (beyond the picture)"
        label = f"{_name(bound, finding)} {bound.bound:.4g}{away}"
        axes.axvline(bound.bound, color=colour, linestyle=style, label=label)
    share = report["share"]
    axes.plot([], [], " ", label=f"break it: {share.observed:.3g} of these, at most {share.bound:.3g} of all episodes")
    axes.set(
        xlim=(low, high), xlabel=f"{limit.cost} per episode", ylabel="share of episodes",
        title=f"policy {finding.policy}, {finding.actions} actions, {100 * report.confidence:g} % confidence",
    )  # fmt: skip
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(-0.1, -0.22))


def _name(bound: Bound, finding: Finding) -> str:
    side = "at most" if finding.report.limit.sense == "<=" else "at least"
    worst = f"worst {100 * finding.share:g} %"
    what = {"mean": "mean", "quantile": f"all but the {worst}", "cvar": f"mean of the {worst}"}
    return f"{what[bound.quantity]} {side}"


def _histogram(axes: Any, costs: NDArray[np.float64], width: float) -> None:
    """Shares of episodes: a bar at each value where there are few, else bins of one width over their whole range.

    width: of the picture; a bar is at most a fortieth of it, so that a single value is not drawn as a range.
    """
    share = np.full(len(costs), 1 / len(costs))
    values = np.unique(costs)
    if len(values) <= MOST_BARS:
        gap = np.diff(values).min() if len(values) > 1 else width
        heights = [share[costs == value].sum() for value in values]
        axes.bar(values, heights, width=min(0.8 * gap, width / 40), color=BARS, label="episodes")
        return
    axes.hist(costs, bins=bin_edges(costs), color=BARS, weights=share, label="episodes")


def bin_edges(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of ten to forty bins of one width; of a whole number of units where all costs are whole numbers.

    Source: Freedman and Diaconis 1981, Z. Wahrscheinlichkeitstheorie 57 (the width between the two bounds).
    """
    low, high = float(costs.min()), float(costs.max())
    first, third = np.quantile(costs, (0.25, 0.75))
    width = max(2.0 * (third - first) * len(costs) ** (-1 / 3), (high - low) / 40)
    width = min(width, (high - low) / 10)
    if (costs == np.round(costs)).all():
        width, low, high = max(1.0, np.ceil(width)), low - 0.5, high + 0.5
    return np.asarray(low + width * np.arange(np.ceil((high - low) / width - 1e-9) + 1))
