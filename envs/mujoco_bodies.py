"""MuJoCo bodies of mo-gymnasium: what differs between them, as data and small functions of N bodies at once.

Sums and products are written in the originals' order and precision, so that results agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Fields = dict[str, Array]  # name of an MjData field -> [N, ...]


@dataclass(frozen=True)
class Body:
    """One kind of body. `fields` are read from every MjData after each step, besides qpos and qvel."""

    model: str  # file among gymnasium's models
    objectives: tuple[str, ...]
    frame_skip: int
    noise: float  # half-width of the uniform noise on first positions
    rewards: Callable[[Moment], Array]  # -> [N, m] float32
    fields: tuple[str, ...] = ()
    normal_velocities: bool = False  # first velocities are normal instead of uniform
    skip: int = 1  # leading positions that are not observed
    velocity_limit: float | None = None  # observed velocities are cut here
    observe: Callable[[Body, Fields], list[Array]] = field(default=lambda body, fields: [])  # further numbers [N, ...]
    place: Callable[[Fields, Array], Array] = field(default=lambda fields, masses: fields["qpos"][:, 0])  # x [N] or xy
    healthy: Callable[[Fields], Array] | None = None  # [N] bool; None: episodes never end
    pays_fall: bool = False  # the reward for being healthy is paid in the step of the fall too
    contacts: bool = False  # contact forces are read, which costs another pass
    costs: tuple[str, ...] = ()
    limits: tuple[float, ...] = ()  # of the costs, per episode
    ceilings: tuple[float, ...] = ()  # of the costs, per step, where known
    charges: Callable[[Moment], Array] | None = None  # -> [N, k] float32, one column per cost


@dataclass(frozen=True)
class Moment:
    """What rewards may depend on."""

    velocity: Array  # [N] along x, or [N, 2] along x and y (ant, humanoid)
    action: Array  # [N, a] float32
    height: Array  # [N] above the first height of the model
    survived: Array  # [N] 1.0 where healthy
    fields: Fields


def _stack(*columns: Array) -> Array:
    out = np.empty((len(columns[0]), len(columns)), dtype=np.float32)
    for i, column in enumerate(columns):
        out[:, i] = column
    return out


def _effort(moment: Moment, weight: float, undo: float = 1.0) -> Array:
    """Minus the weighted sum of squared actions, divided by `undo`, each in float32 as the originals have it."""
    cost = np.float32(weight) * np.square(moment.action).sum(1)
    return -cost if undo == 1.0 else -cost / np.float32(undo)


def _contact(moment: Moment, forces: Array, weight: float, most: float) -> Array:
    squares = np.square(forces).reshape(len(forces), -1).sum(1)
    return np.minimum(weight * squares, most)[:, None]


def _alive(moment: Moment, bonus: float) -> Array:
    return (bonus * moment.survived).astype(np.float32)[:, None]


def run_and_save(moment: Moment, weight: float, undo: float, alive: float = 0.0) -> Array:
    """Speed along x, and the effort; `alive` is added to both while healthy."""
    both = _stack(moment.velocity, _effort(moment, weight, undo))
    return both + _alive(moment, alive) if alive else both


def hop(moment: Moment, effort: bool, undo: float = 1e-3) -> Array:
    """Speed, ten times the height gained, and the effort: apart, or taken off both. One more while healthy."""
    speed, height = moment.velocity, 10 * moment.height
    if effort:
        return _stack(speed, height, _effort(moment, undo, undo)) + _alive(moment, 1.0)
    return _stack(speed, height) + _effort(moment, 1e-3)[:, None] + _alive(moment, 1.0)


def crawl(moment: Moment, effort: bool, contact: bool = True) -> Array:
    """Ant: speed along x and y, and the effort (apart, or taken off both); contacts are taken off all."""
    speed = moment.velocity.T
    vector = _stack(*speed, _effort(moment, 0.5, 0.5)) if effort else _stack(*speed) + _effort(moment, 0.5)[:, None]
    vector = vector + _alive(moment, 1.0)
    if not contact:
        return vector
    forces = _cut(moment.fields["cfrc_ext"], 1.0)
    return (vector.astype(np.float64) - _contact(moment, forces, 5e-4, np.inf)).astype(np.float32)


def walk_upright(moment: Moment, contact: bool = True) -> Array:
    """Humanoid: speed and effort, 5 while upright on both; contacts are taken off both."""
    cost = 0.1 * np.square(moment.fields["ctrl"]).sum(1)
    vector = _stack(moment.velocity[:, 0], -cost / 0.1 if contact else 10 * -cost) + _alive(moment, 5.0)
    if not contact:
        return vector
    contacts = _contact(moment, moment.fields["cfrc_ext"], 5e-7, 10.0)
    return (vector.astype(np.float64) - contacts).astype(np.float32)


def _cut(x: Array, limit: float) -> Array:
    return np.minimum(np.maximum(x, -limit), limit)


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
    return [_cut(fields["cfrc_ext"][:, 1:], 1.0)]


def _humanoid_observes(body: Body, fields: Fields) -> list[Array]:
    return [fields["cinert"][:, 1:], fields["cvel"][:, 1:], fields["qfrc_actuator"][:, 6:], fields["cfrc_ext"][:, 1:]]


def _old_humanoid_observes(body: Body, fields: Fields) -> list[Array]:
    return [fields["cinert"], fields["cvel"], fields["qfrc_actuator"], fields["cfrc_ext"]]


def _torso(fields: Fields, masses: Array) -> Array:
    return fields["xpos"][:, 1, :2]


def _mass_centre(fields: Fields, masses: Array) -> Array:
    weighted = np.sum(masses[:, None] * fields["xipos"], axis=1)
    return np.asarray((weighted / np.sum(masses))[:, :2])


_cheetah = partial(Body, "half_cheetah.xml", ("speed", "energy"), 5, 0.1, normal_velocities=True)
_hopper = partial(Body, "hopper.xml", frame_skip=4, noise=5e-3, velocity_limit=10.0, healthy=_hopper_healthy)
_walker = partial(
    Body, objectives=("speed", "energy"), frame_skip=4, noise=5e-3, velocity_limit=10.0, healthy=_walker_healthy
)
_ant = partial(
    Body, "ant.xml", frame_skip=5, noise=0.1, normal_velocities=True, skip=2, place=_torso, healthy=_ant_healthy
)
_swimmer = partial(
    Body, "swimmer.xml", ("speed", "energy"), 4, 0.1, skip=2
)  # fmt: skip
_touching_ant = partial(_ant, fields=("xpos", "cfrc_ext"), observe=_ant_observes, contacts=True)
_humanoid = Body(
    "humanoid.xml", ("speed", "energy"), 5, 1e-2, walk_upright, skip=2, observe=_humanoid_observes, contacts=True,
    place=_mass_centre, healthy=_humanoid_healthy,
    fields=("ctrl", "xipos", "cinert", "cvel", "qfrc_actuator", "cfrc_ext"),
)  # fmt: skip

BODIES = {
    "mo-halfcheetah-v5": _cheetah(partial(run_and_save, weight=0.1, undo=0.1)),
    "mo-hopper-v5": _hopper(("speed", "height", "energy"), rewards=partial(hop, effort=True)),
    "mo-hopper-2obj-v5": _hopper(("speed", "height"), rewards=partial(hop, effort=False)),
    "mo-walker2d-v5": _walker("walker2d_v5.xml", rewards=partial(run_and_save, weight=1e-3, undo=1e-3, alive=1.0)),
    "mo-ant-v5": _touching_ant(("speed_x", "speed_y", "energy"), rewards=partial(crawl, effort=True)),
    "mo-ant-2obj-v5": _touching_ant(("speed_x", "speed_y"), rewards=partial(crawl, effort=False)),
    "mo-swimmer-v5": _swimmer(partial(run_and_save, weight=1e-4, undo=1e-4)),
    "mo-humanoid-v5": _humanoid,
}

_old_ant = partial(_ant, fields=("xpos",), pays_fall=True)
BODIES |= {
    "mo-halfcheetah-v4": _cheetah(partial(run_and_save, weight=0.1, undo=1.0)),
    "mo-hopper-v4": _hopper(("speed", "height", "energy"), rewards=partial(hop, effort=True, undo=1.0), pays_fall=True),
    "mo-hopper-2d-v4": _hopper(("speed", "height"), rewards=partial(hop, effort=False), pays_fall=True),
    "mo-walker2d-v4": _walker(
        "walker2d.xml", rewards=partial(run_and_save, weight=1.0, undo=1.0, alive=1.0), pays_fall=True
    ),
    "mo-ant-v4": _old_ant(("speed_x", "speed_y", "energy"), rewards=partial(crawl, effort=True, contact=False)),
    "mo-ant-2d-v4": _old_ant(("speed_x", "speed_y"), rewards=partial(crawl, effort=False, contact=False)),
    "mo-swimmer-v4": _swimmer(partial(run_and_save, weight=1.0, undo=1.0)),
    "mo-humanoid-v4": replace(
        _humanoid, rewards=partial(walk_upright, contact=False), observe=_old_humanoid_observes, pays_fall=True
    ),
}
"""Version 4 pays for health in the step of a fall too, leaves contacts out of the rewards, observes other numbers."""


def _make(id: str, num_envs: int, **options: Any) -> Any:
    from tradeoff.envs.mujoco_env import MujocoEnv

    return MujocoEnv(id, BODIES[id], num_envs, **options)


def _make_reacher(id: str, num_envs: int, **options: Any) -> Any:
    from tradeoff.envs.mujoco_reacher import Reacher

    return Reacher(id, num_envs, **options)


ENVIRONMENTS = {
    **{id: partial(_make, id) for id in BODIES},
    **{id: partial(_make_reacher, id) for id in ("mo-reacher-v4", "mo-reacher-v5")},
}
