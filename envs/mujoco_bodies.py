"""MuJoCo bodies of mo-gymnasium (v5): what differs between them, as data and small functions of N bodies at once.

Sums and products are written in the originals' order and precision, so that results agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Fields = dict[str, Array]  # name of an MjData field -> [N, ...]


@dataclass(frozen=True)
class Body:
    """One kind of body. `fields` are read from every MjData after each step."""

    model: str  # file among gymnasium's models
    objectives: tuple[str, ...]
    frame_skip: int
    noise: float  # half-width of the uniform noise on first positions
    rewards: Callable[[Moment], Array]  # -> [N, m] float32
    fields: tuple[str, ...] = ("qpos", "qvel")
    normal_velocities: bool = False  # first velocities are normal instead of uniform
    skip: int = 1  # leading positions that are not observed
    velocity_limit: float | None = None  # observed velocities are cut here
    observe: Callable[[Body, Fields], list[Array]] = field(default=lambda body, fields: [])  # further numbers [N, ...]
    place: Callable[[Fields, Array], Array] = field(default=lambda fields, masses: fields["qpos"][:, 0])  # x [N] or xy
    healthy: Callable[[Fields], Array] | None = None  # [N] bool; None: episodes never end
    contacts: bool = False  # contact forces are read, which costs another pass


@dataclass(frozen=True)
class Moment:
    """What rewards may depend on."""

    velocity: Array  # [N] along x, or [N, 2] along x and y
    action: Array  # [N, a] float32
    height: Array  # [N] above the first height of the model
    survived: Array  # [N] 1.0 where healthy
    fields: Fields


def _stack(*columns: Array) -> Array:
    return np.stack(columns, 1).astype(np.float32)


def _effort(moment: Moment, weight: float) -> Array:
    """The control reward as the originals have it: scaled by a weight and divided by it again, in float32."""
    cost = np.float32(weight) * np.sum(np.square(moment.action), axis=1)
    return -cost


def _energy(moment: Moment, weight: float) -> Array:
    return _effort(moment, weight) / np.float32(weight)


def run_and_save(moment: Moment, weight: float, alive: float = 0.0) -> Array:
    """Speed along x, and minus the sum of squared actions; `alive` is added to both while healthy."""
    velocity = moment.velocity if moment.velocity.ndim == 1 else moment.velocity[:, 0]
    both = _stack(velocity, _energy(moment, weight))
    return both + (alive * moment.survived).astype(np.float32)[:, None] if alive else both


def hop(moment: Moment, effort: bool) -> Array:
    """Speed, ten times the height gained, and the effort: apart, or taken off both."""
    speed, height = moment.velocity, 10 * moment.height
    alive = moment.survived.astype(np.float32)[:, None]
    if effort:
        return _stack(speed, height, _energy(moment, 1e-3)) + alive
    return _stack(speed, height) + _effort(moment, 1e-3)[:, None] + alive


def crawl(moment: Moment, effort: bool) -> Array:
    """Ant: speed along x and y, and the effort (apart, or taken off both); contacts are taken off all."""
    speed = moment.velocity.T
    vector = _stack(*speed, _energy(moment, 0.5)) if effort else _stack(*speed) + _effort(moment, 0.5)[:, None]
    vector = vector + moment.survived.astype(np.float32)[:, None]
    forces = np.clip(moment.fields["cfrc_ext"], -1.0, 1.0)
    contact = 5e-4 * np.sum(np.square(forces).reshape(len(forces), -1), axis=1)
    return (vector.astype(np.float64) - contact[:, None]).astype(np.float32)


def walk_upright(moment: Moment) -> Array:
    """Humanoid: speed and effort, 5 while upright on both, contacts taken off both."""
    controls = np.sum(np.square(moment.fields["ctrl"]), axis=1)
    vector = _stack(moment.velocity[:, 0], -(0.1 * controls) / 0.1)
    vector = vector + (5.0 * moment.survived).astype(np.float32)[:, None]
    forces = np.square(moment.fields["cfrc_ext"]).reshape(len(vector), -1)
    contact = np.clip(5e-7 * np.sum(forces, axis=1), -np.inf, 10.0)
    return (vector.astype(np.float64) - contact[:, None]).astype(np.float32)


def _hopper_healthy(fields: Fields) -> Array:
    position, velocity = fields["qpos"], fields["qvel"]
    state = np.concatenate([position[:, 2:], velocity], 1)
    return (np.abs(state) < 100.0).all(1) & (position[:, 1] > 0.7) & (np.abs(position[:, 2]) < 0.2)


def _walker_healthy(fields: Fields) -> Array:
    height, angle = fields["qpos"][:, 1], fields["qpos"][:, 2]
    return np.asarray((height > 0.8) & (height < 2.0) & (angle > -1.0) & (angle < 1.0))


def _ant_healthy(fields: Fields) -> Array:
    finite = np.isfinite(fields["qpos"]).all(1) & np.isfinite(fields["qvel"]).all(1)
    return np.asarray(finite & (fields["qpos"][:, 2] >= 0.2) & (fields["qpos"][:, 2] <= 1.0))


def _humanoid_healthy(fields: Fields) -> Array:
    return np.asarray((fields["qpos"][:, 2] > 1.0) & (fields["qpos"][:, 2] < 2.0))


def _ant_observes(body: Body, fields: Fields) -> list[Array]:
    return [np.clip(fields["cfrc_ext"], -1.0, 1.0)[:, 1:]]


def _humanoid_observes(body: Body, fields: Fields) -> list[Array]:
    return [fields["cinert"][:, 1:], fields["cvel"][:, 1:], fields["qfrc_actuator"][:, 6:], fields["cfrc_ext"][:, 1:]]


def _torso(fields: Fields, masses: Array) -> Array:
    return fields["xpos"][:, 1, :2]


def _mass_centre(fields: Fields, masses: Array) -> Array:
    weighted = np.sum(masses[:, None] * fields["xipos"], axis=1)
    return np.asarray((weighted / np.sum(masses))[:, :2])


_hopper = partial(
    Body, "hopper.xml", frame_skip=4, noise=5e-3, velocity_limit=10.0, healthy=_hopper_healthy
)  # fmt: skip
_ant = partial(
    Body, "ant.xml", frame_skip=5, noise=0.1, normal_velocities=True, skip=2, observe=_ant_observes, place=_torso,
    fields=("qpos", "qvel", "xpos", "cfrc_ext"), healthy=_ant_healthy, contacts=True,
)  # fmt: skip

BODIES = {
    "mo-halfcheetah-v5": Body(
        "half_cheetah.xml", ("speed", "energy"), 5, 0.1, partial(run_and_save, weight=0.1), normal_velocities=True
    ),
    "mo-hopper-v5": _hopper(("speed", "height", "energy"), rewards=partial(hop, effort=True)),
    "mo-hopper-2obj-v5": _hopper(("speed", "height"), rewards=partial(hop, effort=False)),
    "mo-walker2d-v5": Body(
        "walker2d_v5.xml", ("speed", "energy"), 4, 5e-3, partial(run_and_save, weight=1e-3, alive=1.0),
        velocity_limit=10.0, healthy=_walker_healthy,
    ),
    "mo-ant-v5": _ant(("speed_x", "speed_y", "energy"), rewards=partial(crawl, effort=True)),
    "mo-ant-2obj-v5": _ant(("speed_x", "speed_y"), rewards=partial(crawl, effort=False)),
    "mo-swimmer-v5": Body(
        "swimmer.xml", ("speed", "energy"), 4, 0.1, partial(run_and_save, weight=1e-4), skip=2,
    ),
    "mo-humanoid-v5": Body(
        "humanoid.xml", ("speed", "energy"), 5, 1e-2, walk_upright, skip=2, observe=_humanoid_observes,
        place=_mass_centre, healthy=_humanoid_healthy, contacts=True,
        fields=("qpos", "qvel", "ctrl", "xipos", "cinert", "cvel", "qfrc_actuator", "cfrc_ext"),
    ),
}  # fmt: skip


def _make(id: str, num_envs: int, **options: Any) -> Any:
    from envs.mujoco_env import MujocoEnv

    return MujocoEnv(id, BODIES[id], num_envs, **options)


def _make_reacher(num_envs: int, **options: Any) -> Any:
    from envs.mujoco_reacher import Reacher

    return Reacher(num_envs, **options)


ENVIRONMENTS = {**{id: partial(_make, id) for id in BODIES}, "mo-reacher-v5": _make_reacher}
