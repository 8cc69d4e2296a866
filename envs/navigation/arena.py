"""The physics of N arenas: obstacles put in place at the start, leaders of gremlins moved before every physics step."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeoff.envs.mujoco_env import Simulation
from tradeoff.envs.navigation.model import model_text
from tradeoff.envs.navigation.tasks import TRAVEL, Agent, Task

Array = NDArray[Any]

SUBSTEPS = 10


class Arena(Simulation):
    """Simulation of one task. `item` says which thing each geom belongs to (-1: none), `own` which are the agent's."""

    def __init__(self, agent: Agent, task: Task, num_envs: int) -> None:
        super().__init__(model_text(agent, task), num_envs, SUBSTEPS, ("sensordata", "xpos", "xmat"), contacts=False)
        driven = task.indices("driven")
        self.obstacles = len(task.indices("fixed"))
        self.lift = task.things[driven[0]].size if driven else 0.0  # leaders run above the things that follow them
        self.leaders = [d.mocap_pos[self.obstacles :] for d in self.data]
        self.homes = np.zeros((num_envs, len(driven), 3))
        geoms = [self.model.geom(g) for g in range(self.model.ngeom)]
        bodies = [self.model.body(int(geom.bodyid[0])) for geom in geoms]
        self.item = np.array([_number(body.name) for body in bodies])
        agent_body = self.model.body("agent").id
        self.own = np.array([int(body.rootid[0]) == agent_body for body in bodies])
        self.agent = agent_body

    def _advance(self, chunks: Iterator[range], action: Array) -> None:
        step, forward, model = self.mujoco.mj_step, self.mujoco.mj_forward, self.model
        for chunk in chunks:
            for i in chunk:
                self.controls[i][:] = action[i]
                if len(self.homes[i]):
                    self._lead(i)
                else:
                    step(model, self.data[i], self.frame_skip)
                forward(model, self.data[i])  # sensors and contacts of where the step led to
                self._read(i)

    def _lead(self, i: int) -> None:
        data, leaders, home = self.data[i], self.leaders[i], self.homes[i]
        away = np.array((0.0, 0.0, self.lift))
        for _ in range(self.frame_skip):
            away[:2] = TRAVEL * sin(data.time), TRAVEL * cos(data.time)
            np.add(home, away, out=leaders)
            self.mujoco.mj_step(self.model, data)

    def settle(self, i: int, position: Array, places: Array, turns: Array) -> None:
        """Begin an episode: joint positions [q]; places [M, 3] and quaternions [M, 4] of obstacles, then of leaders."""
        data = self.data[i]
        self.mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.mocap_pos[:], data.mocap_quat[:] = position, places, turns
        self.homes[i] = places[self.obstacles :]
        self.mujoco.mj_forward(self.model, data)
        self._read(i)

    def touched(self, i: int, things: int) -> Array:
        """Which of the things the agent of arena i is in contact with [things] bool."""
        pairs = self.data[i].contact.geom
        mine = pairs[self.own[pairs].any(1)]
        found = np.zeros(things + 1, bool)  # the last stands for what is no thing: the floor, the agent itself
        found[self.item[mine]] = True
        return found[:-1]


def _number(name: str) -> int:
    return int(name.removeprefix("thing")) if name.startswith("thing") else -1
