"""Minecart against the original, bit for bit where it drives, and against closed forms where it draws."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import mo_gymnasium
import moocore
import numpy as np
import pytest
import torch

from tradeoff.envs.minecart import (
    ACCELERATE,
    BRAKE,
    CAPACITY,
    IDLE,
    LEFT,
    MINE,
    ORES,
    RIGHT,
    fill,
    length,
    published_front,
)
from tradeoff.envs.registry import make
from tradeoff.envs.seeding import Counters, normal

COPIES, STEPS = 24, 1100  # 26,400 steps, and every clock runs out at least once for carts that never come home
MINES = np.array([[0.16, 0.84], [0.5, 0.84], [0.84, 0.84], [0.84, 0.5], [0.84, 0.16]])


def one_rounding(vector):
    """Length of [2] with the squares added in one rounding. Numpy's library does so on some processors only."""
    x, y = map(float, vector)
    return math.sqrt(Fraction(x * x) + Fraction(y) ** 2)


class Handed:
    """Stands in for an ore's distribution: takes its normal numbers from a list shared with our side."""

    def __init__(self, mean, spread, numbers):
        self.args, self.numbers = (mean, spread), numbers

    def rvs(self):
        return self.args[0] + self.args[1] * self.numbers.pop(0)


def originals(id):
    """Copies of the original and, for each, the list its mines draw from."""
    envs, lists = [mo_gymnasium.make(id, disable_env_checker=True) for _ in range(COPIES)], []
    for env in envs:
        numbers = []
        env.reset()
        for mine in env.unwrapped.mines:
            mine.distributions = [Handed(*d.args, numbers) for d in mine.distributions]
        lists.append(numbers)
    return envs, lists


def turn_towards(look, gap):
    """LEFT, RIGHT or ACCELERATE for a cart that looks [x, y, speed, sine, cosine, ...] and must cover a gap [2]."""
    aside, ahead = look[4] * gap[1] - look[3] * gap[0], look[4] * gap[0] + look[3] * gap[1]
    if abs(aside) < 0.4 * np.hypot(*gap) and ahead > 0:
        return ACCELERATE
    return RIGHT if aside > 0 else LEFT


class Driver:
    """Most copies dig and come home; the last five stay in place, race along the walls, move at random."""

    def __init__(self):
        self.numbers = np.random.default_rng(0)
        self.goal, self.wanted = np.arange(COPIES) % 5, np.full(COPIES, CAPACITY)

    def begin(self, copy):
        self.goal[copy], self.wanted[copy] = self.numbers.integers(5), self.numbers.choice([0.4, 1.0, CAPACITY])

    def __call__(self, copy, look):
        chance = self.numbers.random()
        if copy == COPIES - 1:
            return int(self.numbers.choice([LEFT, RIGHT, MINE, BRAKE]))
        if copy >= COPIES - 3:
            return ACCELERATE if chance < 0.98 else IDLE if copy == COPIES - 3 else LEFT
        if copy >= COPIES - 5 or chance < 0.15:
            return int(self.numbers.integers(6))
        full = (look[5] + look[6]) * CAPACITY > self.wanted[copy] - 0.01
        if not full and np.hypot(*(MINES[self.goal[copy]] - look[:2])) < 0.13:
            return MINE if look[2] < 0.001 else BRAKE
        return turn_towards(look, (np.zeros(2) if full else MINES[self.goal[copy]]) - look[:2])


def compare(step, theirs):
    """One step of all copies against what the originals returned."""
    observation, reward, terminated, truncated = (np.array(column) for column in list(zip(*theirs, strict=True))[:4])
    np.testing.assert_allclose(step.final_observation, observation, atol=1e-6, rtol=0)
    np.testing.assert_allclose(step.reward, reward, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(step.terminated, terminated)
    np.testing.assert_array_equal(step.truncated, truncated & ~terminated)
    return terminated, truncated


@pytest.mark.parametrize("id", ["minecart-v0", "minecart-deterministic-v0"])
def test_follows_the_original(id, monkeypatch):
    monkeypatch.setattr("mo_gymnasium.envs.minecart.minecart.mag", one_rounding)
    ours, (envs, lists), driver = make(id, COPIES), originals(id), Driver()
    look, ends, cuts, full, mined, walls, sold, angles = ours.reset().numpy(), 0, 0, 0, set(), set(), [], set()
    for _ in range(STEPS):
        action = [driver(copy, look[copy]) for copy in range(COPIES)]
        for numbers, handed in zip(lists, normal(Counters(ours.random.key, ours.random.count).uniform(8)), strict=True):
            numbers[:] = handed.tolist()
        step, theirs = ours.step(torch.tensor(action)), [env.step(a) for env, a in zip(envs, action, strict=True)]
        over, late = compare(step, theirs)
        ends, cuts, look = ends + over.sum(), cuts + (late & ~over).sum(), step.observation.numpy()
        for copy, (env, numbers) in enumerate(zip(envs, lists, strict=True)):
            cart = env.unwrapped.cart
            full += cart.content.sum() > CAPACITY - 1e-9
            walls |= {(axis, float(cart.pos[axis])) for axis in (0, 1) if cart.pos[axis] in (0.0, 1.0)}
            angles.add(cart.angle)
            if not numbers:
                mined.add(int(np.hypot(*(MINES - cart.pos).T).argmin()))
            if over[copy] or late[copy]:
                sold.append(theirs[copy][1][:2])
                driver.begin(copy)
                np.testing.assert_array_equal(look[copy], env.reset()[0])
        carts = [[*env.unwrapped.cart.pos, env.unwrapped.cart.speed] for env in envs]
        np.testing.assert_array_equal(torch.stack(ours.state[:3], 1), carts)
    sold = np.array(sold)
    assert ends > 100 and cuts >= 1 and full > 100 and mined == {0, 1, 2, 3, 4}
    assert walls == {(0, 0.0), (0, 1.0), (1, 0.0), (1, 1.0)} and min(angles) < 0 and max(angles) > 360
    assert (sold > 0.1).sum(0).min() > 20 and sold.sum(1).max() > CAPACITY - 1e-6


@pytest.mark.parametrize("place", range(5))
def test_ore_of_one_step_is_four_rectified_normal_draws(place):
    # A draw is max(0, X) with X ~ N(mu, s). With z = mu / s, p = Phi(z), d = phi(z):
    # mean mu p + s d, mean square (mu^2 + s^2) p + mu s d. A step adds four: mean and variance times four.
    n, s = 10_000, 0.05
    env = make("minecart-v0", n, seed=7)
    x, y, speed, heading, first, second, away = env.state
    env.state = (x + MINES[place, 0], y + MINES[place, 1], speed, heading, first - 1, second - 1, away)  # room for all
    env.step(torch.full((n,), MINE))
    loads = [load + 1 for load in env.state[4:6]]
    worst = 0.0
    for load, mu in zip(loads, ORES[place], strict=True):
        p, d = 0.5 * math.erfc(-mu / s / math.sqrt(2)), math.exp(-0.5 * (mu / s) ** 2) / math.sqrt(2 * math.pi)
        mean = mu * p + s * d
        variance = (mu * mu + s * s) * p + mu * s * d - mean * mean
        z_mean = float(load.mean() - 4 * mean) / math.sqrt(4 * variance / n)
        spread = (load - load.mean()).square()
        z_variance = float(spread.mean() - 4 * variance) / float(spread.std() / math.sqrt(n))
        worst = max(worst, abs(z_mean), abs(z_variance))
    assert worst < 3.5, f"z = {worst}"  # 20 values of |z| over the five mines: the largest is 1.5


def test_fill_by_hand():
    # Free 1/2: the draw (1/2, 1/2) is halved, the next finds no room. Free 1/2: (1/8, 1/8) fits, then a quarter of
    # (1/2, 1/2).
    # A full cart and an empty draw: nothing, and no 0 / 0.
    load = torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.5, 0.0]], dtype=torch.float64)
    half, eighth, zero = [0.5, 0.5], [0.125, 0.125], [0.0, 0.0]
    drawn = torch.tensor([[half, half], [eighth, half], [zero, zero]], dtype=torch.float64)
    wanted = [[1.25, 0.25], [0.75, 0.75], [1.5, 0.0]]
    np.testing.assert_array_equal(fill(load, drawn), wanted)


@pytest.mark.parametrize("n", [1, 5000])
def test_length_is_rounded_once_and_numpys_to_a_unit_in_the_last_place(n):
    vectors = np.random.default_rng(0).normal(size=(n, 2)) * 0.1
    vectors[0] = 0
    found = length(*torch.from_numpy(vectors.T.copy())).numpy()
    np.testing.assert_array_equal(found, [one_rounding(v) for v in vectors])
    np.testing.assert_array_max_ulp(found, np.array([np.sqrt(np.dot(v, v)) for v in vectors]), 1)


def test_no_cart_feels_its_neighbours():
    """The same carts among 3 and among 300: bit for bit the same, mined ore included."""
    few, many = make("minecart-v0", 3, seed=5), make("minecart-v0", 300, seed=5)
    numbers = torch.Generator().manual_seed(0)
    for t in range(300):
        if t % 60 == 0:
            for env in (few, many):  # put the first three at rest in a mine
                x, y, speed, *rest = env.state
                x, y = (part.index_fill(0, torch.arange(3), at) for part, at in ((x, 0.84), (y, 0.8)))
                env.state = (x, y, 0 * speed, *rest)
        action = torch.randint(6, (300,), generator=numbers)
        a, b = few.step(action[:3]), many.step(action)
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right[:3])
    assert float(a.final_observation[:, 5:].sum()) > 0.5


def test_published_front():
    # Hypervolume of the published front at discount 0.98 from (-1, -1, -200): 668.18 (723.05 deterministic).
    for id, wanted in (("minecart-v0", 668.18), ("minecart-deterministic-v0", 723.05)):
        front = published_front(id, 0.98)
        found = moocore.hypervolume(front, ref=np.array([-1.0, -1.0, -200.0]), maximise=True)
        assert front.shape[1] == 3 and round(found, 2) == wanted


@pytest.mark.slow
def test_fifty_times_as_fast_as_the_original():
    """CPU seconds of this process: both sides on one thread, in turns, with the same actions; the median of five."""
    threads, n = torch.get_num_threads(), 4096
    torch.set_num_threads(1)
    ours, original = make("minecart-v0", n), mo_gymnasium.make("minecart-v0", disable_env_checker=True)
    actions = torch.randint(6, (100, n), generator=torch.Generator().manual_seed(0))
    original.reset()

    def rate(step, actions, size):
        begin = time.process_time()
        for action in actions:
            step(action)
        return len(actions) * size / (time.process_time() - begin)

    def single(action):
        if any(original.step(action)[2:4]):
            original.reset()

    ratios = [rate(ours.step, actions, n) / rate(single, actions[:, 0].tolist() * 20, 1) for _ in range(5)]
    torch.set_num_threads(threads)
    assert np.median(ratios) > 50, ratios
