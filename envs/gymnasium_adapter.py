"""Any gymnasium or mo-gymnasium environment as a VectorEnv: N copies in this process, or in a few worker processes.

Every copy is reset in the step that ended its episode, so there are no reset transitions, and the true final observation
is kept. The state of such environments cannot be read: checkpoints fall on resets (`exact_state` is False).
"""

from __future__ import annotations

import multiprocessing as mp
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from envs.errors import MissingExtra, TradeoffError
from envs.protocol import EnvSpec, Step

Factory = Callable[[], Any]
EXTRAS = {"mujoco": "mujoco", "imageio": "mujoco", "Box2D": "box2d", "safety_gymnasium": "safety"}
REFERENCES: dict[str, tuple[float, ...]] = {
    "mo-lunar-lander-v3": (-101.0, -1001.0, -101.0, -101.0),
    "mo-lunar-lander-continuous-v3": (-110.0, -400.0, -100.0, -100.0),
}


@cache
def gymnasium_ids(mo_only: bool = False) -> frozenset[str]:
    """Ids that gymnasium knows once mo-gymnasium has registered its own."""
    before = set(gym.registry)
    import mo_gymnasium  # noqa: F401 - registers its environments

    mo = {id for id, spec in gym.registry.items() if "mo_gymnasium" in str(spec.entry_point)}
    return frozenset(mo if mo_only else before | set(gym.registry))


def _build(id: str, max_episode_steps: int | None) -> Any:
    gymnasium_ids()
    limit = {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
    try:
        return gym.make(id, disable_env_checker=True, **limit)
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        missing = getattr(error, "name", None) or next((m for m in EXTRAS if m.lower() in str(error).lower()), None)
        if missing in EXTRAS:
            raise MissingExtra(id, missing, EXTRAS[missing]) from None
        raise


class Copies:
    """Some copies of one environment, stepped in a row. Everything comes out as numpy arrays."""

    def __init__(self, factory: Factory, count: int, costs: Sequence[str], horizon: int | None) -> None:
        """costs: keys of the step's info. horizon: cut episodes after so many steps, on top of the environment's own."""
        self.envs = [factory() for _ in range(count)]
        self.space, self.costs, self.horizon = self.envs[0].observation_space, costs, horizon
        self.clock = [0] * count

    def reset(self, seeds: Sequence[int | None]) -> np.ndarray:
        """First observations [count, d]; seed None goes on with a copy's own generator."""
        self.clock = [0] * len(self.envs)
        return np.stack([self._flat(env.reset(seed=seed)[0]) for env, seed in zip(self.envs, seeds, strict=True)])

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Observation, reward, cost, terminated, truncated, final observation."""
        return tuple(map(np.stack, zip(*map(self._one, range(len(self.envs)), actions), strict=True)))

    def _one(self, i: int, action: np.ndarray) -> tuple[Any, ...]:
        env = self.envs[i]
        seen, reward, terminated, truncated, info = env.step(action)
        self.clock[i] += 1
        truncated = (truncated or self.clock[i] == self.horizon) and not terminated
        final = observation = self._flat(seen)
        if terminated or truncated:
            observation, self.clock[i] = self._flat(env.reset()[0]), 0
        paid = np.atleast_1d(np.asarray(reward, dtype=np.float64))
        return observation, paid, cost_of(info, self.costs), bool(terminated), bool(truncated), final

    def _flat(self, seen: Any) -> np.ndarray:
        return flat(self.space, seen)

    def close(self) -> None:
        """Close every copy."""
        for env in self.envs:
            env.close()


def cost_of(info: dict[str, Any], names: Sequence[str]) -> np.ndarray:
    """Costs [k] from a step's info, in the order of the names; an array under one name gives several."""
    parts = [np.atleast_1d(np.asarray(info.get(name, 0.0), dtype=np.float64)) for name in names]
    return np.concatenate(parts) if parts else np.zeros(0)


def flat(space: spaces.Space[Any], seen: Any) -> np.ndarray:
    """An observation as numbers [d]: whole numbers stay whole, dictionaries and tuples are flattened as gymnasium does."""
    if isinstance(space, (spaces.Box, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Discrete)):
        return np.asarray(seen).reshape(-1)
    return np.asarray(spaces.flatten(space, seen)).reshape(-1)


def flat_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of `flat`'s answers."""
    if isinstance(space, (spaces.Box, spaces.MultiDiscrete, spaces.Discrete)):
        return space
    if isinstance(space, spaces.MultiBinary):
        return spaces.MultiDiscrete([2] * int(np.prod(space.shape)))
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        return spaces.flatten_space(space)
    raise TradeoffError(f"observation space {space} cannot be flattened into numbers; wrap the environment")


def _serve(pipe: Any, factory: Factory, count: int, costs: Sequence[str], horizon: int | None) -> None:
    """A worker: answer calls until told to close; an error travels back with its traceback."""
    copies = Copies(factory, count, costs, horizon)
    try:
        while (call := pipe.recv()) is not None:
            name, argument = call
            try:
                pipe.send((True, getattr(copies, name)(argument)))
            except Exception:
                pipe.send((False, traceback.format_exc()))
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        copies.close()


class Worker:
    """A process that holds some copies; calls are sent first and answered later."""

    def __init__(self, *arguments: Any) -> None:
        """arguments: of `Copies`."""
        self.pipe, other = mp.Pipe()
        self.process = mp.get_context("fork").Process(target=_serve, args=(other, *arguments), daemon=True)
        self.process.start()
        other.close()

    def send(self, name: str, argument: Any) -> None:
        """Begin a call."""
        self.pipe.send((name, argument))

    def receive(self) -> Any:
        """Its answer. Raises TradeoffError with the worker's traceback."""
        try:
            fine, answer = self.pipe.recv()
        except EOFError:
            raise TradeoffError(f"an environment process died (exit code {self.process.exitcode})") from None
        if not fine:
            raise TradeoffError(f"an environment raised in its process:\n{answer}")
        return answer

    def close(self) -> None:
        """End the process."""
        if self.process.is_alive():
            self.pipe.send(None)
            self.process.join(5)
        self.pipe.close()


class GymnasiumEnv:
    """See the module."""

    exact_state = False

    def __init__(
        self,
        env: str | Factory,
        num_envs: int,
        device: torch.device | str = "cpu",
        seed: int = 0,
        max_episode_steps: int | None = None,
        *,
        id: str | None = None,
        objectives: Sequence[str] = (),
        costs: Sequence[str] | None = None,
        limits: Sequence[float] = (),
        workers: int = 0,
    ) -> None:
        """Copies of one environment.

        Args:
            env: an id, or a function that builds one copy.
            objectives: names of the reward's channels; made up where they are not given.
            costs: keys of the step's info that hold costs; None looks for "cost" in one step of a copy.
            workers: processes; 0 steps all copies in this one.
        """
        factory: Factory = (lambda: _build(env, max_episode_steps)) if isinstance(env, str) else env
        probe = factory()
        self.space, self.num_envs, self.device = probe.observation_space, num_envs, torch.device(device)
        names, found = _probe(probe, objectives, costs)
        horizon = max_episode_steps or (probe.spec.max_episode_steps if probe.spec is not None else None)
        name = id or (env if isinstance(env, str) else type(probe.unwrapped).__name__)
        self.spec = EnvSpec(
            id=name, observation_space=flat_space(self.space), action_space=probe.action_space, objectives=names,
            costs=found[1], limits=tuple(limits), horizon=horizon, reference_point=REFERENCES.get(name),
            backend="gymnasium-async" if workers else "gymnasium-sync",
        )  # fmt: skip
        probe.close()
        sizes = [len(part) for part in np.array_split(np.arange(num_envs), workers or 1)]
        self.cuts = np.cumsum(sizes)[:-1]
        options = (found[0], max_episode_steps)
        self.workers = [Worker(factory, size, *options) for size in sizes] if workers else []
        self.copies = None if workers else Copies(factory, num_envs, *options)
        self.reset(seed)

    def _call(self, name: str, argument: Any) -> list[Any]:
        if self.copies is not None:
            return [getattr(self.copies, name)(argument)]
        parts = np.array_split(np.asarray(argument), self.cuts)
        for worker, part in zip(self.workers, parts, strict=True):
            worker.send(name, part.tolist() if name == "reset" else part)
        return [worker.receive() for worker in self.workers]

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset."""
        seeds = [None] * self.num_envs if seed is None else seed
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seeds)  # type: ignore[arg-type]
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds were given for {self.num_envs} environments")
        return self._tensor(np.concatenate(self._call("reset", seeds)))

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step."""
        answers = self._call("step", action.detach().cpu().numpy())
        return Step(*map(self._tensor, map(np.concatenate, zip(*answers, strict=True))))

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.as_tensor(x, device=self.device)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: see `exact_state`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing: see `exact_state`."""

    def close(self) -> None:
        """See VectorEnv.close."""
        for worker in self.workers:
            worker.close()
        if self.copies is not None:
            self.copies.close()

    def __del__(self) -> None:
        for worker in getattr(self, "workers", []):
            worker.process.kill()


def _probe(env: Any, objectives: Sequence[str], costs: Sequence[str] | None) -> tuple[tuple[str, ...], Any]:
    """Names of the objectives; keys and names of the costs."""
    if hasattr(env.unwrapped, "reward_space"):
        m = int(np.prod(env.unwrapped.reward_space.shape))
    else:
        m = len(objectives) or 1
    names = tuple(objectives) or (("reward",) if m == 1 else tuple(f"objective_{i}" for i in range(m)))
    if len(names) != m:
        raise ValueError(f"{len(names)} names for {m} objectives: {', '.join(names)}")
    env.reset(seed=0)
    info = env.step(env.action_space.sample())[-1]
    keys = tuple(costs) if costs is not None else ("cost",) if "cost" in info else ()
    widths = [len(cost_of(info, (key,))) for key in keys]
    channels = [key if w == 1 else f"{key}_{i}" for key, w in zip(keys, widths, strict=True) for i in range(w)]
    return names, (keys, tuple(channels))
