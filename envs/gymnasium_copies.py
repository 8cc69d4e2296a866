"""Copies of one gymnasium environment, in this process or in a worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from tradeoff.envs.errors import NumericalTrouble, TradeoffError, UserCodeFailed
from tradeoff.envs.gymnasium_costs import Array, Cost, Transition, numbers
from tradeoff.envs.native import element, flat, unflat
from tradeoff.envs.shared_generators import SharedGenerators

Factory = Callable[[], Any]


def told(answer: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
    """Observation, reward, terminated, truncated, info; a cost returned between reward and flags moves into info.

    Raises: TradeoffError for another number of values, or an info that is no dictionary.
    """
    if not isinstance(answer, tuple) or len(answer) not in (5, 6):
        count = f"{len(answer)} values" if isinstance(answer, tuple) else type(answer).__name__
        raise TradeoffError(
            f"a step returned {count}; expected observation, reward, terminated, truncated, info, or the "
            "cost after the reward, too: wrap the environment (one that returns 4: tradeoff.envs.old_steps.OldSteps)"
        )
    seen, reward, *cost, terminated, truncated, info = answer
    if not isinstance(info, Mapping):
        raise TradeoffError(f"a step's info is {info!r:.60}; expected a dictionary, {{}} where there is nothing to say")
    said = {**info, "cost": cost[0]} if cost else dict(info)
    return seen, reward, bool(terminated), bool(truncated), said


def shown(answer: Any) -> Any:
    """The observation that a reset returned. Raises: TradeoffError where it did not return observation and info."""
    if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], Mapping):
        raise TradeoffError(
            f"a reset returned {type(answer).__name__}; expected a tuple of observation and info, a dictionary: wrap "
            "the environment (one that returns the observation alone: tradeoff.envs.old_steps.OldSteps)"
        )
    return answer[0]


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

    def __init__(
        self,
        factory: Factory,
        seeds: Sequence[int],
        channels: Channels,
        horizon: int | None,
        every: bool,
        first: int = 0,
    ) -> None:
        """seeds: one per copy. horizon: cut episodes after so many steps, on top of the environment's own. every:
        whether copies are known to draw from `random` or torch's generator. first: the number of the first copy among
        all there are, for complaints.

        Raises, as every method: UserCodeFailed with what the environment raised.
        """
        self.channels, self.horizon, self.first, self.every = channels, horizon, first, every
        self.own = [SharedGenerators(seed, every) for seed in seeds]
        self.together = SharedGenerators(seeds[0])  # what is not a copy's own is theirs together, and not the program's
        self.steps = [0] * len(seeds)  # since each copy was built
        self.clock = [0] * len(seeds)
        self.before: list[Any] = [None] * len(seeds)  # what each copy showed last, as it showed it
        self.envs: list[Any] = []
        with self.together:
            for i in range(len(seeds)):
                self.envs.append(self._run(i, "while building", lambda _: factory()))
        self.sees, self.takes = self.envs[0].observation_space, self.envs[0].action_space

    def _run(self, i: int, doing: str, what: Callable[..., Any], *arguments: Any) -> Any:
        """Run a copy's code with its own shared generators, and let complaints say where they come from."""
        try:
            with self.own[i]:
                return what(i, *arguments)
        except UserCodeFailed:
            raise
        except TradeoffError as error:
            error.args = (f"{self.channels.env}, {self._place(i, doing)}: {error}",)
            raise
        except (Exception, SystemExit) as error:
            raise UserCodeFailed(self.channels.env, error, self._place(i, doing), self.steps[i]) from error

    def _place(self, i: int, doing: str) -> str:
        return f"{doing.format(step=self.steps[i])} copy {self.first + i}"

    def reset(self, seeds: Sequence[int | None]) -> Array:
        """First observations [count, d]; seed None goes on with a copy's own generator."""
        if seeds[0] is not None:
            self.together = SharedGenerators(seeds[0])
        with self.together:
            return np.concatenate([self._begin(i, seed) for i, seed in enumerate(seeds)])

    def _begin(self, i: int, seed: int | None) -> Array:
        if seed is not None:
            self.own[i] = SharedGenerators(seed, self.every)
        found: Array = self._run(i, "in a reset after step {step} of", self._reset, seed)
        return found

    def _reset(self, i: int, seed: int | None) -> Array:
        seen = shown(self.envs[i].reset(seed=seed))
        self.clock[i] = 0
        self._remember(i, seen)
        return flat(self.sees, seen)

    def _remember(self, i: int, seen: Any) -> None:
        if self.channels.remembers:
            self.before[i] = deepcopy(seen)  # some environments write the next observation into the same array

    def step(self, actions: Array) -> tuple[Array, ...]:
        """Observation, reward, cost, terminated, truncated, final observation."""
        given = unflat(self.takes, actions)
        with self.together:
            rows = [self._one(i, element(self.takes, given, i)) for i in range(len(given))]
        observation, reward, cost, terminated, truncated, final = zip(*rows, strict=True)
        seen, last = np.concatenate(observation), np.concatenate(final)
        return seen, np.stack(reward), np.stack(cost), np.array(terminated), np.array(truncated), last

    def _one(self, i: int, action: Any) -> tuple[Any, ...]:
        self.steps[i] += 1
        self.clock[i] += 1
        final, reward, cost, terminated, truncated = self._run(i, "in step {step} of", self._step, action)
        observation = final
        if terminated or truncated:
            final = final.copy()  # see _remember
            observation = self._begin(i, None)
        return observation, reward, cost, terminated, truncated, final

    def _step(self, i: int, action: Any) -> tuple[Any, ...]:
        seen, reward, terminated, truncated, info = told(self.envs[i].step(action))
        paid = self.channels(Transition(self.before[i], action, seen, reward, info))
        truncated = (truncated or self.clock[i] == self.horizon) and not terminated
        self._remember(i, seen)
        return flat(self.sees, seen), *paid, terminated, truncated

    def close(self) -> None:
        """Close every copy."""
        for i, env in enumerate(self.envs):
            self._run(i, "while closing", lambda _, env: env.close(), env)
