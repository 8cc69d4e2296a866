"""Cost against size: policies P in 1..128, objectives m in 2..9, environments N in 1..4096; with peak memory.

P: samples per second of training on minecart-v0, 4 environments and 128 steps per policy and iteration, 10 epochs of 4
minibatches. m: the same with 8 policies on a random finite problem of 64 states. N: environment steps per second under
random actions. One torch thread everywhere; every point is a process of its own and states its own peak memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.report import Row, emit
from benchmarks.turns import ROOT, module

FIGURE = Path("docs/figures/scaling.png")


class Curve(NamedTuple):
    """One line of the plot."""

    axis: str  # as scaling_point knows it
    id: str
    sizes: Sequence[int]
    label: str  # of the horizontal axis
    rate: str  # what is counted per second


CURVES = (
    Curve("policies", "minecart-v0", [2**i for i in range(8)], "policies P", "samples"),
    Curve("channels", "random finite problem", range(2, 10), "objectives m (8 policies)", "samples"),
    Curve("environments", "deep-sea-treasure-v0", [4**i for i in range(7)], "environments N", "steps"),
    Curve("environments", "minecart-v0", [4**i for i in range(7)], "environments N", "steps"),
)


def measure(curve: Curve, size: int, seconds: float) -> dict[str, float]:
    """One point: size, rate [1/s], peak_mb, own_mb (above what the imports took)."""
    command = module(sys.executable, "scaling_point", curve.axis, size, curve.id, seconds)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    point: dict[str, float] = json.loads(done.stdout)
    return point


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Rates above, peak memory below, a column per axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    axes = list(dict.fromkeys(r["axis"] for r in results))
    figure, panels = pyplot.subplots(2, len(axes), figsize=(4 * len(axes), 6), squeeze=False, layout="constrained")
    for result in results:
        column = panels[:, axes.index(result["axis"])]
        sizes = [p["size"] for p in result["points"]]
        for panel, key in zip(column, ("rate", "peak_mb"), strict=True):
            panel.plot(sizes, [p[key] for p in result["points"]], marker="o", markersize=3, label=result["id"])
            panel.set_xlabel(result["label"])
            if result["axis"] != "channels":
                panel.set_xscale("log", base=2)
        column[0].set_ylabel(f"{result['rate']} per second")
        column[0].set_yscale("log")
        column[1].set_ylabel("peak memory of the process [MB]")
        column[1].set_ylim(bottom=0)
        column[0].legend(fontsize="small", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def rows(result: dict[str, Any]) -> list[Row]:
    """Lines of the table for one curve."""
    return [
        {
            "axis": result["label"],
            "environment": result["id"],
            "size": str(point["size"]),
            "per second": f"{point['rate']:,.0f} {result['rate']}",
            "peak memory, MB": f"{point['peak_mb']:,.0f}",
            "above imports, MB": f"{point['own_mb']:,.0f}",
        }
        for point in result["points"]
    ]


def main(quick: bool = False, seconds: float = 3.0, figure: Path = FIGURE) -> None:
    """Measure every point and draw them.

    Args:
        quick: smallest, middle and largest size of each curve, a tenth of a second each.
        seconds: least time that is measured at each point.
        figure: file to draw into.
    """
    results = []
    for curve in CURVES:
        ends = [curve.sizes[0], curve.sizes[len(curve.sizes) // 2], curve.sizes[-1]]
        points = [measure(curve, size, 0.1 if quick else seconds) for size in (ends if quick else curve.sizes)]
        results.append(curve._asdict() | {"sizes": [p["size"] for p in points], "points": points})
    draw(results, figure)
    emit("cost against size", [row for r in results for row in rows(r)], results, quick=quick, figure=str(figure))


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
