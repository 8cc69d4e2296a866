"""Any gymnasium or mo-gymnasium environment as a VectorEnv: N copies in this process, or in a few worker processes.

Every copy is reset in the step that ended its episode, so there are no reset transitions, and the true final
observation is kept. The state of such environments cannot be read: checkpoints fall on resets (`exact_state` is False).
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.arguments import check_counts, read_actions, seed_each
from tradeoff.envs.entry_points import built
from tradeoff.envs.errors import MissingExtra, TradeoffError
from tradeoff.envs.gymnasium_copies import Channels, Copies, Factory, Worker, flat_space, gather, told
from tradeoff.envs.gymnasium_costs import Array, Costs, Transition, find_costs, find_module
from tradeoff.envs.protocol import EnvSpec, Step

EXTRAS = {"mujoco": "mujoco", "imageio": "mujoco", "Box2D": "box2d"}


class Known(NamedTuple):
    """What the literature says of an environment that has no faster version here."""

    objectives: tuple[str, ...]
    reference_point: tuple[float, ...] | None = None


LANDER = ("landing", "shaping", "main_engine", "side_engines")
KNOWN = {
    "mo-lunar-lander-v3": Known(LANDER, (-101.0, -1001.0, -101.0, -101.0)),
    "mo-lunar-lander-continuous-v3": Known(LANDER, (-110.0, -400.0, -100.0, -100.0)),
    "mo-highway-v0": Known(("speed", "right_lane", "collision")),
    "mo-highway-fast-v0": Known(("speed", "right_lane", "collision")),
    "mo-supermario-v0": Known(("progress", "time", "death", "coin", "enemy")),
}


def gymnasium_ids(mo_only: bool = False) -> frozenset[str]:
    """Ids that gymnasium knows now, mo-gymnasium's among them."""
    importlib.import_module("mo_gymnasium")  # registers its environments
    return frozenset(id for id, spec in gym.registry.items() if not mo_only or "mo_gymnasium" in str(spec.entry_point))


def _build(id: str, horizon: int | None, options: dict[str, Any]) -> Any:
    """One copy: of a registered id, or of what `package.module:name` stands for, a class, a function or an id."""
    home, _, name = id.rpartition(":")
    limit = {} if horizon is None else {"max_episode_steps": horizon}
    try:
        module = find_module(home, id) if home else gym
        if home and hasattr(module, name):
            return built(getattr(module, name), id, options)
        own = getattr(module, "make", gym.make)  # a package's own knows the wrappers that its steps need
        maker = own if own.__module__.split(".")[0] == home.split(".")[0] else gym.make
        return maker(name, disable_env_checker=True, **limit, **options)
    except (ImportError, gym.error.Error) as error:
        missing = getattr(error, "name", None) or next((m for m in EXTRAS if m.lower() in str(error).lower()), None)
        if missing in EXTRAS:
            raise MissingExtra(id, missing, EXTRAS[missing]) from None
        known = isinstance(error, gym.error.Error) and not isinstance(error, gym.error.DependencyNotInstalled)
        way_out = "`tradeoff envs` lists what is known" if known else "install what it asks for"
        raise TradeoffError(f"{id} does not start here: {error}; {way_out}") from None


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
        costs: Costs | None = None,
        limits: Sequence[float] = (),
        workers: int = 0,
        **options: Any,
    ) -> None:
        """Copies of one environment.

        Args:
            env: an id, `package.module:name` of an id or a class, or a function that builds one copy.
            objectives: names of the reward's columns, those that become costs among them; made up where not given.
            costs: keys of the step's info, parts of its reward, functions of (observation, action, next observation,
                info), or a dictionary that names them; a number or several each (see `find_costs`). None looks for
                "cost" in the info, where a cost that a step returns after the reward is put, too.
            limits: of the costs, per episode.
            workers: processes; 0 steps all copies in this one.
            options: for `gymnasium.make`, where env is an id.

        Raises:
            TradeoffError: spaces that are no numbers; a cost that a first step does not report.
            MissingExtra: a package is not installed.

        A step raises TradeoffError for a cost that is missing or holds another count, NumericalTrouble for one that is
        not finite.
        """
        check_counts(num_envs, max_episode_steps)
        self.num_envs, self.device = num_envs, torch.device(device)
        self.workers: list[Worker] = []
        self.copies: Copies | None = None
        self.warned = False
        factory = self._factory(env, max_episode_steps, options)
        probe = factory()
        name = id or (env if isinstance(env, str) else type(probe.unwrapped).__name__)
        self.spec, channels = _describe(
            probe, name, tuple(objectives), costs, tuple(limits), max_episode_steps, workers
        )
        probe.close()
        if workers:
            self._start(min(workers, num_envs), factory, channels, max_episode_steps)
        else:
            self.copies = Copies(factory, num_envs, channels, max_episode_steps)
        self.reset(seed)

    @staticmethod
    def _factory(env: str | Factory, max_episode_steps: int | None, options: dict[str, Any]) -> Factory:
        if not isinstance(env, str):
            if options:
                raise TypeError(f"options {', '.join(options)}: a function that builds the environment takes none")
            return env
        if ":" not in env:
            importlib.import_module("mo_gymnasium")  # registers its environments
        return lambda: _build(env, max_episode_steps, options)

    def _start(self, count: int, *arguments: Any) -> None:
        factory, channels, horizon = arguments
        sizes = [len(part) for part in np.array_split(np.arange(self.num_envs), count)]
        self.cuts = np.cumsum(sizes)[:-1]
        self.workers = [Worker(factory, size, channels, horizon) for size in sizes]
        try:
            gather(self.workers)
        except TradeoffError:
            self.close()
            raise

    def _call(self, name: str, argument: Array) -> list[Any]:
        if self.copies is not None:
            return [getattr(self.copies, name)(argument)]
        for worker, part in zip(self.workers, np.array_split(argument, self.cuts), strict=True):
            worker.send(name, part)
        return gather(self.workers)

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset."""
        seeds = [None] * self.num_envs if seed is None else seed_each(seed, self.num_envs)
        return self._tensor(np.concatenate(self._call("reset", np.array(seeds, dtype=object))))

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step. Raises: TradeoffError with the traceback of what an environment raised in a worker."""
        answers = self._call("step", read_actions(self.spec, self.num_envs, action))
        observation, reward, cost, terminated, truncated, final = map(np.concatenate, zip(*answers, strict=True))
        self._warn(cost)
        step = Step(*map(self._tensor, (observation, reward, cost, terminated, truncated, final)))
        return step if (terminated | truncated).any() else step._replace(final_observation=step.observation)

    def _warn(self, cost: Array) -> None:
        below = (cost < 0).any(0)
        if below.any() and not self.warned:
            self.warned, name = True, self.spec.costs[int(below.argmax())]
            warnings.warn(
                f"cost {name!r} of {self.spec.id} is negative in some steps, and a cost is kept low: where it is a "
                "penalty, turn its sign by a minus before its source",
                stacklevel=1,  # one place for all copies, so that it is said once
            )

    def _tensor(self, x: Array) -> Tensor:
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
        self.workers = []
        if self.copies is not None:
            self.copies.close()

    def __del__(self) -> None:
        for worker in getattr(self, "workers", []):
            worker.process.kill()


def _describe(
    env: Any,
    name: str,
    objectives: tuple[str, ...],
    costs: Costs | None,
    limits: tuple[float, ...],
    horizon: int | None,
    workers: int,
) -> tuple[EnvSpec, Channels]:
    """Specification of an environment, and how to read its channels, from one step of a copy."""
    env.action_space.seed(0)
    before, action = deepcopy(env.reset(seed=0)[0]), env.action_space.sample()
    seen, reward, _, _, info = told(env.step(action))
    known = KNOWN.get(name, Known(()))
    m = np.size(reward)
    names = objectives or known.objectives or (("reward",) if m == 1 else tuple(f"objective_{i}" for i in range(m)))
    if len(names) != m:
        raise ValueError(f"{len(names)} names for {m} objectives: {', '.join(names)}")
    channels = Channels(name, m, find_costs(name, costs, Transition(before, action, seen, reward, info), names))
    if limits and len(limits) != len(channels.names):
        raise ValueError(f"{len(limits)} limits for {len(channels.names)} costs: {', '.join(channels.names)}")
    point = known.reference_point
    spec = EnvSpec(
        id=name, observation_space=flat_space(env.observation_space), action_space=_choices(env.action_space),
        objectives=tuple(names[i] for i in channels.left),
        costs=channels.names, limits=limits,
        horizon=horizon or (env.spec.max_episode_steps if env.spec is not None else None),
        reference_point=point and tuple(point[i] for i in channels.left),
        backend="gymnasium-async" if workers else "gymnasium-sync",
    )  # fmt: skip
    return spec, channels


def _choices(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of actions as policies see it: options are counted from 0."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        raise TradeoffError(f"action space {space} is not taken; wrap the environment into one Box or MultiDiscrete")
    return spaces.Discrete(space.n) if isinstance(space, spaces.Discrete) else flat_space(space)
