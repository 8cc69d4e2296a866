"""Where rules on the objectives' gradients end on deep sea treasure: four policies each beside the exact front.

The proximal kind of every rule, default settings, one seed for the four starts, 200 fresh episodes each. The measure is
how much expected discounted return a policy forgoes: the largest amount by which some mixture of the exact front beats
it in both objectives at once. Writes docs/figures/gradient_rules.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Row, emit
from benchmarks.turns import ROOT

FIGURE = ROOT / "docs" / "figures" / "gradient_rules.png"
ENV, DISCOUNT, POLICIES, SEED = "deep-sea-treasure-v0", 0.99, 4, 11
RULES = ("mgda", "pcgrad", "cagrad", "nash-mtl", "epo", "dynamic-weights")
MARKERS = "osD^vP"
REFERENCE = (0.0, -25.0)  # of the ray, whose direction is (1, 1)

Array = NDArray[np.float64]


def forgone(points: Array, front: Array) -> Array:
    """How far [n] each point of two objectives lies below the upper hull of a front, along the diagonal (1, 1).

    A point q on the edge from a to b has q_2 = a_2 + slope (q_1 - a_1); the least rise s over all edges' lines with
    p_2 + s = a_2 + slope (p_1 + s - a_1) is the hull's, since the hull is concave. Ends of the front count as walls.
    """
    hull = upper_hull(front)
    a, b = hull[:-1], hull[1:]
    slope = (b[:, 1] - a[:, 1]) / (b[:, 0] - a[:, 0])
    rises = (a[:, 1] + slope * (points[:, None, 0] - a[:, 0]) - points[:, None, 1]) / (1 - slope)
    walls = np.stack([hull[-1, 0] - points[:, 0], hull[0, 1] - points[:, 1]], axis=1)
    return np.concatenate([rises, walls], axis=1).min(axis=1)


def upper_hull(front: Array) -> Array:
    """The corners [h, 2] that some weights prefer, from the left to the right."""
    hull: list[Array] = []
    for p in front[np.lexsort((front[:, 1], front[:, 0]))]:
        while len(hull) > 1 and np.linalg.det([hull[-1] - hull[-2], p - hull[-1]]) >= 0:
            hull.pop()
        hull.append(p)
    return np.array(hull)


def trained(rule: str, steps: int) -> tuple[Array, int]:
    """Returns [P, 2] on fresh episodes, and the real steps of all policies together."""
    import torch

    from tradeoff.morl.rules import EPO
    from tradeoff.registry import recommended

    torch.set_num_threads(1)
    extra: dict[str, Any] = {"rule": EPO(reference=REFERENCE)} if rule == "epo" else {}
    config = recommended(
        f"{rule}-ppo", ENV, policies=POLICIES, steps=steps, seed=SEED, final_episodes=200, discount=DISCOUNT, **extra
    )
    found = config.run()
    return found.returns[:, :, :2].mean(axis=1), found.indicators["real_environment_steps"]["total"]


def draw(ends: dict[str, Array], front: Array, path: Path) -> None:
    """The exact front, its hull, the ray, and where each rule's policies ended."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(*front.T, marker="*", s=60, color="black", label="exact front", zorder=3)
    axes.plot(*upper_hull(front).T, color="black", linewidth=0.8, linestyle="--", label="mixtures of it")
    axes.axline(REFERENCE, slope=1, color="grey", linewidth=0.8, linestyle=":", label="the ray of epo")
    for (rule, points), marker in zip(ends.items(), MARKERS, strict=True):
        axes.scatter(*points.T, marker=marker, s=45, alpha=0.75, label=f"{rule}-ppo", zorder=4)
    axes.set(xlabel="treasure (discounted)", ylabel="time (discounted)", xlim=(-1, 20), ylim=(-22, 0))
    axes.legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(quick: bool = False, steps: int = 200_000, figure: Path = FIGURE) -> None:
    """Run the comparison.

    Args:
        quick: a hundredth of the steps; shows that it works, measures nothing.
        steps: environment steps of all four policies together.
        figure: where the picture goes.
    """
    from tradeoff.morl.truth import known_front

    known = known_front(ENV, DISCOUNT)
    assert known is not None
    rows: list[Row] = []
    ends: dict[str, Array] = {}
    for rule in RULES:
        ends[rule], real = trained(rule, steps // 100 if quick else steps)
        places = ", ".join("({:.1f}, {:.1f})".format(*p) for p in ends[rule])
        lost = ", ".join(f"{x + 0.0:.2f}" for x in forgone(ends[rule], known.points).round(2))
        rows.append({"method": f"{rule}-ppo", "treasure, time": places, "forgone": lost, "real steps": f"{real:,}"})
    draw(ends, known.points, figure)
    results = {rule: points.tolist() for rule, points in ends.items()}
    emit("rules on gradients on deep sea treasure", rows, results, steps=steps, policies=POLICIES, seed=SEED)


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
