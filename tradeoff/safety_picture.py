"""The picture of a safety report: what episodes cost, beside the limit and the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradeoff.drawing import blank
from tradeoff.evaluation.plots import write_whole
from tradeoff.safe.report import Bound, CostReport

if TYPE_CHECKING:
    from tradeoff.safety import Finding

MOST = 12  # panels; what lies beyond is in safety.json alone
BARS, LIMIT = "#56B4E9", "#D55E00"
LINES = {"mean": ("#0072B2", "-"), "quantile": ("#009E73", "-."), "cvar": ("black", ":")}


def draw(findings: Sequence[Finding], path: Path, title: str) -> Path:
    """A histogram per policy, way of choosing actions and limit, at most MOST of them. Returns the file's path."""
    shown = findings[:MOST]
    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    figure = blank(6.8 * columns, 3.9 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, finding in zip(grid, shown, strict=False):
        _panel(axes, finding)
    for axes in grid[len(shown) :]:
        axes.remove()
    rest = f" (the first {MOST} of {len(findings)} pictures)" if len(findings) > MOST else ""
    figure.suptitle(title + rest)
    return write_whole(path, partial(figure.savefig, dpi=130))


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
    axes.hist(costs, bins=_bins(costs), color=BARS, weights=np.full(len(costs), 1 / len(costs)), label="episodes")
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
    axes.title.set_fontsize(10)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def _name(bound: Bound, finding: Finding) -> str:
    side = "at most" if finding.report.limit.sense == "<=" else "at least"
    worst = f"worst {100 * finding.share:g} %"
    what = {"mean": "mean", "quantile": f"all but the {worst}", "cvar": f"mean of the {worst}"}
    return f"{what[bound.quantity]} {side}"


def _bins(costs: NDArray[np.float64]) -> Any:
    """A bar per value where there are few, else forty."""
    values = np.unique(costs)
    if len(values) > 40:
        return 40
    gap = np.diff(values).min() if len(values) > 1 else 1.0
    count = (values[-1] - values[0]) / gap
    return 40 if count > 60 else np.linspace(values[0] - gap / 2, values[-1] + gap / 2, round(count) + 2)
