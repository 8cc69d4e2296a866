"""The pictures of a run, and of several runs beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tradeoff.evaluation import front_page, plot_front, plot_indicator
from tradeoff.evaluation.plots import blank
from tradeoff.morl import Front, known_front

Formats = tuple[Literal["png", "pdf", "svg"], ...]
__all__ = ["PICTURES", "Formats", "blank", "curve", "draw", "run_words", "seed_words"]

PICTURES = ("front.png", "front.html", "indicator.png")


def draw(front: Front, folder: Path, horizon: int | None, formats: Formats = ("png",)) -> list[Path]:
    """Draw front, front.html (with the known front beside) and indicator of a run; returns their paths.

    horizon: of the run's episodes where it was changed, which leaves no front to compare with.
    formats: of the pictures.
    """
    scores = front.indicators
    truth = known_front(front.env, scores["discount"], horizon)
    exact = None if truth is None else truth.points
    known = "exact front" if truth is None else f"{truth.kind} front"
    title, said = f"{scores['method']} on {front.env}", run_words([front])
    best = scores["known_front"]["hypervolume"] if truth is not None and truth.kind == "exact" else None
    page = folder / "front.html"
    front_page(
        front.points, front.objectives, page,
        exact=exact, errors=front.errors, preferences=front.preferences, title=title, known=known,
    )  # fmt: skip
    steps, volumes = curve(front)
    paths = []
    for kind in formats:
        paths += [
            plot_front(
                front.points, front.objectives, folder / f"front.{kind}", exact=exact, errors=front.errors, known=known,
                title=title, caption=f"Mean returns on fresh seeds, bars: one standard error. {said}",
            ),
            plot_indicator(
                steps, volumes[None], folder / f"indicator.{kind}", "hypervolume of the archive", exact=best,
                title=title, caption=f"The archive by its own evaluations, over training and evaluation steps. {said}",
            ),
        ]  # fmt: skip
    return [*paths[:1], page, *paths[1:]]


def run_words(fronts: Sequence[Front]) -> str:
    """Steps, seeds, discount and reference point of runs with one environment, for a caption."""
    scores = [front.indicators for front in fronts]
    steps = sorted({x["real_environment_steps"]["total"] for x in scores})
    reference = ", ".join(f"{x:g}" for x in scores[0]["reference_point"])
    return (
        f"{' to '.join(f'{n:,}' for n in dict.fromkeys((steps[0], steps[-1])))} environment steps, "
        f"{seed_words(scores)}, discount {scores[0]['discount']:g}, reference point ({reference})."
    )


def seed_words(scores: Sequence[dict[str, Any]]) -> str:
    """The seeds of runs, each once."""
    seeds = sorted({x["seed"] for x in scores})
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def curve(front: Front) -> tuple[np.ndarray, np.ndarray]:
    """Real environment steps [t] and the archive's hypervolume [t] over a run."""
    rows = front.history
    return np.array([float(r["steps"]) for r in rows]), np.array([float(r["hypervolume"]) for r in rows])
