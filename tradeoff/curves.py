"""Runs with one aim: their learning curves as pictures, their scores in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradeoff import limit_front
from tradeoff.drawing import Formats, seed_words
from tradeoff.engine.trained import Trained
from tradeoff.evaluation import bootstrap_interval, interquartile_mean
from tradeoff.evaluation.plots import COLUMN, ENOUGH, PAGE, blank, entitle, in_print, save
from tradeoff.safe.constraints import Constraint, Scale
from tradeoff.settings import FILE, read_settings
from tradeoff.summary import files

PICTURES = ("curve.png",)
LINE, LIMIT, AIM = "#0072B2", "#D55E00", "#CC79A7"
FEW = 8  # policies up to which each has a line of its own
WIDE = 100.0  # times its usual size from which a number needs a logarithmic axis
Array = NDArray[np.float64]


class Panel(NamedTuple):
    """One picture among those of a run."""

    title: str
    unit: str
    values: Array  # [t, P]
    limits: tuple[Constraint, ...] = ()  # on these values
    aims: tuple[float, ...] = ()  # what training keeps to, where that is another number


@in_print
def draw(trained: Trained, folder: Path, horizon: int | None, formats: Formats = ("png",)) -> list[Path]:
    """Draw curve.png over training steps: value, every channel as its limits measure it with these limits, and the
    multiplier of each limit. formats: of the pictures.

    A line per policy, or with more than eight their median; from four on the middle half of them is shaded.
    """
    config = read_settings(folder).config if (folder / FILE).is_file() else None
    found = panels(trained, getattr(config, "scale", "episodic"), getattr(config, "margin", 0.0))
    steps = np.array([float(row["steps"]) for row in trained.history])
    columns = 2 if len(found) == 4 else min(len(found), 3)
    rows = -(-len(found) // columns)
    figure = blank(COLUMN if columns == 1 else PAGE, 1.9 * rows + 0.1)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, found, strict=False):
        _draw(axes, steps, panel)
        if panel is found[0] or panel.limits:
            axes.legend(frameon=False)
        axes.set_xlabel("training steps" if len(trained) == 1 else f"training steps of all {len(trained)} policies")
    for axes in grid[len(found) :]:
        axes.remove()
    entitle(figure, f"{trained.indicators['method']} on {trained.env}", _caption(trained))
    paths = [save(figure, folder / f"curve.{kind}") for kind in formats]
    return [*paths, *limit_front.draw(trained, folder, formats)] if "front" in trained.indicators else paths


def _caption(trained: Trained) -> str:
    scores = trained.indicators
    limits = f", limits {'; '.join(scores['limits'])}" if scores.get("limits") else ""
    steps = f"{scores['real_environment_steps']['total']:,} environment steps"
    return f"Evaluations during training. {steps}, {seed_words([scores])}, discount {scores['discount']:g}{limits}."


def panels(trained: Trained, scale: Scale, margin: float) -> list[Panel]:
    """What there is to see of a run whose limits have a scale, and a share of them kept in reserve."""
    discount, returns = trained.indicators["discount"], series(trained, "returns")
    found = []
    usual = _unit("episodic" if discount == 1.0 else "discounted", discount)
    for i, name in enumerate(trained.channels):
        limits = _limits(trained, name, scale)
        if not limits:
            found.append(Panel(name, usual, returns[..., i]))
            continue
        aims = [x for c in limits for x in c.tightened(margin).limits] if margin else []
        found.append(Panel(name, _unit(scale, discount), measured(trained, i, scale), limits, tuple(aims)))
    value = Panel("value", "", series(trained, "value"))
    told = any(np.array_equal(panel.values, value.values) for panel in found)
    return ([] if told else [value]) + found + _prices(trained)


def measured(trained: Trained, channel: int, scale: Scale) -> Array:
    """A channel over the evaluations [t, P], as limits of a scale measure it."""
    rows, discount = trained.history, trained.indicators["discount"]
    returns = series(trained, "returns")[..., channel]
    if scale in ("discounted", "per-step"):
        return returns * (1.0 - discount) if scale == "per-step" else returns
    sums = series(trained, "sums")[..., channel] if rows and "sums" in rows[0] else returns
    return sums / series(trained, "length") if scale == "average" else sums


def series(trained: Trained, name: str) -> Array:
    """A number of the history over its evaluations [t, P, ...]."""
    return np.array([row[name] for row in trained.history], dtype=np.float64)


def _prices(trained: Trained) -> list[Panel]:
    """A panel per limit, for methods that put prices on theirs."""
    if not trained.history or not all("prices" in row for row in trained.history):
        return []
    paid = np.moveaxis(series(trained, "prices"), -1, 0)
    names = trained.indicators["limits"]
    return [Panel(f"multiplier of {name}", "objective per unit", x) for name, x in zip(names, paid, strict=True)]


def _limits(trained: Trained, channel: str, scale: Scale) -> tuple[Constraint, ...]:
    found = []
    for text in trained.indicators.get("limits", ()):
        name, sense, numbers = text.rsplit(" ", 2)
        if name == channel:
            limit = tuple(dict.fromkeys(float(x) for x in numbers.split("/")))
            found.append(Constraint(cost=name, limit=limit, sense=sense, scale=scale))
    return tuple(found)


def _unit(scale: Scale, discount: float) -> str:
    sums = "per episode" if discount == 1.0 else f"per episode, discounted by {discount:g}"
    mean = f"per step, weighted by {discount:g} to the step"
    return {"episodic": "per episode", "discounted": sums, "per-step": mean, "average": "per step"}[scale]


def _draw(axes: Any, steps: Array, panel: Panel) -> None:
    policies = panel.values.shape[1]
    mark = "o" if len(steps) < 3 else None
    if policies <= FEW:
        label = "the policy" if policies == 1 else None if policies >= ENOUGH else f"each of {policies} policies"
        faint = {"alpha": 0.35, "linewidth": 0.5} if policies >= ENOUGH else {}
        for i, values in enumerate(panel.values.T):
            axes.plot(steps, values, color=LINE, marker=mark, label=None if i else label, **faint)
    if policies >= ENOUGH:
        low, middle, high = np.quantile(panel.values, (0.25, 0.5, 0.75), axis=1)
        axes.fill_between(steps, low, high, color=LINE, alpha=0.2, linewidth=0, label="middle half")
        axes.plot(steps, middle, color=LINE, marker=mark, label=f"median of {policies} policies")
    _bars(axes, panel)
    known = [c.limits[0] for c in panel.limits]
    threshold = usual_size(panel.values, known)
    if threshold is not None:
        axes.set_yscale("symlog", linthresh=threshold)
    axes.set(title=panel.title, ylabel=panel.unit)


def _bars(axes: Any, panel: Panel) -> None:
    """Limits with the side that they forbid in a shade, and what training keeps to."""
    for c in panel.limits:
        for i, limit in enumerate(c.limits[:FEW]):
            label = f"limit {c.sense} {'/'.join(f'{x:g}' for x in c.limits)}" if i == 0 else None
            axes.axhline(limit, color=LIMIT, linestyle="--", linewidth=0.8, label=label)
    for i, aim in enumerate(panel.aims[:FEW]):
        label = f"trained to keep {aim:g}" if i == 0 else None
        axes.axhline(aim, color=AIM, linestyle=":", linewidth=0.8, label=label)
    bottom, top = axes.get_ylim()
    for c in panel.limits:
        if len(c.limits) == 1:
            ends = (c.limits[0], top) if c.sense == "<=" else (bottom, c.limits[0])
            axes.axhspan(*ends, color=LIMIT, alpha=0.07, linewidth=0)
    axes.set_ylim(bottom, top)


def usual_size(values: Array, limits: Sequence[float]) -> float | None:
    """The size up to which a logarithmic axis stays linear; None where no number is so large that it needs one."""
    sizes = np.abs(values[np.isfinite(values)])
    usual = max([float(np.median(sizes)) if sizes.size else 0.0, *(abs(x) for x in limits)])
    if usual == 0.0 and (sizes > 0).any():
        usual = float(sizes[sizes > 0].min())
    return usual if usual > 0 and sizes.max() > WIDE * usual else None


def summary(trained: Trained, folder: Path) -> str:
    """Value over the policies, every channel, limits, steps, files, next commands."""
    scores = trained.indicators
    steps = scores["real_environment_steps"]
    parts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in steps.items() if name != "total")
    lines = [
        f"{scores['method']} on {trained.env}, seed {scores['seed']}, discount {scores['discount']:g}, "
        f"{len(trained)} {'policies' if len(trained) > 1 else 'policy'}",
        f"  value              {_spread(scores['value'])}; deterministic: {_spread(scores['deterministic_value'])}",
        *_maximised(trained),
        *(f"  {name:<18} {_spread(x)}" for name, x in _channels(trained)),
        *_limit_lines(scores),
        *_warnings(scores),
        *_exact_lines(scores),
        *(limit_front.lines(trained) if "front" in scores else ()),
        f"  environment steps  {steps['total']:,} ({parts})",
        f"  written to         {folder}: {files(folder)}",
        f"try  tradeoff evaluate {folder}{f' {limit_front.example(trained)}' if 'front' in scores else ''}",
        f"     tradeoff plot {folder}",
    ]
    return "\n".join(lines)


def _maximised(trained: Trained) -> list[str]:
    """Which objectives the value is made of, where a method with limits says so."""
    weights = trained.indicators.get("weights")
    if weights is None:
        return []
    named = zip(weights, trained.channels, strict=False)
    return [f"  maximised          {' + '.join(name if w == 1 else f'{w:g} {name}' for w, name in named if w)}"]


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
    lines = [f"  limits             {_held(scores, scores['limits'])}"]
    if "likeliest_actions" in scores:
        lines.append(f"    deterministic      {_held(scores['likeliest_actions'], scores['limits'])}")
    prices = ", ".join(f"{name}: {_spread(x)}" for name, x in scores.get("prices", {}).items())
    return [*lines, f"  multipliers        {prices}"] if prices else lines


def _held(found: dict[str, Any], limits: list[str]) -> str:
    """How many policies keep limits on average, and in how many episodes each is broken."""
    share = np.array(found["episodes_over_the_limit"]).mean(0)
    over = ", ".join(f"{name} in {x:.0%}" for name, x in zip(limits, share, strict=True))
    held = f"held by {sum(found['feasible'])} of {len(found['feasible'])} policies on average"
    return f"{held}; episodes that break them: {over}"


def _warnings(scores: dict[str, Any]) -> list[str]:
    """What a user should know before a policy is used."""
    apart = scores.get("broken_by_one_way_of_acting", [])
    more = f"; and {len(apart) - 1} more in indicators.json" if len(apart) > 1 else ""
    found = [scores.get("never_feasible"), *scores.get("never_moved", []), f"{apart[0]}{more}" if apart else None]
    return [f"  warning            {said}" for said in found if said]


def _exact_lines(scores: dict[str, Any]) -> list[str]:
    best = scores.get("exact")
    if best is None:
        return []
    drawn = "; it draws its actions" if best["stochastic"] else ""
    return [f"  exact optimum      {best['value']:.6g} within the limits; short of it by {_spread(best['gap'])}{drawn}"]
