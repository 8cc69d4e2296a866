"""Navigation against Safety-Gymnasium 1.0.0 (recorded by data/make_navigation.py): resets, steps, costs, goals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tradeoff.envs import TradeoffError, make
from tradeoff.envs.navigation import ENVIRONMENTS
from tradeoff.envs.navigation.crowded import Stock, draw_layouts
from tradeoff.envs.navigation.layout import Spot, draw_goal, draw_layout, least_square, legacy_generator, spots
from tradeoff.envs.navigation.lidar import egocentric, lidar
from tradeoff.envs.navigation.paid import inside, moved, outside, speed_along_circle, wrong
from tradeoff.envs.navigation.tasks import POINT, tasks

DATA = np.load(Path(__file__).parent / "data" / "navigation.npz")
COSTS = [*DATA["costs"], "any"]
SEED, EVERY = 5, 10
WIDTHS = {
    "Goal0": 28, "Goal1": 60, "Goal2": 60, "Button0": 44, "Button1": 76, "Button2": 76,
    "Push0": 44, "Push1": 76, "Push2": 76, "Circle0": 28, "Circle1": 28, "Circle2": 28,
}  # fmt: skip
NOTHING_LOOSE = ("Goal0", "Button0", "Circle")
SIZES = {
    f"Safety{agent}{task}-v0": n + 12 * (agent == "Car") for agent in ("Point", "Car") for task, n in WIDTHS.items()
}


def recorded(id, part):
    return DATA[f"{id.removeprefix('Safety').removesuffix('-v0')}/{part}"]


def put(env, position, velocity, time, goal, pressed, k):
    """The original's state, as its recorder set it."""
    data, sim = env.sim.data[0], env.sim
    data.qpos[:], data.qvel[:], data.time, data.qacc_warmstart[:] = position, velocity, time, 0.0
    sim.mujoco.mj_forward(sim.model, data)
    sim._read(0)
    env.places[:, env.loose] = env._loose_places()
    if env.task.aim != "circle":
        env.places[0, env.goal, :2] = goal
    env.timer[0], env.button[0] = pressed
    env.last, env.clock[0], env.owed[0], env.generators = env._distances(), 0, 0, [legacy_generator(k)]


def probes(id):
    """Single steps from the recorded states: ours with the names of its costs, and the original's answer."""
    env = make(id, seed=SEED)
    sizes = [env.sim.model.nq, env.sim.model.nv, 1, 2, 2, 2, 1, 1, len(COSTS)]
    for k, row in enumerate(recorded(id, "probe")):
        position, velocity, (time,), action, goal, pressed, _, (reward,), paid, seen = np.split(row, np.cumsum(sizes))
        put(env, position, velocity, time, goal, pressed, k)
        step = env.step(torch.tensor(action[None], dtype=torch.float32))
        costs = dict(zip(COSTS, paid, strict=True))
        yield step, reward, [costs[name] for name in env.spec.costs], seen


def test_all_tasks_are_known_with_the_originals_widths():
    assert SIZES.keys() == ENVIRONMENTS.keys() and len(SIZES) == 24
    for id, size in SIZES.items():
        env = make(id)
        assert env.spec.observation_space.shape == (size,) and env.reset().shape == (1, size)
        assert env.spec.horizon == (500 if "Circle" in id else 1000) and env.spec.backend == "mujoco-threads"


@pytest.mark.parametrize("id", SIZES)
def test_a_reset_is_the_originals_with_the_same_seed(id):
    # The layout, the goal and the agent's pose show in lidar and magnetometer. A car stands exactly on the ground, and
    # the last bit of a cosine decides whether its wheels touch it: its accelerometer (0 to 2) may differ at the start.
    seen, wanted = make(id, seed=SEED).reset(SEED)[0].numpy(), recorded(id, "seen")[0]
    np.testing.assert_allclose(seen[3:], wanted[3:], atol=1e-6)
    if "Point" in id:
        np.testing.assert_allclose(seen[:3], wanted[:3], atol=1e-5)


@pytest.mark.parametrize("id", [id for id in SIZES if "Point" in id])
def test_random_steps_from_a_reset_follow_the_original(id):
    # Fifty steps on end, MuJoCo 2.3.3 there and a later one here: what they differ by grows. The turn is what grows
    # most, and shows in lidar.
    env, seen, trip = make(id, seed=SEED), recorded(id, "seen"), recorded(id, "trip")
    for t, row in enumerate(trip):
        step = env.step(torch.tensor(row[None, :2], dtype=torch.float32))
        assert step.reward.item() == pytest.approx(row[2], abs=2e-3)
        assert step.cost[0].tolist() == [row[3 + COSTS.index(name)] for name in env.spec.costs]
        if (t + 1) % EVERY == 0:
            np.testing.assert_allclose(step.observation[0, 12:].numpy(), seen[(t + 1) // EVERY][12:], atol=0.04)


@pytest.mark.parametrize("id", SIZES)
def test_single_steps_beside_things_are_the_originals(id):
    # Under MuJoCo 2.3.3, which recorded them, all but some beside pillars agree to 5e-7 in every number. Later versions
    # compute collisions of boxes and cylinders anew, so steps in contact keep only rewards (within 5e-3) and costs.
    exact = []
    for step, reward, costs, seen in probes(id):
        assert step.cost[0].tolist() == costs
        assert step.reward.item() == pytest.approx(reward, abs=5e-3)
        exact.append(np.allclose(step.observation[0].numpy(), seen, rtol=1e-6, atol=1e-6))
    assert sum(exact) >= (len(exact) if any(name in id for name in NOTHING_LOOSE) else 8), exact


def test_the_recorded_steps_meet_every_kind_of_cost_and_every_goal():
    # Columns from the end: what was seen, costs, reward, reached. So the test above is about both answers of each.
    met = dict.fromkeys(COSTS, 0.0)
    for id, size in SIZES.items():
        rows = recorded(id, "probe")
        costs, reached = rows[:, -size - len(COSTS) : -size], rows[:, -size - len(COSTS) - 2]
        for name, column in zip(COSTS, costs.T, strict=True):
            met[name] += column.sum() if name in make(id).spec.costs and column.min() == 0 else 0
        assert reached.sum() >= (0 if "Circle" in id else 3)
    assert min(met.values()) >= 3, met


def test_lidar_by_hand():
    # Reach 3. A thing 1.5 ahead, turned by 1.25 bins: closeness 1/2 in bin 1, a quarter of it in bin 2, three quarters
    # in bin 0. A second one of the group at the same bearing, further away, is hidden. Another group: 3 away, unseen.
    turn = 1.25 * 2 * np.pi / 16
    away = np.array([[[1.5 * np.cos(turn), 1.5 * np.sin(turn)], [2 * np.cos(turn), 2 * np.sin(turn)], [3.0, 0.0]]])
    wanted = np.zeros(32)
    wanted[:3] = 0.375, 0.5, 0.125
    np.testing.assert_allclose(lidar(away, [0, 2], 3.0)[0], wanted, atol=1e-12)


def test_egocentric_by_hand():
    # Turned by a quarter to the left, what lies along +y is straight ahead: (1, 3) from (1, 1) is (2, 0).
    rotation = np.array([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    seen = egocentric(np.array([[[1.0, 3.0]]]), np.array([[1.0, 1.0, 0.1]]), rotation)
    np.testing.assert_allclose(seen, [[[2.0, 0.0]]], atol=1e-12)


def test_gremlins_follow_their_leaders_above_the_ground_as_the_originals():
    # Safety-Gymnasium's own after 100 steps (2 s) of rest: 0.329, -0.1161 from home, at a height of 0.1996.
    env = make("SafetyPointButton1-v0", seed=SEED)
    home = env.sim.homes[0] * (1, 1, 0)
    for _ in range(100):
        env.step(torch.zeros(1, 2))
    np.testing.assert_allclose(env.places[0, env.loose] - home, [[0.329, -0.1161, 0.1996]] * 4, atol=1e-4)


@pytest.mark.parametrize("axis", [3, 5])
def test_a_gremlin_gives_way_to_a_torque_as_the_originals(axis):
    # Safety-Gymnasium's own after 50 steps under 1e-3 Nm, about x or about the vertical: 0.0225018 rad. By hand: the
    # softness of a weld is (1 - d) / d of an inverse mass of 125,000 / kg with d = 0.95, its stiffness
    # d / (d * 0.02 * 1.5)^2, and half an angle counts: 4 * 6579 / 1170 rad / Nm. Without torquescale it turns by
    # 1.63 about the vertical in MuJoCo 3.
    env = make("SafetyPointButton1-v0", seed=SEED)
    data, thing = env.sim.data[0], env.sim.model.body(f"thing{env.task.rows('gremlins').start}").id
    before = data.xquat[thing].copy()
    for _ in range(50):
        data.xfrc_applied[thing, axis] = 1e-3
        env.step(torch.zeros(1, 2))
    assert 2 * np.arccos(before @ data.xquat[thing]) == pytest.approx(0.022501797, rel=1e-5)


@pytest.mark.parametrize("id", ["SafetyPointGoal1-v0", "SafetyPointPush0-v0"])
def test_a_new_goal_is_not_paid_for_moving(id):
    # Put on the goal (its box is, in the push task), the step pays 1 and some centimetres; the next one only what
    # distances shrink by, measured from where the new goal is.
    env = make(id, seed=SEED)
    what = env.task.rows("box").start if "Push" in id else None
    target = env.places[0, what, :2] if what is not None else env._position[0, :2]
    env.places[0, env.goal, :2] = target + 0.01
    env.last = env._distances()
    first = env.step(torch.zeros(1, 2)).reward.item()
    before = env._distances().sum()
    second = env.step(torch.zeros(1, 2)).reward.item()
    assert first == pytest.approx(1.0, abs=0.02)
    assert second == pytest.approx(before - env._distances().sum(), abs=1e-6) and abs(second) < 0.02
    env.last = env.last + 100  # as if physics had thrown it far: 10 is the most that a step pays
    assert env.step(torch.zeros(1, 2)).reward.item() == 10.0


def test_costs_and_speed_by_hand():
    # Hazard of radius 0.5 around (1, 0): 0.4 away is inside, 0.5 is not (its own cost there is nought).
    assert inside(np.array([[0.6, 0.0], [0.5, 0.0]]), np.array([[[1.0, 0.0]]] * 2), np.array([0.5])).tolist() == [1, 0]
    assert moved(np.array([[[0, 0, 0], [6e-5, 0, 8e-5]], [[0, 0, 0], [5e-5, 0, 8e-5]]])).tolist() == [1, 0]
    assert outside(np.array([[1.2, 0.0], [0.0, -1.2]]), 2).tolist() == [1, 0]
    assert outside(np.array([[1.2, 0.0], [0.0, -1.2]]), 4).tolist() == [1, 1]
    # Button 1 is right: both pressed costs, it alone does not, and nothing does while the buttons are dead.
    pressed = np.array([[1, 1], [0, 1], [1, 0]], bool)
    assert wrong(pressed, np.array([1, 1, 1]), np.array([0, 0, 7])).tolist() == [1, 0, 0]
    # At (3, 4), 3.5 outside of the circle, moving at (-4, 3) / 5, once around it: 0.1 * 1 / 4.5.
    speed = speed_along_circle(np.array([[3.0, 4.0]]), np.array([[-0.8, 0.6]]))
    np.testing.assert_allclose(speed, [0.1 / 4.5], rtol=1e-12)


@pytest.mark.parametrize("task", ["Button0", "Button2", "Goal2", "Push2", "Circle2"])
def test_layouts_keep_their_distances_and_take_numbers_one_by_one(task):
    # A search without drawing ahead, as a second oracle, leaves its generator at the same number.
    wanted = spots(tasks(POINT)[task])
    for seed in range(3):
        ahead, plain = legacy_generator(seed), np.random.RandomState(seed)
        found = draw_layout(wanted, ahead)
        assert found == one_by_one(wanted, plain)
        assert ahead.random() == plain.random_sample()
        gaps = [np.hypot(a[0] - b[0], a[1] - b[1]) - p.keepout - q.keepout
                for i, (a, p) in enumerate(zip(found, wanted, strict=True))
                for b, q in list(zip(found, wanted, strict=True))[:i]]  # fmt: skip
        assert min(gaps) >= 0


def test_squares_decide_as_distances_do():
    for keepout in (0.0, 0.305 + 0.18, 0.8, 0.4 + 0.2, 2.0, 1 / 3):
        least = least_square(keepout)
        assert np.sqrt(least) >= keepout and (least == 0 or np.sqrt(np.nextafter(least, 0)) < keepout)


def one_by_one(wanted, numbers):
    while True:
        found = []
        for spot in wanted:
            for _ in range(100):
                x, y = numbers.uniform(spot.x, spot.x + spot.width), numbers.uniform(spot.y, spot.y + spot.height)
                if all(
                    np.hypot(x - a, y - b) >= spot.keepout + o.keepout for (a, b), o in zip(found, wanted, strict=False)
                ):
                    found.append((x, y))
                    break
            else:
                break
        if len(found) == len(wanted):
            return found


def test_attempts_side_by_side_succeed_as_often_as_a_hundred_tries_do():
    # One thing at 0 keeps 0.99 of a line of length 1 from the other: a place is free with chance 0.01, one of a hundred
    # is with chance 1 - 0.99^100 = 0.6340, and lies anywhere in (0.99, 1): mean 0.995, deviation 0.01 / sqrt(12).
    attempts = 20_000
    line = [Spot(0.0, 0.0, 0.0, 0.0, 0.5), Spot(0.0, 0.0, 1.0, 0.0, 0.49)]
    found = draw_layouts(line, legacy_generator(0), attempts)
    chance = 1 - 0.99**100
    assert abs(len(found) / attempts - chance) < 4 * np.sqrt(chance * (1 - chance) / attempts)
    assert found[:, 0].max() == 0 and found[:, 1, 0].min() >= 0.99
    assert abs(found[:, 1, 0].mean() - 0.995) < 4 * 0.01 / np.sqrt(12 * len(found))


def test_layouts_of_a_stock_are_those_of_the_original_in_distribution():
    wanted = spots(tasks(POINT)["Button1"])
    plain, stock, numbers = legacy_generator(0), Stock(wanted, 1), legacy_generator(1)
    old = np.array([draw_layout(wanted, plain) for _ in range(200)])
    new = np.array([stock.take(0, numbers) for _ in range(1000)])
    apart = np.array([[_gap(p, q) for q in wanted] for p in wanted])
    between = np.linalg.norm(new[:, :, None] - new[:, None], axis=-1)
    assert (between - apart)[:, ~np.eye(len(wanted), dtype=bool)].min() >= -1e-12
    for measure in (lambda x: np.linalg.norm(x, axis=-1), lambda x: np.linalg.norm(x - x[:, :1], axis=-1)[:, 1:]):
        a, b = measure(old), measure(new)  # from the centre, and from the agent [layouts, things]
        error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
        assert np.abs((a.mean(0) - b.mean(0)) / error).max() < 4


def _gap(p, q):
    return p.keepout + q.keepout


def test_layouts_ahead_are_forgotten_where_a_seed_is_given():
    env = make("SafetyPointButton1-v0", 1, seed=3)
    first = env.reset(3)
    assert not torch.equal(env.reset(), first)
    assert len(env.stock.layouts[0]) > 0
    assert torch.equal(env.reset(3), first) and len(env.stock.layouts[0]) == 0


def test_no_room_is_said():
    crowd = [Spot(0.0, 0.0, 1.0, 1.0, 2.0)] * 2
    assert draw_goal(crowd[0], [(0.5, 0.5)], crowd[1:], legacy_generator(0)) is None
    with pytest.raises(TradeoffError, match="2 things do not fit"):
        draw_layout(crowd, legacy_generator(0))
    with pytest.raises(TradeoffError, match="2 things do not fit"):
        Stock(crowd, 1).take(0, legacy_generator(0))


def rolled(env, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    return [env.step(torch.rand(env.num_envs, 2, generator=generator) * 2 - 1) for _ in range(steps)]


@pytest.mark.parametrize("id", ["SafetyPointGoal2-v0", "SafetyCarButton1-v0", "SafetyPointPush1-v0"])
def test_a_saved_state_goes_on_bit_for_bit(id):
    """Saved within the second episode of 25 steps, so goals, resets, gremlins and layouts ahead are part of it."""
    env = make(id, 2, seed=3, max_episode_steps=25)
    rolled(env, 40, 0)
    state = env.state_dict()
    ahead = rolled(env, 40, 1)
    other = make(id, 2, seed=9, max_episode_steps=25)
    other.load_state_dict(state)
    for mine, its in zip(ahead, rolled(other, 40, 1), strict=True):
        for x, y in zip(mine, its, strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize("id", ["SafetyCarGoal1-v0", "SafetyPointButton1-v0"])
def test_environments_do_not_depend_on_their_neighbours(id):
    many, one = make(id, 3, seed=4, max_episode_steps=15), make(id, 1, seed=5, max_episode_steps=15)
    assert torch.equal(many.reset(4)[1], one.reset(5)[0])
    actions = torch.rand(35, 2, generator=torch.Generator().manual_seed(0))
    for action in actions:
        both = many.step(action.expand(3, 2)), one.step(action[None])
        assert torch.equal(both[0].observation[1], both[1].observation[0])


def test_episodes_are_cut_by_the_clock_and_begin_anew():
    env = make("SafetyPointCircle1-v0", 2, max_episode_steps=3)
    cut = [step.truncated.tolist() for step in rolled(env, 6, 0)]
    assert cut == [[False] * 2] * 2 + [[True] * 2] + [[False] * 2] * 2 + [[True] * 2]
    assert env.clock.tolist() == [0, 0]
