"""Speed limits: rewards, ends and observations are gymnasium's of version 4; costs follow the thresholds."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from tradeoff.envs import make
from tradeoff.envs.velocity import LIMITED, ROBOTS, size_of_speed, speed, too_fast

THRESHOLDS = {
    "HalfCheetah": (2.8795, 3.2096), "Hopper": (0.37315, 0.7402), "Walker2d": (1.7075, 2.3415),
    "Swimmer": (0.04845, 0.2282), "Ant": (2.5745, 2.6222), "Humanoid": (2.3475, 1.4149),
}  # fmt: skip
BUDGETS = {"HalfCheetah": 151.989, "Hopper": 82.748, "Walker2d": 81.886, "Swimmer": 24.516, "Ant": 103.115,
           "Humanoid": 20.140}  # fmt: skip


def charge(name: str, id: str, info: dict[str, float]) -> float:
    """The definition once more, from what the original says of its velocity."""
    x, y = info["x_velocity"], info.get("y_velocity", 0.0)
    plane = float(np.hypot(x, y))
    if id.endswith("SpeedBudget-v0"):
        return plane
    version = int(id[-1])
    looked_at = plane if name in ("Ant", "Humanoid") or (name, version) == ("Swimmer", 0) else x
    return float(looked_at > THRESHOLDS[name][version])


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("kind", ["Safety{}Velocity-v0", "Safety{}Velocity-v1", "{}SpeedBudget-v0"])
def test_equals_version_4_and_charges_by_the_definition(name, kind):
    """Same seeds and actions; everybody is pushed now and then, so that both answers occur."""
    id, draw, copies = kind.format(name), np.random.default_rng(0), 3
    env, originals = make(id, copies, seed=5), [gymnasium.make(f"{name}-v4") for _ in range(copies)]
    for i, original in enumerate(originals):
        original.reset(seed=5 + i)
    charged = []
    for turn in range(300):
        if turn % 60 == 0:
            for body, original in zip(env.sim.data, originals, strict=True):
                body.qvel[0] = original.unwrapped.data.qvel[0] = 4.0
        action = draw.uniform(-1.0, 1.0, (copies, *env.spec.action_space.shape)).astype(np.float32)
        scaled = action * env.spec.action_space.high
        step = env.step(torch.from_numpy(scaled))
        for i, original in enumerate(originals):
            seen, reward, terminated, truncated, info = original.step(scaled[i])
            width = step.final_observation.shape[1]
            np.testing.assert_array_equal(step.final_observation[i].numpy(), seen[:width])
            assert step.reward[i, 0].item() == pytest.approx(reward, rel=1e-5, abs=1e-5)
            assert step.cost[i, 0].item() == pytest.approx(charge(name, id, info), rel=1e-5, abs=1e-6)
            assert bool(step.terminated[i]) == terminated and bool(step.truncated[i]) == truncated
            charged.append(step.cost[i, 0].item())
            if terminated or truncated:
                original.reset()
    assert len(set(charged)) > 1, "a cost that never moves shows nothing"


def test_the_humanoid_of_the_budget_sees_its_joints_only():
    # 24 positions without x and y, and 23 velocities; the ant of version 4 sees 15 - 2 + 14 anyway.
    assert make("HumanoidSpeedBudget-v0").spec.observation_space.shape == (45,)
    assert make("AntSpeedBudget-v0").spec.observation_space.shape == (27,)


@pytest.mark.parametrize("name", ROBOTS)
def test_limits_are_the_published_ones(name):
    for version in (0, 1):
        spec = make(f"Safety{name}Velocity-v{version}").spec
        assert (spec.objectives, spec.costs, spec.limits, spec.horizon) == (("reward",), ("velocity",), (25.0,), 1000)
        assert spec.ceilings == (1.0,)
    spec = make(f"{name}SpeedBudget-v0").spec
    assert (spec.costs, spec.limits, spec.discount) == (("speed",), (BUDGETS[name],), 0.99)


def test_speeds_by_hand():
    # (3, 4) is 5 fast in the plane and 3 along x; backwards is slow where the sign counts, and fast where it does not.
    plane, line = np.array([[3.0, 4.0], [-3.0, 0.0]]), np.array([2.0, -2.0])
    assert speed(plane, True).tolist() == [5.0, 3.0] and speed(plane, False).tolist() == [3.0, -3.0]
    assert too_fast(line, 1.0, False).tolist() == [1.0, 0.0] and too_fast(plane, 4.0, True).tolist() == [1.0, 0.0]
    assert too_fast(np.array([1.0]), 1.0, False).tolist() == [0.0], "the threshold itself may be reached"
    assert size_of_speed(line).tolist() == [2.0, 2.0] and size_of_speed(plane).tolist() == [5.0, 3.0]


def test_costs_go_on_bit_for_bit_from_a_saved_state():
    env, other = make("SafetyAntVelocity-v1", 2, seed=1), make("SafetyAntVelocity-v1", 2, seed=9)
    action = torch.full((2, 8), 0.4)
    for _ in range(20):
        env.step(action)
    other.load_state_dict(env.state_dict())
    for _ in range(60):
        one, two = env.step(action), other.step(action)
        assert torch.equal(one.cost, two.cost) and torch.equal(one.reward, two.reward)
    assert set(LIMITED) >= {"SafetyAntVelocity-v1", "AntSpeedBudget-v0"}
