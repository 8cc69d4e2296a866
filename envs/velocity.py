"""Walking within a speed limit: six MuJoCo bodies of version 4 whose cost is to be too fast, or the speed itself.

Rewards, ends and observations are gymnasium's of version 4 (rewards summed). Two families:

- `Safety<Robot>Velocity-v1` and `-v0`: cost 1 in every step faster than a threshold, at most 25 per episode of 1000
  steps. Source: Ji et al. 2023, arXiv:2310.12567 (safety-gymnasium).
- `<Robot>SpeedBudget-v0`: cost is the speed, its sum discounted by 0.99 at most a budget. Source: Zhang et al. 2020,
  arXiv:2002.06506 (FOCOPS), taken over by CVPO and CAL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tradeoff.envs.mujoco_bodies import BODIES, Array, Body, Fields, Moment
from tradeoff.envs.mujoco_env import MujocoEnv

LIMIT = 25.0  # steps per episode that may be too fast


def _in_plane(fields: Fields, masses: Array) -> Array:
    return fields["qpos"][:, :2]


class Robot(NamedTuple):
    """What a body is paid and how fast it may be."""

    body: Body  # everything but rewards and costs
    forward: float  # pay per speed along x
    alive: float  # pay per step
    effort: float  # weight of the squared actions
    thresholds: tuple[float, float]  # of v0 and v1 [length / time]
    budget: float  # of the discounted speed
    planar: tuple[bool, bool] = (False, False)  # whether v0 and v1 look at the speed in the plane, not along x


ROBOTS = {
    "HalfCheetah": Robot(BODIES["mo-halfcheetah-v4"], 1.0, 0.0, 0.1, (2.8795, 3.2096), 151.989),
    "Hopper": Robot(BODIES["mo-hopper-2d-v4"], 1.0, 1.0, 1e-3, (0.37315, 0.7402), 82.748),
    "Walker2d": Robot(BODIES["mo-walker2d-v4"], 1.0, 1.0, 1e-3, (1.7075, 2.3415), 81.886),
    "Swimmer": Robot(
        replace(BODIES["mo-swimmer-v4"], place=_in_plane), 1.0, 0.0, 1e-4, (0.04845, 0.2282), 24.516, (True, False)
    ),
    "Ant": Robot(BODIES["mo-ant-2d-v4"], 1.0, 1.0, 0.5, (2.5745, 2.6222), 103.115, (True, True)),
    "Humanoid": Robot(BODIES["mo-humanoid-v4"], 1.25, 5.0, 0.1, (2.3475, 1.4149), 20.140, (True, True)),
}


def speed(velocity: Array, planar: bool) -> Array:
    """Signed speed along x [N], or the length of the velocity in the plane; velocity [N] or [N, 2]."""
    if velocity.ndim == 1:
        return velocity
    return np.sqrt(np.square(velocity).sum(1)) if planar else np.asarray(velocity[:, 0])


def pay(robot: Robot, moment: Moment) -> Array:
    """The original's reward [N, 1]. The humanoid's effort counts what its motors got, after they were cut."""
    acted = moment.fields.get("ctrl", moment.action)
    forward = robot.forward * speed(moment.velocity, planar=False)
    total = forward + robot.alive * moment.survived - robot.effort * np.square(acted).sum(1)
    return np.asarray(total[:, None], dtype=np.float32)


def too_fast(velocity: Array, threshold: float, planar: bool) -> Array:
    """1 [N] where the speed exceeds the threshold."""
    return np.asarray(speed(velocity, planar) > threshold, dtype=np.float32)


def size_of_speed(velocity: Array) -> Array:
    """How fast [N], whatever the direction."""
    return np.abs(speed(velocity, planar=True)).astype(np.float32)


def _only(price: Callable[[Array], Array], moment: Moment) -> Array:
    return price(moment.velocity)[:, None]


def _body(robot: Robot, name: str, limit: float, price: Callable[[Array], Array]) -> Body:
    return replace(
        robot.body, rewards=partial(pay, robot), objectives=("reward",),
        costs=(name,), limits=(limit,), charges=partial(_only, price),
    )  # fmt: skip


def _safe(robot: Robot, version: int) -> Body:
    price = partial(too_fast, threshold=robot.thresholds[version], planar=robot.planar[version])
    return replace(_body(robot, "velocity", LIMIT, price), ceilings=(1.0,))


def _thrifty(robot: Robot) -> Body:
    """Forces and inertias are left out of what the humanoid sees, as CAL has it."""
    body = _body(robot, "speed", robot.budget, size_of_speed)
    return replace(body, observe=lambda body, fields: [])


LIMITED = {f"Safety{name}Velocity-v{v}": _safe(robot, v) for v in (0, 1) for name, robot in ROBOTS.items()}
LIMITED |= {f"{name}SpeedBudget-v0": _thrifty(robot) for name, robot in ROBOTS.items()}


def _make(id: str, num_envs: int, **options: Any) -> MujocoEnv:
    return MujocoEnv(id, LIMITED[id], num_envs, **options)


ENVIRONMENTS = {id: partial(_make, id) for id in LIMITED}
