"""Batched MuJoCo: one MjData per body, stepped by a few threads (mj_step releases the interpreter lock).

Each body keeps its own data from step to step, and with it the solver's warm start: rollouts that restore only positions
and velocities drift away from the original within a few hundred steps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from envs.errors import MissingExtra, TradeoffError
from envs.mujoco_bodies import Body, Moment
from envs.protocol import EnvSpec, Step

Array = NDArray[Any]
SERIAL = 2  # bodies; fewer are stepped in the calling thread


def load_mujoco() -> Any:
    """The library, imported when the first body is made. Raises MissingExtra."""
    try:
        import mujoco
    except ImportError:
        raise MissingExtra("a MuJoCo environment", "mujoco", "mujoco") from None
    return mujoco


def gymnasium_model(name: str) -> str:
    """Path of one of gymnasium's models."""
    import gymnasium

    return str(Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / name)


class Simulation:
    """N MjData of one model: step them, start them, read and restore their state."""

    def __init__(self, path: str, num_envs: int, frame_skip: int, fields: Sequence[str], contacts: bool) -> None:
        """fields: names of MjData arrays that are copied out after each step."""
        self.mujoco = load_mujoco()
        self.model = self.mujoco.MjModel.from_xml_path(path)
        self.frame_skip, self.contacts = frame_skip, contacts
        self.data = [self.mujoco.MjData(self.model) for _ in range(num_envs)]
        self.views = {name: [getattr(d, name) for d in self.data] for name in {*fields, "qpos", "qvel"}}
        self.fields = {name: np.stack(views) for name, views in self.views.items()}
        self.controls = [d.ctrl for d in self.data]
        self.kind = int(self.mujoco.mjtState.mjSTATE_INTEGRATION)
        threads = min(os.cpu_count() or 1, num_envs // SERIAL)
        cuts = np.linspace(0, num_envs, max(threads, 1) + 1).astype(int)
        self.chunks = [range(a, b) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
        self.pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    @property
    def dt(self) -> float:
        """Seconds per step."""
        return float(self.model.opt.timestep * self.frame_skip)

    def step(self, action: Array) -> None:
        """Advance all bodies under actions [N, a]."""
        waiting = [self.pool.submit(self._advance, chunk, action) for chunk in self.chunks[1:]] if self.pool else []
        self._advance(self.chunks[0], action)
        for chunk in waiting:
            chunk.result()

    def _advance(self, chunk: range, action: Array) -> None:
        step, after, model = self.mujoco.mj_step, self.mujoco.mj_rnePostConstraint, self.model
        for i in chunk:
            self.controls[i][:] = action[i]
            step(model, self.data[i], nstep=self.frame_skip)
            if self.contacts:
                after(model, self.data[i])
            self._read(i)

    def _read(self, i: int) -> None:
        for name, views in self.views.items():
            self.fields[name][i] = views[i]

    def place(self, i: int, position: Array, velocity: Array) -> None:
        """Start body i anew."""
        data = self.data[i]
        self.mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:] = position, velocity
        self.mujoco.mj_forward(self.model, data)
        self._read(i)

    def state(self) -> Array:
        """Integration state of every body [N, s], the warm start included."""
        rows = np.empty((len(self.data), self.mujoco.mj_stateSize(self.model, self.kind)))
        for row, data in zip(rows, self.data, strict=True):
            self.mujoco.mj_getState(self.model, data, row, self.kind)
        return rows

    def restore(self, rows: Array) -> None:
        """The inverse of `state`; derived fields stay as they are until the next step."""
        for row, data in zip(rows, self.data, strict=True):
            self.mujoco.mj_setState(self.model, data, row, self.kind)

    def close(self) -> None:
        """End the threads."""
        if self.pool:
            self.pool.shutdown()
            self.pool = None


class MujocoBase:
    """Clocks, seeds, resets and saved state of batched MuJoCo bodies; a subclass says how they start and what they see."""

    exact_state = True
    spec: EnvSpec
    sim: Simulation

    def __init__(self, num_envs: int, device: torch.device | str, seed: int) -> None:
        """The subclass has set spec and sim."""
        self.num_envs, self.device = num_envs, torch.device(device)
        self.no_cost = torch.zeros(num_envs, 0, device=self.device)
        self.generators = [np.random.default_rng(seed + i) for i in range(num_envs)]
        self.reset(seed)

    def _begin(self, i: int) -> None:
        """Start episode of body i from its own generator."""
        raise NotImplementedError

    def _observe(self) -> Array:
        """Observations [N, d] from the fields, as a new array."""
        raise NotImplementedError

    def _act(self, action: Array) -> tuple[Array, Array]:
        """Advance the simulation; rewards [N, m] and which bodies ended [N]."""
        raise NotImplementedError

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset; seed s starts a body as the original's reset(seed=s) does."""
        if seed is not None:
            seeds = range(seed, seed + self.num_envs) if isinstance(seed, int) else seed
            if len(seeds) != self.num_envs:
                raise ValueError(f"{len(seeds)} seeds were given for {self.num_envs} environments")
            self.generators = [np.random.default_rng(s) for s in seeds]
        for i in range(self.num_envs):
            self._begin(i)
        self.clock = np.zeros(self.num_envs, dtype=np.int64)
        return self._tensor(self._observe())

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step."""
        reward, terminated = self._act(action.detach().cpu().numpy())
        self.clock += 1
        horizon = self.spec.horizon
        truncated = (self.clock >= horizon) & ~terminated if horizon else np.zeros_like(terminated)
        final = self._tensor(self._observe())
        observation, ended = final, np.flatnonzero(terminated | truncated)
        if len(ended):
            for i in ended:
                self._begin(int(i))
            self.clock[ended] = 0
            observation = self._tensor(self._observe())
        return Step(observation, self._tensor(reward), self.no_cost, self._tensor(terminated), self._tensor(truncated), final)

    def _tensor(self, x: Array) -> Tensor:
        return torch.from_numpy(x).to(self.device)

    def state_dict(self) -> dict[str, Any]:
        """See VectorEnv.state_dict."""
        fields = {name: torch.from_numpy(x.copy()) for name, x in self.sim.fields.items()}
        generators = [g.bit_generator.state for g in self.generators]
        return {
            "physics": torch.from_numpy(self.sim.state()), "fields": fields, "clock": torch.from_numpy(self.clock.copy()),
            "generators": generators,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See VectorEnv.load_state_dict."""
        self.sim.restore(state["physics"].numpy())
        for name, x in state["fields"].items():
            self.sim.fields[name][:] = x.numpy()
        self.clock = state["clock"].numpy().copy()
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.bit_generator.state = saved

    def close(self) -> None:
        """See VectorEnv.close."""
        self.sim.close()


class MujocoEnv(MujocoBase):
    """The walking, swimming and hopping bodies."""

    def __init__(
        self,
        id: str,
        body: Body,
        num_envs: int,
        device: torch.device | str = "cpu",
        seed: int = 0,
        max_episode_steps: int | None = None,
    ) -> None:
        """See envs.make."""
        self.body = body
        self.sim = Simulation(gymnasium_model(body.model), num_envs, body.frame_skip, body.fields, body.contacts)
        self.first = self.sim.data[0].qpos.copy(), self.sim.data[0].qvel.copy()
        self.masses = self.sim.model.body_mass
        low, high = self.sim.model.actuator_ctrlrange.astype(np.float32).T
        size = self._observe().shape[1]
        self.spec = EnvSpec(
            id=id, observation_space=spaces.Box(-np.inf, np.inf, (size,), np.float64),
            action_space=spaces.Box(low, high, dtype=np.float32), objectives=body.objectives,
            horizon=max_episode_steps or 1000, discount=0.99, reference_point=(-100.0,) * len(body.objectives),
            backend="mujoco-threads",
        )  # fmt: skip
        super().__init__(num_envs, device, seed)

    def _begin(self, i: int) -> None:
        numbers, noise = self.generators[i], self.body.noise
        position = self.first[0] + numbers.uniform(-noise, noise, len(self.first[0]))
        if self.body.normal_velocities:
            velocity = self.first[1] + noise * numbers.standard_normal(len(self.first[1]))
        else:
            velocity = self.first[1] + numbers.uniform(-noise, noise, len(self.first[1]))
        self.sim.place(i, position, velocity)

    def _observe(self) -> Array:
        fields, limit = self.sim.fields, self.body.velocity_limit
        velocity = fields["qvel"] if limit is None else np.clip(fields["qvel"], -limit, limit)
        more = [x.reshape(len(x), -1) for x in self.body.observe(self.body, fields)]
        return np.concatenate([fields["qpos"][:, self.body.skip :], velocity, *more], 1)

    def _act(self, action: Array) -> tuple[Array, Array]:
        body, fields = self.body, self.sim.fields
        if action.shape != (self.num_envs, *self.spec.action_space.shape):  # type: ignore[misc]
            raise TradeoffError(f"{self.spec.id} takes actions of {self.spec.action_space}, got {action.shape}")
        before = body.place(fields, self.masses).copy()
        self.sim.step(action)
        velocity = (body.place(fields, self.masses) - before) / self.sim.dt
        healthy = np.ones(self.num_envs, bool) if body.healthy is None else body.healthy(fields)
        height = fields["qpos"][:, 1] - self.first[0][1]
        moment = Moment(velocity, action, height, healthy.astype(np.float64), fields)
        return body.rewards(moment), ~healthy
