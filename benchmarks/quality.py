"""Summarise finished runs of one environment and method: a row per run, and the interval over seeds.

Use: `python -m benchmarks.quality runs/minecart-0 runs/minecart-1 runs/minecart-2`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import emit
from tradeoff.evaluation import bootstrap_interval, interquartile_mean


def row(folder: Path) -> dict[str, str]:
    """One run in words."""
    scores = json.loads((folder / "indicators.json").read_text())
    volume, utility, known = (scores.get(k, {}) for k in ("hypervolume", "expected_utility", "known_front"))
    return {
        "seed": str(scores["seed"]),
        "hypervolume": "{value:,.2f} [{low:,.2f}, {high:,.2f}]".format(**volume),
        "expected utility": "{value:.4f} [{low:.4f}, {high:.4f}]".format(**utility),
        "points": str(scores["cardinality"]),
        "of the known": f"{known['points_found']} of {known['points']}" if known else "",
        "real steps": f"{scores['real_environment_steps']['total']:,}",
    }


def over_seeds(folders: list[Path], name: str) -> dict[str, Any]:
    """Interquartile mean of an indicator over runs, with its 95 % bootstrap interval."""
    values = np.array([json.loads((f / "indicators.json").read_text())[name]["value"] for f in folders])
    estimate = bootstrap_interval(values, interquartile_mean, seed=0)
    return {"values": values.tolist(), "iqm": estimate.value, "low": estimate.low, "high": estimate.high}


def main(arguments: list[str]) -> int:
    """Print the table and one line of JSON."""
    folders = [Path(name) for name in arguments]
    if not folders or not all((folder / "indicators.json").is_file() for folder in folders):
        print(__doc__, file=sys.stderr)
        return 2
    points = {tuple(json.loads((f / "indicators.json").read_text())["reference_point"]) for f in folders}
    if len(points) > 1:
        print(f"hypervolumes from different reference points cannot be averaged: {sorted(points)}", file=sys.stderr)
        return 2
    result = {name: over_seeds(folders, name) for name in ("hypervolume", "expected_utility")}
    emit("runs", [row(folder) for folder in folders], result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
