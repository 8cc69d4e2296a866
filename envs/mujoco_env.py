"""Batched MuJoCo: one MjData per body, stepped by a few threads (mj_step releases the interpreter lock).

Each body keeps its own data from step to step, and with it the solver's warm start: rollouts that restore only
positions and velocities drift away from the original within a few hundred steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from tradeoff.envs.arguments import check_counts, read_actions, seed_each
from tradeoff.envs.errors import MissingExtra, TradeoffError
from tradeoff.envs.mujoco_bodies import Body, Moment
from tradeoff.envs.protocol import EnvSpec, Step

Array = NDArray[Any]
FEWEST = 4  # bodies per thread: fewer half-cheetahs take 0.1 ms, not much more than handing them over
CHUNKS = 4  # per thread, taken one after another, so that a thread that is held up delays nobody much


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


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: those that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Simulation:
    """N MjData of one model: step them, start them, read and restore their state."""

    def __init__(self, path: str, num_envs: int, frame_skip: int, fields: Sequence[str], contacts: bool) -> None:
        """path: of the model, or its XML text. fields: names of MjData arrays that are copied out after each step."""
        self.mujoco = load_mujoco()
        written = path.startswith("<")
        kinds = self.mujoco.MjModel
        self.model = kinds.from_xml_string(path) if written else kinds.from_xml_path(path)
        self.frame_skip, self.contacts = frame_skip, contacts
        self.data = [self.mujoco.MjData(self.model) for _ in range(num_envs)]
        self.views = {name: [getattr(d, name) for d in self.data] for name in ("qpos", "qvel", *fields)}
        self.fields = {name: np.stack(views) for name, views in self.views.items()}
        self.pairs = [[(rows[i], self.views[name][i]) for name, rows in self.fields.items()] for i in range(num_envs)]
        self.controls = [d.ctrl for d in self.data]
        self.kind = int(self.mujoco.mjtState.mjSTATE_INTEGRATION)
        threads = max(min(_cores(), num_envs // FEWEST), 1)
        size = max(num_envs // (CHUNKS * threads), FEWEST) if threads > 1 else num_envs
        self.chunks = [range(i, min(i + size, num_envs)) for i in range(0, num_envs, size)]
        self.helpers = threads - 1
        self.pool = ThreadPoolExecutor(self.helpers) if self.helpers else None

    @property
    def dt(self) -> float:
        """Seconds per step."""
        return float(self.model.opt.timestep * self.frame_skip)

    def step(self, action: Array) -> None:
        """Advance all bodies under actions [N, a]."""
        chunks = iter(self.chunks)  # shared: each thread takes the next one
        waiting = [self.pool.submit(self._advance, chunks, action) for _ in range(self.helpers)] if self.pool else []
        self._advance(chunks, action)
        for helper in waiting:
            if not helper.cancel():  # one that has not begun yet finds nothing left to do
                helper.result()

    def _advance(self, chunks: Iterator[range], action: Array) -> None:
        step, after, model, skip = self.mujoco.mj_step, self.mujoco.mj_rnePostConstraint, self.model, self.frame_skip
        for chunk in chunks:
            for i in chunk:
                self.controls[i][:] = action[i]
                step(model, self.data[i], skip)
                if self.contacts:
                    after(model, self.data[i])
                self._read(i)

    def _read(self, i: int) -> None:
        for row, view in self.pairs[i]:
            row[...] = view

    def place(self, i: int, position: Array, velocity: Array) -> None:
        """Start body i anew."""
        data = self.data[i]
        self.mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:] = position, velocity
        self.mujoco.mj_forward(self.model, data)
        self._read(i)

    @property
    def state_shape(self) -> tuple[int, int]:
        """(N, s)."""
        return len(self.data), self.mujoco.mj_stateSize(self.model, self.kind)

    def state(self) -> Array:
        """Integration state of every body [N, s], the warm start included."""
        rows = np.empty(self.state_shape)
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
    """Clocks, seeds, resets and saved state of batched bodies; a subclass says how they start and what they see."""

    exact_state = True
    spec: EnvSpec
    horizon: int
    sim: Simulation

    def __init__(self, num_envs: int, device: torch.device | str, seed: int) -> None:
        """The subclass has set spec, horizon and sim."""
        self.num_envs, self.device = num_envs, torch.device(device)
        self.no_cost = torch.zeros(num_envs, 0, device=self.device)
        self.reset(seed)

    def _generator(self, seed: int) -> np.random.Generator:
        """What a body's random numbers are drawn from."""
        return np.random.default_rng(seed)

    def _begin(self, i: int) -> None:
        """Start episode of body i from its own generator."""
        raise NotImplementedError

    def _costs(self) -> Tensor:
        """Costs [N, k] of the step that `_act` made, as a new tensor where there are any."""
        return self.no_cost

    def _observe(self) -> Array:
        """Observations [N, d] from the fields, as a new array."""
        raise NotImplementedError

    def _act(self, action: Array) -> tuple[Array, Array]:
        """Advance the simulation; rewards [N, m] and which bodies ended [N]."""
        raise NotImplementedError

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset; seed s starts a body as the original's reset(seed=s) does."""
        if seed is not None:
            self.generators = [self._generator(s) for s in seed_each(seed, self.num_envs)]
        for i in range(self.num_envs):
            self._begin(i)
        self.clock = np.zeros(self.num_envs, dtype=np.int64)
        return self._tensor(self._observe())

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step."""
        reward, terminated = self._act(read_actions(self.spec, self.num_envs, action))
        self.clock += 1
        ended = terminated | (self.clock >= self.horizon)
        paid, over, cut = map(self._tensor, (reward, terminated, ended & ~terminated))
        cost, observation = self._costs(), self._tensor(self._observe())
        final = observation
        if ended.any():
            observation = self.restart(ended)
        return Step(observation, paid, cost, over, cut, final)

    def restart(self, which: Tensor | Array) -> Tensor:
        """Break off the episodes of the bodies `which` [N] bool, begin new ones there; observations [N, d]."""
        chosen = np.flatnonzero(torch.as_tensor(which).cpu())
        for i in chosen:
            self._begin(int(i))
        self.clock[chosen] = 0
        return self._tensor(self._observe())

    def _tensor(self, x: Array) -> Tensor:
        return torch.from_numpy(x).to(self.device)

    def state_dict(self) -> dict[str, Any]:
        """See VectorEnv.state_dict."""
        fields = {name: torch.from_numpy(x.copy()) for name, x in self.sim.fields.items()}
        return {
            "physics": torch.from_numpy(self.sim.state()),
            "fields": fields,
            "clock": torch.from_numpy(self.clock.copy()),
            "generators": [g.bit_generator.state for g in self.generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See VectorEnv.load_state_dict. Raises TradeoffError for the state of another body or number of them."""
        saved, wanted = tuple(state["physics"].shape), self.sim.state_shape
        if saved != wanted or set(state["fields"]) != set(self.sim.fields):
            raise TradeoffError(f"state {saved} does not fit {self.spec.id}, which has {wanted}; use the same num_envs")
        self.sim.restore(state["physics"].cpu().numpy())
        for name, x in state["fields"].items():
            self.sim.fields[name][:] = x.cpu().numpy()
        self.clock = state["clock"].cpu().numpy().copy()
        for generator, numbers in zip(self.generators, state["generators"], strict=True):
            generator.bit_generator.state = numbers

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
        """See tradeoff.envs.make."""
        check_counts(num_envs, max_episode_steps)
        self.body, self.horizon = body, max_episode_steps or 1000
        self.sim = Simulation(gymnasium_model(body.model), num_envs, body.frame_skip, body.fields, body.contacts)
        self.first = self.sim.data[0].qpos.copy(), self.sim.data[0].qvel.copy()
        self.masses = self.sim.model.body_mass
        low, high = self.sim.model.actuator_ctrlrange.astype(np.float32).T
        size = self._observe().shape[1]
        self.spec = EnvSpec(
            id=id, observation_space=spaces.Box(-np.inf, np.inf, (size,), np.float64),
            action_space=spaces.Box(low, high, dtype=np.float32), objectives=body.objectives,
            costs=body.costs, limits=body.limits, ceilings=body.ceilings,
            horizon=self.horizon, discount=0.99, reference_point=(-100.0,) * len(body.objectives),
            backend="mujoco-threads",
        )  # fmt: skip
        super().__init__(num_envs, device, seed)
        self.charged = self.no_cost  # costs of the last step

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
        velocity = fields["qvel"] if limit is None else np.minimum(np.maximum(fields["qvel"], -limit), limit)
        more = [x.reshape(len(x), -1) for x in self.body.observe(self.body, fields)]
        return np.concatenate([fields["qpos"][:, self.body.skip :], velocity, *more], 1)

    def _act(self, action: Array) -> tuple[Array, Array]:
        body, fields = self.body, self.sim.fields
        before = body.place(fields, self.masses).copy()
        self.sim.step(action)
        velocity = (body.place(fields, self.masses) - before) / self.sim.dt
        healthy = np.ones(self.num_envs, bool) if body.healthy is None else body.healthy(fields)
        height = fields["qpos"][:, 1] - self.first[0][1]
        survived = np.ones(self.num_envs) if body.pays_fall else healthy.astype(np.float64)
        moment = Moment(velocity, action, height, survived, fields)
        if body.charges is not None:
            self.charged = self._tensor(body.charges(moment))
        return body.rewards(moment), ~healthy

    def _costs(self) -> Tensor:
        return self.charged
