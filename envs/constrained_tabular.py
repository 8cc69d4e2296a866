"""Finite problems with limits whose best value and prices are known exactly.

Where the literature discounts, an episode here goes on with that probability after every step: its expected sums are
the discounted ones, so limits per episode, scores and linear program all measure the same, and the best policy needs
no clock. "Normalised" rewards and costs are multiplied by 1 - discount, as the literature does with their sums.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.envs.finite import FiniteEnv, FiniteModel
from tradeoff.envs.tabular import finite_arrays, make_tabular

SIDE, SLIP = 5, 0.1
GOAL = (4, 0)
LAVA = {(2, 0): 1.0, (2, 1): 1.0, (2, 2): 0.3}
MUD = {(2, 2): 1.0, (2, 3): 0.6, (1, 3): 0.2}
GRID_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left
ARRIVAL, PLACES, HOURS = 0.4, 12, 100  # chance of a customer per step, customers that fit, steps
SERVICE, EFFORT = (0.0, 0.35, 0.75), (0.0, 0.2, 1.0)  # of resting, working and hurrying


class Problem(NamedTuple):
    """A model with the names of its channels."""

    model: Callable[[], FiniteModel]
    costs: tuple[str, ...]
    limits: tuple[float, ...]  # per episode
    ceilings: tuple[float, ...]  # largest cost of a step
    objectives: tuple[str, ...] = ("reward",)


def mortal(
    transition: ArrayLike, reward: ArrayLike, cost: ArrayLike, discount: float, *, scale: float, ends: bool = False
) -> FiniteModel:
    """A problem whose expected sums per episode are `scale` times the discounted ones of an endless problem.

    Args:
        transition: [S, A, S].
        reward: [S, A, m] or [S, A, S, m]. cost: likewise, k.
        discount: chance to go on after a step; else a last, terminal state follows. The first state is 0.
        ends: the endless problem's last state is such an end already.
    """
    endless = finite_arrays(transition, reward, cost=cost)
    live, actions = len(endless.transition) - ends, endless.transition.shape[1]
    p = np.zeros((live + 1, actions, live + 1))
    p[:-1, :, :-1] = discount * endless.transition[:live, :, :live]
    p[..., -1] = 1 - p[..., :-1].sum(-1)
    paid, charged = (scale * np.pad(x[:live], ((0, 1), (0, 0), (0, 0))) for x in (endless.reward, endless.cost))
    return finite_arrays(p, paid, cost=charged, terminal=np.arange(live + 1) == live)


def two_states() -> FiniteModel:
    """Two states, two actions, everything that pays also costs. Discount 0.9, normalised."""
    transition = [[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.1, 0.9]]]
    reward, cost = np.array([[[0.0], [0.2]], [[0.5], [1.0]]]), np.array([[[0.0], [0.3]], [[0.2], [1.0]]])
    return mortal(transition, reward, cost, 0.9, scale=0.1)


def paradox_same() -> FiniteModel:
    """One state: the second action pays 1 and costs 1. Discount 0.9, normalised."""
    paid = np.array([[[0.0], [1.0]]])
    return mortal(np.ones((1, 2, 1)), paid, paid, 0.9, scale=0.1)


def paradox_cycle() -> FiniteModel:
    """Staying in state 0 pays 1; moving to state 1 and staying there is of use. The cost is the use that is missed.

    "Use of at least 1/2" reads "at most 1/2 missed", because normalised sums of both add up to 1. Discount 0.9.
    """
    transition, reward, missed = np.zeros((2, 2, 2)), np.zeros((2, 2, 1)), np.ones((2, 2, 1))
    transition[0, 0, 0] = transition[0, 1, 1] = transition[1, 0, 1] = transition[1, 1, 0] = 1.0
    reward[0, 0] = 1.0
    missed[0, 1] = missed[1, 0] = 0.0
    return mortal(transition, reward, missed, 0.9, scale=0.1)


def grid() -> FiniteModel:
    """5 x 5 cells, from the upper left to the lower left: the straight way is barred by lava and mud.

    A move goes astray with probability 0.1, rewards and costs are paid on arrival. Discount 0.9.
    """
    states = SIDE**2 + 1  # the last one after the goal
    transition, paid = np.zeros((states, 4, states)), np.zeros((states, 4, states, 3))
    for s in range(SIDE**2):
        for action, move in enumerate(GRID_MOVES):
            cell = tuple(min(max(x + d, 0), SIDE - 1) for x, d in zip(divmod(s, SIDE), move, strict=True))
            after = states - 1 if divmod(s, SIDE) == GOAL else cell[0] * SIDE + cell[1]
            transition[s, :, after] += SLIP / 4
            transition[s, action, after] += 1 - SLIP
    for row, column in np.ndindex(SIDE, SIDE):
        cell = (row, column)
        paid[:, :, row * SIDE + column] = cell == GOAL, LAVA.get(cell, 0.0), MUD.get(cell, 0.0)
    transition[-1, :, -1] = 1.0
    return mortal(transition, paid[..., :1], paid[..., 1:], 0.9, scale=1.0, ends=True)


def random_problem(
    seed: int = 0, states: int = 12, actions: int = 4, costs: int = 2, discount: float = 0.9
) -> FiniteModel:
    """A problem drawn from a seed: Dirichlet(0.3) successors, rewards and costs uniform on [0, 1]; normalised."""
    draw = np.random.default_rng(seed)
    transition = draw.dirichlet(np.full(states, 0.3), (states, actions))
    paid = draw.random((states, actions, 1 + costs))
    return mortal(transition, paid[..., :1], paid[..., 1:], discount, scale=1 - discount)


def queue() -> FiniteModel:
    """One queue, 100 steps: the server rests, works or hurries; effort saved is the reward, who waits the cost.

    In every step a customer comes with probability ARRIVAL if there is a place, then one leaves with the probability of
    the service. The cost is the mean number of customers after the service, bounded where the server keeps up.
    """
    p = np.zeros((PLACES + 1, 3, PLACES + 1))
    for waiting in range(PLACES + 1):
        for action, done in enumerate(SERVICE):
            for come, chance in ((0, 1 - ARRIVAL), (1, ARRIVAL)):
                now = min(waiting + come, PLACES)
                p[waiting, action, max(now - 1, 0)] += chance * done
                p[waiting, action, now] += chance * (1 - done)
    saved = np.broadcast_to(1.0 - np.array(EFFORT), (PLACES + 1, 3))[..., None]
    after = np.broadcast_to(np.arange(PLACES + 1.0), p.shape)[..., None]
    return finite_arrays(p, saved / HOURS, cost=after / HOURS, horizon=HOURS)


PROBLEMS = {
    "safe-two-states-v0": Problem(two_states, ("cost",), (0.3,), (0.1,)),
    "safe-paradox-same-v0": Problem(paradox_same, ("cost",), (0.5,), (0.1,)),
    "safe-paradox-cycle-v0": Problem(paradox_cycle, ("missed",), (0.5,), (0.1,)),
    "safe-grid-v0": Problem(grid, ("lava", "mud"), (0.25, 0.15), (1.0, 1.0)),
    "safe-random-v0": Problem(random_problem, ("cost_0", "cost_1"), (0.4, 0.4), (0.1, 0.1)),
    "safe-queue-v0": Problem(queue, ("waiting",), (2.0,), (PLACES / HOURS,), ("saved",)),
}


def make(id: str, num_envs: int, **options: Any) -> FiniteEnv:
    """N copies; the observation is the number of the state. options: device, seed, max_episode_steps."""
    build, costs, limits, ceilings, objectives = PROBLEMS[id]
    return make_tabular(
        build(), num_envs, id=id, objectives=objectives, costs=costs, limits=limits, ceilings=ceilings, discount=1.0,
        **options,
    )  # fmt: skip


ENVIRONMENTS = {id: partial(make, id) for id in PROBLEMS}
MODELS = {id: problem.model for id, problem in PROBLEMS.items()}
