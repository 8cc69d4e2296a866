"""Copies of one gymnasium environment, in this process or in a worker."""

from __future__ import annotations

import multiprocessing as mp
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from gymnasium import spaces

from tradeoff.envs.errors import NumericalTrouble, TradeoffError
from tradeoff.envs.gymnasium_costs import Array, Cost, Transition, numbers

Factory = Callable[[], Any]


def flat_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of `flat`'s answers, and of the actions that `unflat` takes.

    Raises: TradeoffError for spaces that are no numbers, such as texts and graphs.
    """
    if isinstance(space, spaces.Discrete):
        return space
    if isinstance(space, spaces.MultiDiscrete):
        return spaces.MultiDiscrete(space.nvec.ravel())
    if isinstance(space, spaces.MultiBinary):
        return spaces.MultiDiscrete([2] * int(np.prod(space.shape)))
    found: spaces.Space[Any] = space
    with suppress(NotImplementedError):
        found = spaces.flatten_space(space)
    if not isinstance(found, spaces.Box):
        raise TradeoffError(f"space {space} cannot be flattened into numbers; wrap the environment")
    return found


def flat(space: spaces.Space[Any], seen: Any) -> Array:
    """An observation as numbers [d]: choices stay whole numbers, dictionaries and tuples become gymnasium's vectors."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        return np.asarray(spaces.flatten(space, seen))
    if isinstance(space, spaces.MultiDiscrete):
        return (np.asarray(seen) - space.start).ravel()
    return np.asarray(seen).ravel()


def unflat(space: spaces.Space[Any], row: Any) -> Any:
    """An action for the original environment from our row of numbers, choices counted from 0."""
    if isinstance(space, spaces.Discrete):
        return np.int64(row + space.start)
    if isinstance(space, spaces.MultiDiscrete):
        return row.reshape(space.shape) + space.start
    return row.reshape(space.shape).astype(space.dtype, copy=False)


def told(answer: tuple[Any, ...]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """Observation, reward, terminated, truncated, info; a cost returned between reward and flags moves into info.

    Raises: TradeoffError for another number of values.
    """
    if len(answer) not in (5, 6):
        raise TradeoffError(
            f"a step returned {len(answer)} values; expected observation, reward, terminated, truncated, info, or the "
            "cost after the reward, too: wrap the environment (one that returns 4: tradeoff.envs.old_steps.OldSteps)"
        )
    seen, reward, *cost, terminated, truncated, info = answer
    return seen, reward, terminated, truncated, {**info, "cost": cost[0]} if cost else info


class Channels:
    """How rewards and costs are read from a step."""

    def __init__(self, env: str, objectives: int, costs: Sequence[Cost]) -> None:
        """env: its id, for complaints. objectives: columns of the reward, those that are costs among them."""
        self.env, self.objectives, self.costs = env, objectives, costs
        self.names = tuple(name for cost in costs for name in cost.names)
        self.remembers = any(callable(cost.source) for cost in costs)  # whether a function asks what was seen before
        self.left = [i for i in range(objectives) if i not in {cost.source for cost in costs}]

    def __call__(self, step: Transition) -> tuple[Array, Array]:
        """Rewards [m] and costs [k].

        Raises: TradeoffError for another number of either, or a cost that is missing; NumericalTrouble for one that is
        not finite.
        """
        paid = numbers(step.reward, self.objectives, "reward")
        if not self.costs:
            return paid, np.zeros(0)
        cost = np.concatenate([cost(step) for cost in self.costs])
        if not np.isfinite(cost).all():
            wrong = int(np.flatnonzero(~np.isfinite(cost))[0])
            raise NumericalTrouble(
                f"cost {self.names[wrong]!r} of {self.env} is {cost[wrong]} after action {step.action}; repair the "
                "environment and resume"
            )
        return paid[self.left], cost


class Copies:
    """Some copies of one environment, stepped in a row. Everything comes out as numpy arrays."""

    def __init__(self, factory: Factory, count: int, channels: Channels, horizon: int | None) -> None:
        """horizon: cut episodes after so many steps, on top of the environment's own."""
        self.envs = [factory() for _ in range(count)]
        self.sees, self.takes = self.envs[0].observation_space, self.envs[0].action_space
        self.channels, self.horizon = channels, horizon
        self.clock = [0] * count
        self.before: list[Any] = [None] * count  # what each copy showed last, as it showed it

    def reset(self, seeds: Sequence[int | None]) -> Array:
        """First observations [count, d]; seed None goes on with a copy's own generator."""
        return np.stack([self._begin(i, seed) for i, seed in enumerate(seeds)])

    def _begin(self, i: int, seed: int | None) -> Array:
        seen = self.envs[i].reset(seed=seed)[0]
        self.clock[i] = 0
        self._remember(i, seen)
        return flat(self.sees, seen)

    def _remember(self, i: int, seen: Any) -> None:
        if self.channels.remembers:
            self.before[i] = deepcopy(seen)  # some environments write the next observation into the same array

    def step(self, actions: Array) -> tuple[Array, ...]:
        """Observation, reward, cost, terminated, truncated, final observation."""
        rows = [self._one(i, action) for i, action in enumerate(actions)]
        return tuple(map(np.stack, zip(*rows, strict=True)))

    def _one(self, i: int, action: Any) -> tuple[Any, ...]:
        action = unflat(self.takes, action)
        seen, reward, terminated, truncated, info = told(self.envs[i].step(action))
        self.clock[i] += 1
        paid = self.channels(Transition(self.before[i], action, seen, reward, info))
        truncated = (truncated or self.clock[i] == self.horizon) and not terminated
        final = observation = flat(self.sees, seen)
        if terminated or truncated:
            final = final.copy()  # see _remember
            observation = self._begin(i, None)
        else:
            self._remember(i, seen)
        return observation, *paid, bool(terminated), bool(truncated), final

    def close(self) -> None:
        """Close every copy."""
        for env in self.envs:
            env.close()


def _serve(pipe: Connection, parents: Connection, *arguments: Any) -> None:
    """A worker: answer calls until told to close or left alone; an error travels back with its traceback."""
    parents.close()  # inherited; while it is open here, the end of the parent would go unnoticed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    calls: dict[str, Callable[[Any], Any]] = {}
    with suppress(EOFError, OSError):
        answer = _attempt(lambda _: Copies(*arguments), None)
        if answer[0]:
            copies: Copies = answer[1]
            calls = {"reset": copies.reset, "step": copies.step}
        pipe.send((answer[0], None if answer[0] else answer[1]))
        while calls and (call := pipe.recv()) is not None:
            pipe.send(_attempt(calls[call[0]], call[1]))
    if calls:
        copies.close()


def _attempt(what: Callable[[Any], Any], argument: Any) -> tuple[bool, Any]:
    try:
        return True, what(argument)
    except Exception as error:
        plain = type(error) in (TradeoffError, NumericalTrouble)  # others may not survive the way through a pipe
        return False, error if plain else traceback.format_exc()


class Worker:
    """A process that holds some copies; calls are sent first and answered later. Its first answer says it is ready."""

    def __init__(self, *arguments: Any) -> None:
        """arguments: of `Copies`."""
        self.pipe, other = mp.Pipe()
        arguments = (other, self.pipe, *arguments)
        self.process = mp.get_context("fork").Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        other.close()

    def send(self, name: str, argument: Any) -> None:
        """Begin a call; that a process is gone is said by `receive`."""
        with suppress(OSError):
            self.pipe.send((name, argument))

    def receive(self) -> tuple[bool, Any]:
        """Whether it went well, and the answer or the complaint."""
        try:
            fine, answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(1)
            return (
                False,
                f"an environment process is gone (exit code {self.process.exitcode}); make the environment anew",
            )
        if fine or isinstance(answer, TradeoffError):
            return fine, answer
        return False, f"an environment raised in its process; reset before going on:\n{answer}"

    def close(self) -> None:
        """End the process, by force where it does not end by itself."""
        with suppress(OSError):
            self.pipe.send(None)
        self.process.join(5)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def gather(workers: Sequence[Worker]) -> list[Any]:
    """The answers of all workers, so that none is left in a pipe. Raises: TradeoffError with the first complaint."""
    answers = [worker.receive() for worker in workers]
    complaint = next((answer for fine, answer in answers if not fine), None)
    if complaint is not None:
        raise complaint if isinstance(complaint, TradeoffError) else TradeoffError(complaint)
    return [answer for _, answer in answers]
