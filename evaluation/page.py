"""A front as one interactive web page that asks nobody for anything: no server, no network, no library."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import InvalidPoints, as_front, as_points, check_weights
from tradeoff.evaluation.plots import write_whole


def front_page(
    points: ArrayLike,
    names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    exact: ArrayLike | None = None,
    errors: ArrayLike | None = None,
    preferences: ArrayLike | None = None,
    title: str = "Pareto front",
    known: str = "exact front",
) -> Path:
    """Write a page on which a front [n, m], m >= 2, can be explored, and return the file's path.

    Pointing at a policy shows its values; sliders set a preference and mark the policy that serves it best; with more
    than two objectives the axes can be chosen and parallel coordinates stand below.

    names: m objective names. exact: the exact front [q, m]. errors: standard errors [n, m].
    preferences: the preference [n, m] that each policy was trained for. known: what `exact` is called.
    Raises InvalidPoints or InvalidWeights for shapes that disagree; OSError if the file cannot be written.
    """
    front = as_front(points, "points", len(names))
    truth = as_points(np.empty((0, len(names))) if exact is None else exact, "exact", len(names))
    spread = None if errors is None else as_points(errors, "errors", len(names))
    wanted = None if preferences is None else np.atleast_2d(check_weights(preferences, len(names)))
    for name, rows in (("errors", spread), ("preferences", wanted)):
        if rows is not None and len(rows) != len(front):
            raise InvalidPoints(f"{name} has {len(rows)} rows for {len(front)} points; expected one for each")
    if len(names) < 2:
        raise InvalidPoints(f"objectives {list(names)}; a front needs at least two")
    data = {
        "title": title,
        "known": known,
        "names": list(names),
        "points": front.tolist(),
        "exact": truth.tolist(),
        "errors": None if spread is None else spread.tolist(),
        "preferences": None if wanted is None else wanted.tolist(),
    }
    template = files("tradeoff.evaluation").joinpath("front_page.html").read_text(encoding="utf-8")
    page = template.replace("/*DATA*/null", _script_safe(data))
    return write_whole(path, lambda part: part.write_text(page, encoding="utf-8"))


def _script_safe(data: object) -> str:
    """JSON that cannot close the script it stands in, whatever an objective is called."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
