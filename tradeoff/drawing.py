"""The pictures of a run, and of several runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tradeoff.evaluation import front_page, plot_front, plot_indicator
from tradeoff.morl import Front, known_front

PICTURES = ("front.png", "front.html", "indicator.png")


def draw(front: Front, folder: Path, horizon: int | None) -> list[Path]:
    """Draw front.png, front.html (with the known front beside) and indicator.png of a run; returns their paths.

    horizon: of the run's episodes where it was changed, which leaves no front to compare with.
    """
    scores = front.indicators
    truth = known_front(front.env, scores["discount"], horizon)
    exact = None if truth is None else truth.points
    known = "exact front" if truth is None else f"{truth.kind} front"
    title = f"{scores['method']} on {front.env}"
    best = scores["known_front"]["hypervolume"] if truth is not None and truth.kind == "exact" else None
    paths = [folder / name for name in PICTURES]
    plot_front(front.points, front.objectives, paths[0], exact=exact, errors=front.errors, known=known)
    front_page(
        front.points, front.objectives, paths[1],
        exact=exact, errors=front.errors, preferences=front.preferences, title=title, known=known,
    )  # fmt: skip
    steps, volumes = curve(front)
    plot_indicator(steps, volumes[None], paths[2], "hypervolume of the archive", exact=best)
    return paths


def curve(front: Front) -> tuple[np.ndarray, np.ndarray]:
    """Real environment steps [t] and the archive's hypervolume [t] over a run."""
    rows = front.history
    return np.array([float(r["steps"]) for r in rows]), np.array([float(r["hypervolume"]) for r in rows])


def blank(width: float, height: float) -> Any:
    """An empty figure of so many inches that needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
