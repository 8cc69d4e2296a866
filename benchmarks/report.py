"""What every benchmark prints: a table for people, then one line of JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = ("torch", "numpy", "gymnasium", "mo-gymnasium", "mujoco")
Row = dict[str, str]


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory [GiB], operating system."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
    }


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest of repeated measurements, and their number. Raises: ValueError without values."""
    if not values:
        raise ValueError("no measurements to summarise; ask for at least one repetition")
    return {"median": median(values), "min": min(values), "max": max(values), "repetitions": len(values)}


def shown(measured: dict[str, float], digits: int = 0) -> str:
    """A spread as `median (min to max)`."""
    return "{median:,.{d}f} ({min:,.{d}f} to {max:,.{d}f})".format(**measured, d=digits)


def verdict(value: float, target: float, *, at_least: bool = True) -> str:
    """`met` or `missed`, with the target."""
    met = value >= target if at_least else value <= target
    return f"{'met' if met else 'missed'}: {'at least' if at_least else 'at most'} {target:g}"


def emit(name: str, rows: Sequence[Row], results: Any, **settings: Any) -> None:
    """Print rows (all with the same keys) as a table, then everything as one line of JSON."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*rows[0], title=name)
    for row in rows:
        table.add_row(*row.values())
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    record = {
        "benchmark": name,
        "command": shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]),
        "settings": settings,
        "machine": machine(),
        "versions": versions(),
        "results": results,
    }
    print(json.dumps(record))
