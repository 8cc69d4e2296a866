"""A diagnosis written, drawn and put into a table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeoff.catalogue import plain
from tradeoff.drawing import Formats, blank
from tradeoff.engine.files import write_atomically
from tradeoff.errors import as_disk_full
from tradeoff.evaluation.plots import PAGE, entitle, in_print, save
from tradeoff.verdicts import shown

if TYPE_CHECKING:
    from rich.table import Table

FAINTEST = 1e-2  # signal over noise that is drawn


def jsonable(value: Any) -> Any:
    """Numbers that are not finite as None, which JSON has a word for; everything else as it is."""
    if isinstance(value, dict):
        return {str(key): jsonable(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(found: dict[str, Any], folder: Path, formats: Formats = ("png",)) -> list[Path]:
    """diagnosis.json and diagnosis.png (or other formats) in the run's folder; returns their paths."""
    paths = [folder / f"diagnosis.{kind}" for kind in ("json", *formats)]
    with as_disk_full(folder):
        write_atomically(paths[0], (json.dumps(jsonable(found), indent=2) + "\n").encode())
        draw(found, paths[1:])
    return paths


@in_print
def draw(found: dict[str, Any], paths: Sequence[Path]) -> None:
    """A row per policy: cosines between the channels' gradients, and signal over noise against the batch."""
    rows = found["policies"]
    figure = blank(PAGE, 2.6 * len(rows))
    for (left, right), policy in zip(figure.subplots(len(rows), 2, squeeze=False), rows, strict=True):
        _conflicts(left, policy)
        _curves(right, policy)
    entitle(figure, f"{found['method']} on {found['env']}: gradients", _caption(found))
    for path in paths:
        save(figure, path)


def _caption(found: dict[str, Any]) -> str:
    rows = found["rows"]
    return (
        f"Polic{'ies' if len(rows) > 1 else 'y'} {', '.join(map(str, rows))}, a row each, after {found['trained']:,} "
        f"environment steps of training with seed {found['run_seed']}: {found['episodes']} fresh episodes per policy, "
        f"seed {found['seed']}, discount {found['discount']:g}. Shaded: 95 % intervals."
    )


def _conflicts(axes: Any, policy: dict[str, Any]) -> None:
    names = list(policy["channels"])
    values = np.array([[policy["cosines"][i][j].value for j in names] for i in names])
    axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu")
    small = len(names) <= 8
    for i, j in np.ndindex(values.shape) if small else ():
        known = policy["cosines"][names[i]][names[j]]
        text = f"{known.value:.2f}" if known.high - known.low < 1 else "?"
        colour = "white" if abs(known.value) > 0.6 else "black"
        axes.text(j, i, "" if i == j else text, ha="center", va="center", color=colour)
    if small:
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.set_yticks(range(len(names)), names)
    axes.set_title("cosines of gradients (? = not known)")


def _curves(axes: Any, policy: dict[str, Any]) -> None:
    lines = {"aim": policy["aim"], **(policy["channels"] if len(policy["channels"]) <= 4 else {})}
    for name, strength in lines.items():
        batches = list(strength["curve"])
        value, low, high = (
            np.array([getattr(x, part) for x in strength["curve"].values()]).clip(FAINTEST)
            for part in ("value", "low", "high")
        )
        (line,) = axes.plot(batches, value, label=name, linewidth=2 if name == "aim" else 1)
        if name == "aim":
            axes.fill_between(batches, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.axvline(policy["batch"], color="0.4", linestyle="--", label="the run's batch")
    axes.axhline(1.0, color="0.7", linewidth=0.8)
    axes.set(xscale="log", yscale="log", ylim=(FAINTEST, None), xlabel="episodes per step", ylabel="signal / noise")
    axes.legend(frameon=False)


def table(found: dict[str, Any]) -> Table:
    """For a person: a row per policy and channel."""
    from rich.table import Column, Table

    title = f"{found['env']}: gradients of {found['episodes']} fresh episodes per policy, with 95 % intervals"
    heads = plain("channel", "weight", "signal / noise at the run's batch", "critical batch [episodes]", "variance")
    made = Table("policy", *map(Column, heads), title=title)
    for row, policy in zip(found["rows"], found["policies"], strict=True):
        for name, strength in {"aim": policy["aim"], **policy["channels"]}.items():
            weight = "" if name == "aim" else f"{policy['weights'][name]:.3g}"
            cells = [shown(strength[key]) for key in ("signal_to_noise", "critical_batch", "variance")]
            made.add_row(str(row), name, weight, *cells)
    return made


def words(found: dict[str, Any]) -> str:
    """The verdicts, policy by policy."""
    rows = zip(found["rows"], found["policies"], strict=True)
    return "\n".join(line for row, policy in rows for line in (f"policy {row}", *(f"  {x}" for x in policy["verdict"])))
