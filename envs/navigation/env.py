"""Navigation by lidar among things that cost: goal, button, push and circle tasks for a point and a car, batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from tradeoff.envs.arguments import check_counts
from tradeoff.envs.mujoco_env import MujocoBase
from tradeoff.envs.navigation.arena import Arena
from tradeoff.envs.navigation.crowded import Stock
from tradeoff.envs.navigation.layout import Place, draw_goal, draw_layout, legacy_generator, spots
from tradeoff.envs.navigation.lidar import BINS, egocentric, lidar
from tradeoff.envs.navigation.paid import inside, lengths, moved, outside, speed_along_circle, wrong
from tradeoff.envs.navigation.tasks import AGENTS, DELAY, tasks
from tradeoff.envs.protocol import EnvSpec

Array = NDArray[Any]

NEAR = 0.6  # beyond this distance of centres agent and thing cannot touch: half diagonals add up to less
MOST_REWARD = 10.0  # per step, either way
ANY = "any"  # the cost that published results bound: 1 where any kind is paid


class Navigation(MujocoBase):
    """N arenas of one task.

    Reward: metres gained towards the goal (box: towards the box and of the box towards the goal), and 1 when it is
    reached; on the circle, speed along it. Each cost is 0 or 1 per step; where there are several kinds, "any" comes
    first. Resets draw what the original draws from the same seed; where gremlins crowd the arena, those without a seed
    take layouts from a stock, which are the original's in distribution.
    """

    sim: Arena

    def __init__(
        self,
        id: str,
        agent: str,
        task: str,
        num_envs: int,
        device: torch.device | str = "cpu",
        seed: int = 0,
        max_episode_steps: int | None = None,
    ) -> None:
        """See tradeoff.envs.make. agent: a key of AGENTS; task: a key of `tasks`."""
        check_counts(num_envs, max_episode_steps)
        body = AGENTS[agent]
        self.task = tasks(body)[task]
        self.horizon = max_episode_steps or self.task.horizon
        self.sim = Arena(body, self.task, num_envs)
        self._arrange(num_envs)
        groups = [self.task.rows(kind.name).start for kind in self.task.kinds if kind.seen]
        self.seen, self.groups = np.flatnonzero([kind.seen for kind in self.task.things]), groups
        costs = (ANY, *self.task.costs) if len(self.task.costs) > 1 else self.task.costs
        sensed = self.sim.fields["sensordata"].shape[1]
        size = (24 if sensed > 12 else 12) + BINS * len(groups)
        near = tuple(range(size - BINS * len(groups), size))
        self.spec = EnvSpec(
            id=id, observation_space=spaces.Box(-np.inf, np.inf, (size,), np.float64), near=near,
            action_space=spaces.Box(-1.0, 1.0, (2,), np.float32), objectives=("progress",), costs=costs,
            limits=(25.0,) if costs else (), ceilings=(1.0,) * len(costs), horizon=self.horizon, discount=0.99,
            backend="mujoco-threads",
        )  # fmt: skip
        super().__init__(num_envs, device, seed)

    def _arrange(self, num_envs: int) -> None:
        task, things = self.task, self.task.things
        self.spots = spots(task)
        self.stock = Stock(self.spots, num_envs) if task.indices("driven") else None
        self.loose = np.array(task.indices("free", "driven"), np.int64)
        self.mocaps = np.array(task.indices("fixed") + task.indices("driven"), np.int64)
        felt = {name.removesuffix("_contact") for name in task.costs} | {"buttons"}
        self.solid = np.array([i for i, k in enumerate(things) if k.name in felt and k.matter != "mark"], np.int64)
        self.nq = self.sim.model.nq - 7 * len(self.loose)  # the agent's own: 3 of a point, 13 of a car
        self.places = np.zeros((num_envs, len(things), 3))
        self.places[..., 2] = [kind.height for kind in things]
        self.reach = np.array([kind.size for kind in things])
        self.goal = task.rows("goal").start
        self.button, self.timer, self.owed = np.zeros((3, num_envs), np.int64)
        self.last = np.zeros((num_envs, {"box": 2, "circle": 0}.get(task.aim, 1)))
        self.charged = np.zeros((num_envs, len(task.costs)), bool)

    def _generator(self, seed: int) -> np.random.Generator:
        return legacy_generator(seed)

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset; seed s begins as the original's reset(seed=s) does."""
        if seed is not None:
            self.owed[:] = 0
            if self.stock:
                self.stock.clear()
        self.seeded = seed is not None
        begun = super().reset(seed)
        self.seeded = False
        return begun

    def _numbers(self, i: int) -> np.random.Generator:
        """The generator of arena i, past the number that the original draws in every step, to no use."""
        self.generators[i].random(self.owed[i])
        self.owed[i] = 0
        return self.generators[i]

    def _begin(self, i: int) -> None:
        numbers = self._numbers(i)
        while True:
            (x, y), *rest = self._layout(i, numbers)
            angle, *turns = 2 * np.pi * numbers.random(len(self.spots))
            self.places[i, :, :2] = rest
            self.places[i, self.loose, 2] = [self.task.things[k].height for k in self.loose]
            self._settle(i, np.array((x, y)), angle, np.array(turns))
            if self._aim(i):
                break
        self.timer[i] = 0
        self.last[i] = self._distances()[i]

    def _layout(self, i: int, numbers: np.random.Generator) -> Array | list[Place]:
        if self.stock and not self.seeded:
            return self.stock.take(i, numbers)
        return draw_layout(self.spots, numbers)

    def _settle(self, i: int, start: Array, angle: float, turns: Array) -> None:
        position = self.sim.model.qpos0.copy()
        position[:2] = start
        if self.nq == 3:
            position[2] = angle
        else:
            position[3:7] = _turned(np.array([angle]))[0]
        quaternions = _turned(turns)
        loose = position[self.nq :].reshape(-1, 7)
        loose[:, :3], loose[:, 3:] = self.places[i, self.loose], quaternions[self.loose]
        self.sim.settle(i, position, self.places[i, self.mocaps], quaternions[self.mocaps])

    def _aim(self, i: int) -> bool:
        """Give arena i a new goal; False when there is no room for one."""
        if self.task.aim == "circle":
            return True
        if self.task.aim == "button":
            self.button[i] = int(self._numbers(i).bit_generator.random_raw()) & 3
            self.places[i, self.goal, :2] = self.places[i, self.task.rows("buttons")][self.button[i], :2]
            return True
        places = [tuple(self.sim.fields["xpos"][i, self.sim.agent, :2]), *map(tuple, self.places[i, :, :2])]
        spots, mine = list(self.spots), self.goal + 1
        del places[mine], spots[mine]
        found = draw_goal(self.spots[mine], places, spots, self._numbers(i))
        if found is not None:
            self.places[i, self.goal, :2] = found
        return found is not None

    @property
    def _position(self) -> Array:
        return np.asarray(self.sim.fields["xpos"][:, self.sim.agent])

    def _distances(self) -> Array:
        """What the reward rewards to shrink [N, 0 to 2]."""
        if self.task.aim == "circle":
            return np.zeros((self.num_envs, 0))
        agent, goal = self._position, self.places[:, self.goal]
        if self.task.aim == "box":
            box = self.places[:, self.task.rows("box").start]
            return np.stack([lengths(box - agent), lengths(box - goal)], 1)
        return lengths((agent - goal)[:, :2])[:, None]

    def _loose_places(self) -> Array:
        return np.asarray(self.sim.fields["qpos"][:, self.nq :].reshape(self.num_envs, -1, 7)[..., :3])

    def _act(self, action: Array) -> tuple[Array, Array]:
        self.sim.step(action)
        self.owed += 1
        self.places[:, self.loose] = self._loose_places()
        touched, distances = self._touched(), self._distances()
        achieved = self._achieved(touched, distances)
        reward = (self.last - distances).sum(1) + achieved
        if self.task.aim == "circle":
            reward = reward + speed_along_circle(self._position[:, :2], self.sim.fields["qvel"][:, :2])
        self._charge(touched)
        self.timer = np.maximum(self.timer - 1, 0)
        self.last = distances
        stuck = self._move_on(achieved)
        return np.clip(reward, -MOST_REWARD, MOST_REWARD).astype(np.float32)[:, None], stuck

    def _move_on(self, achieved: Array) -> Array:
        """New goals where the old ones are reached; which arenas have no room for one [N]."""
        stuck = np.zeros(self.num_envs, bool)
        for i in np.flatnonzero(achieved).tolist():
            stuck[i] = not self._aim(i)
        self.timer[achieved] = DELAY if self.task.aim == "button" else 0
        if achieved.any():
            self.last = np.where(achieved[:, None], self._distances(), self.last)
        return stuck

    def _achieved(self, touched: Array, distances: Array) -> Array:
        if self.task.aim == "circle":
            return np.zeros(self.num_envs, bool)
        if self.task.aim == "button":
            return np.asarray(touched[:, self.task.rows("buttons")][np.arange(self.num_envs), self.button])
        return np.asarray(distances[:, -1] <= self.reach[self.goal])

    def _touched(self) -> Array:
        """Things that agents touch [N, K]; contacts are read only where something is near."""
        found = np.zeros(self.places.shape[:2], bool)
        if len(self.solid):
            gap = self.places[:, self.solid, :2] - self._position[:, None, :2]
            near = (np.square(gap).sum(-1) < NEAR**2).any(1)
            for i in np.flatnonzero(near).tolist():
                found[i] = self.sim.touched(i, found.shape[1])
        return found

    def _charge(self, touched: Array) -> None:
        for column, name in enumerate(self.task.costs):
            self.charged[:, column] = self._cost(name, touched)

    def _cost(self, name: str, touched: Array) -> Array:
        task, position = self.task, self._position[:, :2]
        rows = task.rows(name.removesuffix("_contact"))
        if name == "hazards":
            return inside(position, self.places[:, rows, :2], self.reach[rows])
        if name == "vases_velocity":
            return moved(self.sim.fields["qvel"][:, -6 * len(self.loose) :].reshape(self.num_envs, -1, 6)[..., :3])
        if name == "out_of_boundary":
            return outside(position, sum(kind.name == "walls" for kind in task.things))
        if name == "buttons":
            return wrong(touched[:, rows], self.button, self.timer)
        return np.asarray(touched[:, rows].any(1))

    def _costs(self) -> Tensor:
        paid = self.charged
        if paid.shape[1] > 1:
            paid = np.concatenate([paid.any(1, keepdims=True), paid], 1)
        return self._tensor(paid.astype(np.float32))

    def _observe(self) -> Array:
        fields = self.sim.fields
        sensed, rotation = fields["sensordata"], fields["xmat"][:, self.sim.agent].reshape(-1, 3, 3)
        felt = [sensed[:, :12]]
        if sensed.shape[1] > 12:
            felt += [sensed[:, 12:15], _rotations(sensed[:, 15:19])]
        away = egocentric(self.places[:, self.seen, :2], self._position, rotation)
        closeness = lidar(away, self.groups, self.task.range)
        if self.task.aim == "button":
            closeness[self.timer > 0, :BINS] = 0.0  # buttons are the first group
        return np.concatenate([*felt, closeness], 1)

    def state_dict(self) -> dict[str, Any]:
        """See VectorEnv.state_dict."""
        state = super().state_dict()
        state["generators"] = [_plain(numbers) for numbers in state["generators"]]
        memory = {name: torch.from_numpy(getattr(self, name).copy()) for name in MEMORY}
        state |= {"memory": memory, "homes": torch.from_numpy(self.sim.homes.copy())}
        return state | ({"stock": self.stock.state()} if self.stock else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See VectorEnv.load_state_dict."""
        super().load_state_dict(state | {"generators": [_unplain(numbers) for numbers in state["generators"]]})
        for name in MEMORY:
            setattr(self, name, state["memory"][name].cpu().numpy().copy())
        self.sim.homes[:] = state["homes"].cpu().numpy()
        if self.stock:
            self.stock.load(state["stock"])


MEMORY = ("places", "button", "timer", "owed", "last")


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    return {"key": torch.from_numpy(numbers["state"]["key"].astype(np.int64)), "pos": numbers["state"]["pos"]}


def _unplain(numbers: dict[str, Any]) -> dict[str, Any]:
    key = numbers["key"].cpu().numpy().astype(np.uint32)
    return {"bit_generator": "MT19937", "state": {"key": key, "pos": numbers["pos"]}}


def _turned(angles: Array) -> Array:
    """Quaternions [K, 4] of turns about the vertical [K]."""
    nought = np.zeros_like(angles)
    return np.stack([np.cos(angles / 2), nought, nought, np.sin(angles / 2)], -1)


def _rotations(quaternions: Array) -> Array:
    """Rotation matrices [N, 9] of unit quaternions [N, 4]."""
    a, b, c, d = quaternions.T
    rows = [
        a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c),
        2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b),
        2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d,
    ]  # fmt: skip
    return np.stack(rows, 1)
