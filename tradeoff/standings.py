"""What finished runs within limits are worth: a row per run, a row per task and method, files and pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tradeoff.benchmark import Job
from tradeoff.engine.files import write_atomically
from tradeoff.engine.trained import Trained
from tradeoff.evaluation import bootstrap_interval, interquartile_mean
from tradeoff.evaluation.safety import cost_rate, curve, feasible_only
from tradeoff.registry import spec_of
from tradeoff.safe.constraints import Constraints, bind

Array = NDArray[np.float64]
Row = dict[str, Any]
FILES = ("runs.csv", "standings.csv", "standings.json")


def bound_of(job: Job) -> Constraints:
    """The limits of a job, bound to its environment."""
    spec = spec_of(job.config.env)
    return bind(job.config.constraints(spec), spec, discount=job.config.discount_on(spec))


def excess(bound: Constraints, returns: Any) -> Array:
    """By how much the worst limit is exceeded [n], of mean returns [n, m + k]."""
    over = bound.violation(torch.as_tensor(np.asarray(returns), dtype=torch.float64))
    return np.asarray(over.amax(1).numpy())


def measure(job: Job) -> list[Row]:
    """A row per policy of a finished run."""
    trained, bound = Trained.load(job.folder), bound_of(job)
    seconds = (job.folder / "policies.pt").stat().st_mtime - (job.folder / "config.json").stat().st_mtime
    scores = trained.indicators
    of_the_run = {
        "env": trained.env, "method": scores["method"], "seed": scores["seed"],
        "real_steps": scores["real_environment_steps"]["total"], "seconds": round(seconds, 1),
    }  # fmt: skip
    return [of_the_run | {"policy": p} | _policy(trained, bound, p) for p in range(len(trained))]


def _policy(trained: Trained, bound: Constraints, p: int) -> Row:
    history = np.array([row["returns"][p] for row in trained.history], dtype=np.float64)  # [T, m + k]
    steps = [row["steps"] / len(trained) for row in trained.history]
    earned, lengths = ([row[name][p] for row in trained.history] for name in ("value", "length"))
    priced, found = bound.index.tolist(), {}
    played = (("", "value", trained.returns), ("deterministic_", "deterministic_value", trained.deterministic_returns))
    for kind, value, returns in played:
        mean = returns[p].mean(0, keepdims=True)
        found[f"{kind}return"] = float(trained.indicators[value][p])
        found[f"{kind}cost"] = float(mean[0, priced].max())
        found[f"{kind}excess"] = float(excess(bound, mean)[0])
    found["cost_rate"] = cost_rate(history[:, priced].max(1), lengths)
    return found | curve(steps, earned, excess(bound, history))._asdict()


def summarise(rows: Sequence[Row]) -> list[Row]:
    """A row per task and method, in the order of the rows: interquartile means over runs, with bootstrap intervals."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["env"], row["method"]), []).append(row)
    return [_summary(env, method, group) for (env, method), group in groups.items()]


def _summary(env: str, method: str, group: list[Row]) -> Row:
    column = {name: np.array([row[name] for row in group]) for name in group[0] if name not in ("env", "method")}
    kept = feasible_only(column["return"], column["excess"])
    found: Row = {"env": env, "method": method, "runs": len(group), "feasible": int((column["excess"] <= 0).sum())}
    for name in ("return", "cost", "deterministic_return", "deterministic_cost"):
        estimate = bootstrap_interval(column[name], interquartile_mean, seed=0)
        found |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    found["feasible_return"] = interquartile_mean(kept[~np.isnan(kept)]) if (~np.isnan(kept)).any() else math.nan
    for name in (
        "deterministic_excess", "cost_rate", "strong_violation", "oscillation", "feasible_share", "average_return",
        "average_excess",
    ):  # fmt: skip
        found[name] = interquartile_mean(column[name])
    for name in ("first_feasible", "lasting_feasible", "seconds", "real_steps"):
        found[name] = float(np.median(column[name]))
    return found


def write(rows: Sequence[Row], standings: Sequence[Row], out: Path) -> list[Path]:
    """runs.csv, standings.csv and standings.json; infinities and NaN are empty in CSV and null in JSON."""
    paths = [out / name for name in FILES]
    for path, table in zip(paths, (rows, standings), strict=False):
        write_atomically(path, _csv(table).encode())
    clean = [{k: None if _odd(v) else v for k, v in row.items()} for row in standings]
    write_atomically(paths[2], (json.dumps(clean, indent=2) + "\n").encode())
    return paths


def _csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if _odd(v) else v for k, v in row.items()} for row in rows)
    return out.getvalue()


def _odd(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def table(standings: Sequence[Row]) -> Any:
    """The standings for a terminal."""
    from rich.table import Column, Table

    columns = (
        "task", "method", "feasible", "return", "cost", "return of feasible runs", "likeliest: return, cost",
        "average iterate: return, excess", "cost rate", "strong violation", "oscillation", "first, lasting feasible",
        "s per run",
    )  # fmt: skip
    names = (Column(name, no_wrap=name == "task") for name in columns)  # what is cut off there cannot be told apart
    shown = Table(*names, title="interquartile means over runs [95 % bootstrap]")
    for row in standings:
        shown.add_row(
            row["env"], row["method"], f"{row['feasible']} of {row['runs']}",
            _interval(row, "return"), _interval(row, "cost"), _number(row["feasible_return"]),
            f"{_number(row['deterministic_return'])}, {_number(row['deterministic_cost'])}",
            f"{_number(row['average_return'])}, {_number(row['average_excess'])}", f"{row['cost_rate']:.4f}",
            _number(row["strong_violation"]), _number(row["oscillation"]),
            f"{_steps(row['first_feasible'])}, {_steps(row['lasting_feasible'])}", f"{row['seconds']:.0f}",
        )  # fmt: skip
    return shown


def _interval(row: Row, name: str) -> str:
    return f"{_number(row[name])} [{_number(row[f'{name}_low'])}, {_number(row[f'{name}_high'])}]"


def _number(x: float) -> str:
    return "none" if math.isnan(x) else f"{x:.4g}" if abs(x) < 1000 else f"{x:.0f}"


def _steps(x: float) -> str:
    return "never" if math.isinf(x) else f"{x / 1e3:.0f}k"
