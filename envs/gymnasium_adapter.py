"""Any gymnasium or mo-gymnasium environment as a VectorEnv: N copies in this process, or in a few worker processes.

Every copy is reset in the step that ended its episode, so there are no reset transitions, and the true final
observation is kept. The state of such environments cannot be read: checkpoints fall on resets (`exact_state` is False).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.arguments import check_counts, read_actions, seed_each
from tradeoff.envs.clocks import clock_of
from tradeoff.envs.errors import BadValue, TradeoffError, user_code
from tradeoff.envs.gymnasium_build import KNOWN, Known, build, single
from tradeoff.envs.gymnasium_copies import Channels, Copies, Factory, shown, told
from tradeoff.envs.gymnasium_costs import Array, Costs, Transition, as_array, find_costs
from tradeoff.envs.gymnasium_workers import Worker, gather
from tradeoff.envs.native import NativeSpaces, flat_space
from tradeoff.envs.protocol import EnvSpec, Step
from tradeoff.envs.shared_generators import SharedGenerators


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
            UserCodeFailed: what builds a copy, or a first step, raised.

        A step raises UserCodeFailed for what an environment or a cost raised; TradeoffError for a cost that is missing
        or holds another count, for an observation of another shape than the first, and for whole numbers outside of
        the declared space; NumericalTrouble for a cost that is not finite.
        """
        check_counts(num_envs, max_episode_steps)
        self.num_envs, self.device = num_envs, torch.device(device)
        self.workers: list[Worker] = []
        self.copies: Copies | None = None
        self.closed, self.warned = False, set[str]()
        seeds = seed_each(seed, num_envs)
        factory = self._factory(env, max_episode_steps, options)
        with (own := SharedGenerators(seeds[0])):
            probe = _probe(factory, id or (env if isinstance(env, str) else ""))
            name = id or (env if isinstance(env, str) else type(probe.unwrapped).__name__)
            self.spec, channels = _describe(
                probe, name, tuple(objectives), costs, tuple(limits), max_episode_steps, workers
            )
            probe.close()
        self.far = _far(self.spec)
        if workers:
            self._start(min(workers, num_envs), seeds, factory, channels, max_episode_steps, own.moved)
        else:
            self.copies = Copies(factory, seeds, channels, max_episode_steps, own.moved)
        self.reset(seeds)

    @staticmethod
    def _factory(env: str | Factory, max_episode_steps: int | None, options: dict[str, Any]) -> Factory:
        if not isinstance(env, str):
            if options:
                raise BadValue(f"options {', '.join(options)}: a function that builds the environment takes none")
            return env
        return partial(build, env, max_episode_steps, options)

    def _start(self, count: int, seeds: list[int], factory: Factory, *arguments: Any) -> None:
        parts = [part.tolist() for part in np.array_split(np.arange(self.num_envs), count)]
        self.cuts = np.array([part[0] for part in parts[1:]], int)
        try:
            for part in parts:
                mine = [seeds[i] for i in part]
                self.workers.append(Worker(factory, mine, *arguments, part[0]))
            gather(self.workers)
        except TradeoffError:
            self.close()
            raise

    def _call(self, name: str, argument: Array) -> list[Any]:
        if self.closed:
            raise TradeoffError(f"{self.spec.id} was closed; make it anew")
        if self.copies is not None:
            return [getattr(self.copies, name)(argument)]
        for worker, part in zip(self.workers, np.array_split(argument, self.cuts), strict=True):
            worker.send(name, part)
        return gather(self.workers)

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset."""
        seeds = [None] * self.num_envs if seed is None else seed_each(seed, self.num_envs)
        observation = np.concatenate(self._call("reset", np.array(seeds, dtype=object)))
        self._warn_of_far(observation)
        return self._tensor(observation)

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step, and the constructor for what it raises."""
        answers = self._call("step", read_actions(self.spec, self.num_envs, action))
        observation, reward, cost, terminated, truncated, final = map(np.concatenate, zip(*answers, strict=True))
        self._warn_of_sign(cost)
        self._warn_of_far(final)
        step = Step(*map(self._tensor, (observation, reward, cost, terminated, truncated, final)))
        return step if (terminated | truncated).any() else step._replace(final_observation=step.observation)

    def _warn_of_sign(self, cost: Array) -> None:
        below = (cost < 0).any(0)
        if below.any():
            name = self.spec.costs[int(below.argmax())]
            self._warn(
                "sign",
                f"cost {name!r} of {self.spec.id} is negative in some steps, and a cost is kept low: where it is a "
                "penalty, turn its sign by a minus before its source",
            )

    def _warn_of_far(self, observation: Array) -> None:
        if self.far is None or "far" in self.warned:
            return
        beyond = (observation < self.far[0]) | (observation > self.far[1])
        if beyond.any():
            copy, number = (int(i) for i in np.argwhere(beyond)[0])
            low, high = (bound.ravel()[number] for bound in _limits(self.spec))
            self._warn(
                "far",
                f"number {number} of the observation of {self.spec.id} is {observation[copy, number]:g} in copy "
                f"{copy}, far outside of its space, {low:g} to {high:g}: repair it, or declare a wider space",
            )

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self.warned:
            self.warned.add(kind)
            warnings.warn(message, stacklevel=1)  # one place for all copies, so that it is said once

    def _tensor(self, x: Array) -> Tensor:
        return torch.as_tensor(x, device=self.device)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: see `exact_state`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing: see `exact_state`."""

    def close(self) -> None:
        """See VectorEnv.close."""
        self.closed = True
        for worker in self.workers:
            worker.close()
        self.workers = []
        if self.copies is not None:
            self.copies.close()

    def __del__(self) -> None:
        for worker in getattr(self, "workers", []):
            worker.process.kill()


def _limits(spec: EnvSpec) -> tuple[Array, Array]:
    return spec.observation_space.low, spec.observation_space.high  # type: ignore[attr-defined]


def _far(spec: EnvSpec) -> tuple[Array, Array] | None:
    """Numbers beyond which an observation is taken to be a mistake: 1000 widths outside of its bounds, or a million
    times a bound where there is but one. None where nothing is bounded.
    """
    if not isinstance(spec.observation_space, spaces.Box) or spec.observation_space.dtype.kind != "f":
        return None
    low, high = (bound.astype(np.float64) for bound in _limits(spec))
    if not (np.isfinite(low) | np.isfinite(high)).any():
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        width = np.where(np.isfinite(high - low), 1e3 * (high - low), np.inf)
        reach = [np.minimum(width, 1e6 * np.maximum(1.0, np.abs(bound))) for bound in (low, high)]
        return np.where(np.isfinite(low), low - reach[0], low), np.where(np.isfinite(high), high + reach[1], high)


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
    native = NativeSpaces(env.observation_space, env.action_space)
    observed, acted = flat_space(native.observation), _choices(native.action)
    first = _first_step(env, name)
    known, m = KNOWN.get(name, Known(())), as_array(first.reward).size
    names = objectives or known.objectives or (("reward",) if m == 1 else tuple(f"objective_{i}" for i in range(m)))
    if len(names) != m:
        raise BadValue(f"{len(names)} names for {m} objectives: {', '.join(names)}")
    with user_code(name, "in a cost of its first step"):
        channels = Channels(name, m, find_costs(name, costs, first, names))
    if limits and len(limits) != len(channels.names):
        raise BadValue(f"{len(limits)} limits for {len(channels.names)} costs: {', '.join(channels.names)}")
    point = known.reference_point
    spec = EnvSpec(
        id=name, observation_space=observed, action_space=acted, native=native,
        objectives=tuple(names[i] for i in channels.left),
        costs=channels.names, limits=limits,
        horizon=min((steps for steps in (horizon, clock_of(env)) if steps is not None), default=None),
        reference_point=point and tuple(point[i] for i in channels.left), discount=known.discount,
        backend="gymnasium-async" if workers else "gymnasium-sync",
    )  # fmt: skip
    return spec, channels


def _probe(factory: Factory, name: str) -> Any:
    """A copy to look at. name: of what was asked for; empty where a function was given."""
    called = str(getattr(factory, "__name__", "the environment"))
    name = name or ("the environment" if called == "<lambda>" else called)
    with user_code(name, "when a copy was built"):
        env = factory()
    return single(env, name)


def _first_step(env: Any, name: str) -> Transition:
    env.action_space.seed(0)
    with user_code(name, "in its first reset"):
        before = deepcopy(shown(env.reset(seed=0)))
    action = env.action_space.sample()
    with user_code(name, "in its first step", 1):
        seen, reward, _, _, info = told(env.step(deepcopy(action)))
    return Transition(before, action, seen, reward, info)


def _choices(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of actions as policies see it: options are counted from 0."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        raise TradeoffError(f"action space {space} is not taken; wrap the environment into one Box or MultiDiscrete")
    return spaces.Discrete(space.n) if isinstance(space, spaces.Discrete) else flat_space(space)
