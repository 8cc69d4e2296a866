"""The four-target reacher of mo-gymnasium, batched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces

from tradeoff.envs.arguments import check_counts
from tradeoff.envs.mujoco_env import Array, MujocoBase, Simulation
from tradeoff.envs.protocol import EnvSpec

TARGETS = np.array([0.14, 0.0, -0.14, 0.0, 0.0, 0.14, 0.0, -0.14])
TORQUES = np.array([(a, b) for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)])

MOVING = {
    "mo-reacher-v4": 8,
    "mo-reacher-v5": 2,
}  # leading velocities that start with noise: two joints, and in version
# 4 three targets


def reacher_model() -> str:
    """Path of mo-gymnasium's own model."""
    from importlib.util import find_spec

    found = find_spec("mo_gymnasium")
    assert found is not None and found.origin is not None
    return str(Path(found.origin).parent / "envs" / "mujoco" / "assets" / "mo_reacher.xml")


class Reacher(MujocoBase):
    """Reward: 1 - 4 * distance of the tip to each of four targets, before the step. Nine pairs of torques."""

    def __init__(
        self,
        id: str,
        num_envs: int,
        device: torch.device | str = "cpu",
        seed: int = 0,
        max_episode_steps: int | None = None,
    ) -> None:
        """See tradeoff.envs.make."""
        check_counts(num_envs, max_episode_steps)
        self.moving, self.horizon = MOVING[id], max_episode_steps or 50
        self.sim = Simulation(reacher_model(), num_envs, 2, ("xpos",), contacts=False)
        self.first = self.sim.data[0].qpos.copy(), self.sim.data[0].qvel.copy()
        number = self.sim.model.body
        self.tip, self.targets = number("fingertip").id, [number(f"target{i}").id for i in (1, 2, 3, 4)]
        self.spec = EnvSpec(
            id=id, observation_space=spaces.Box(-np.inf, np.inf, (6,), np.float64),
            action_space=spaces.Discrete(9), objectives=tuple(f"target_{i}" for i in (1, 2, 3, 4)),
            horizon=self.horizon, discount=0.99, reference_point=(-50.0,) * 4, backend="mujoco-threads",
        )  # fmt: skip
        super().__init__(num_envs, device, seed)

    def _begin(self, i: int) -> None:
        numbers, (position, velocity) = self.generators[i], self.first
        position = numbers.uniform(-0.1, 0.1, len(position)) + position
        position[:2] = (0, 3.1415 / 2)
        position[-len(TARGETS) :] = TARGETS
        velocity = velocity + numbers.uniform(-0.005, 0.005, len(velocity))
        velocity[self.moving :] = 0
        self.sim.place(i, position, velocity)

    def _observe(self) -> Array:
        angle, velocity = self.sim.fields["qpos"][:, :2], self.sim.fields["qvel"][:, :2]
        return np.concatenate([np.cos(angle), np.sin(angle), velocity * 0.1], 1)

    def _act(self, action: Array) -> tuple[Array, Array]:
        places = self.sim.fields["xpos"][..., :2]
        gaps = places[:, [self.tip]] - places[:, self.targets]
        reward = (1 - 4 * np.sqrt((gaps * gaps).sum(-1))).astype(np.float32)
        self.sim.step(TORQUES[action])
        return reward, np.zeros(self.num_envs, bool)
