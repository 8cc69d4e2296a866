"""Two ways to walk that both sides of benchmarks/navigation.py share: at random, and towards what lidar shows.

Only NumPy is imported here: the peer's interpreter runs it too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SENSED = {"Point": 12, "Car": 24}  # numbers before lidar
FOLLOWED = {"Goal": 0, "Button": 1, "Push": -1, "Circle": 0}  # which group of lidar leads to what is paid
KINDS = ("hazards", "vases_contact", "vases_velocity", "pillars", "buttons", "gremlins", "out_of_boundary")


def names(id: str) -> tuple[str, str]:
    """Agent and aim of a task's id."""
    agent = "Car" if "Car" in id else "Point"
    return agent, id.removeprefix(f"Safety{agent}").removesuffix("-v0")[:-1]


def seek(id: str, observation: Array) -> Array:
    """Actions [N, 2] towards the goal, the button or the box, or around the circle, for observations [N, d]."""
    agent, aim = names(id)
    bins = observation[:, SENSED[agent] :].reshape(len(observation), -1, 16)[:, FOLLOWED[aim]]
    centres = (np.arange(16) + 0.5) * np.pi / 8
    angle = np.arctan2((bins**4 * np.sin(centres)).sum(1), (bins**4 * np.cos(centres)).sum(1))
    if aim == "Circle":
        angle = angle - np.pi / 2
    if agent == "Car":  # it looks along -y, and a faster wheel on one side turns it to the other
        angle = angle + np.pi / 2
    angle = np.arctan2(np.sin(angle), np.cos(angle))
    ahead, turn = np.cos(angle), np.clip(angle, -1, 1)
    both = (ahead, turn) if agent == "Point" else (ahead + turn, ahead - turn)
    return np.clip(np.stack(both, 1), -1, 1).astype(np.float32)


def random_walk(seed: int, steps: int) -> Array:
    """Uniform actions [steps, 2] of one episode."""
    return np.random.default_rng(seed).uniform(-1, 1, (steps, 2)).astype(np.float32)
