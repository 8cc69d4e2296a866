"""Small problems with known fronts, written out from their published rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

Problem = dict[str, Any]  # keyword arguments of the exact solvers, without the discount

DEPTHS = (1, 2, 3, 4, 4, 4, 7, 7, 9, 10)  # row of the treasure in each of the first ten columns
CONVEX = (0.7, 8.2, 11.5, 14.0, 15.1, 16.1, 19.6, 20.3, 22.4, 23.7)
CONCAVE = (1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 24.0, 50.0, 74.0, 124.0)
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))


def _deep_sea_treasure(treasures: tuple[float, ...]) -> Problem:
    floor = (*DEPTHS, 10)  # the last column is water to the bottom
    water = {(row, column) for column in range(11) for row in range(floor[column] + 1)}
    value = {(depth, column): prize for column, (depth, prize) in enumerate(zip(DEPTHS, treasures, strict=True))}
    transition, reward = np.zeros((121, 4, 121)), np.zeros((121, 4, 2))
    for row, column in np.ndindex(11, 11):
        for action, (down, right) in enumerate(MOVES):
            there = (row + down, column + right)
            there = there if there in water else (row, column)
            transition[row * 11 + column, action, there[0] * 11 + there[1]] = 1.0
            reward[row * 11 + column, action] = value.get(there, 0.0), -1.0
    terminal = np.array([cell in value for cell in np.ndindex(11, 11)])
    return {"transition": transition, "reward": reward, "terminal": terminal, "start": 0}


def _resource_gathering() -> Problem:
    """5 x 5 cells x gold x diamond, and one last state in which the episode is over."""
    home, gold, diamond, enemies, over = (4, 2), (0, 2), (1, 4), ((1, 2), (0, 3)), 100
    transition, reward = np.zeros((101, 4, 101)), np.zeros((101, 4, 3))
    for row, column, has_gold, has_gem in np.ndindex(5, 5, 2, 2):
        state = ((row * 5 + column) * 2 + has_gold) * 2 + has_gem
        for action, (down, right) in enumerate(MOVES):
            there = (min(max(row + down, 0), 4), min(max(column + right, 0), 4))
            flags = int(has_gold or there == gold), int(has_gem or there == diamond)
            risk = 0.1 if there in enemies else 0.0
            target = over if there == home else ((there[0] * 5 + there[1]) * 2 + flags[0]) * 2 + flags[1]
            transition[state, action, target] += 1.0 - risk
            transition[state, action, over] += risk
            reward[state, action] = (-risk, *flags) if there == home else (-risk, 0.0, 0.0)
    terminal = np.arange(101) == over
    return {"transition": transition, "reward": reward, "terminal": terminal, "start": (4 * 5 + 2) * 4}


def _fruit_tree(depth: int) -> Problem:
    from mo_gymnasium.envs.fruit_tree.fruit_tree import FRUITS

    inner = 2**depth - 1
    transition, reward = np.zeros((2 * inner + 1, 2, 2 * inner + 1)), np.zeros((2 * inner + 1, 2, 6))
    leaves = np.asarray(FRUITS[str(depth)], dtype=float)
    for node, action in np.ndindex(inner, 2):
        child = 2 * node + 1 + action
        transition[node, action, child] = 1.0
        reward[node, action] = leaves[child - inner] if child >= inner else 0.0
    return {"transition": transition, "reward": reward, "terminal": np.arange(2 * inner + 1) >= inner, "start": 0}


@pytest.fixture
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def two_state() -> Problem:
    """Two states, two actions, a reward and a cost that pull apart; meant for discount 0.9."""
    transition = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.1, 0.9]]])
    reward, cost = np.array([[0.0, 0.2], [0.5, 1.0]]), np.array([[0.0, 0.3], [0.2, 1.0]])
    return {"transition": transition, "reward": np.stack([reward, cost], axis=2), "start": 0}


@pytest.fixture(scope="session")
def random_problem() -> Callable[..., Problem]:
    def build(seed: int, states: int = 3, actions: int = 2, channels: int = 2) -> Problem:
        generator = np.random.default_rng(seed)
        return {
            "transition": generator.dirichlet(np.ones(states), size=(states, actions)),
            "reward": generator.normal(size=(states, actions, channels)),
            "start": generator.dirichlet(np.ones(states)),
        }

    return build


def _frozen_lake(map_name: str) -> Problem:
    import gymnasium

    table = gymnasium.make("FrozenLake-v1", map_name=map_name, is_slippery=True).unwrapped.P
    states = len(table)
    transition, reward = np.zeros((states, 4, states)), np.zeros((states, 4, 1))
    terminal = np.zeros(states, dtype=bool)
    for state, action in np.ndindex(states, 4):
        for chance, after, paid, ended in table[state][action]:
            transition[state, action, after] += chance
            reward[state, action] += chance * paid
            terminal[after] |= ended
    return {"transition": transition, "reward": reward, "terminal": terminal, "start": 0}


@pytest.fixture(scope="session")
def frozen_lake() -> Callable[[str], Problem]:
    return _frozen_lake


@pytest.fixture(scope="session")
def treasure() -> Problem:
    return _deep_sea_treasure(CONVEX)


@pytest.fixture(scope="session")
def concave_treasure() -> Problem:
    return _deep_sea_treasure(CONCAVE)


@pytest.fixture(scope="session")
def gathering() -> Problem:
    return _resource_gathering()


@pytest.fixture(scope="session")
def fruit_tree() -> Callable[[int], Problem]:
    return _fruit_tree
