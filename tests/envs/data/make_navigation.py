"""Writes navigation.npz, what Safety-Gymnasium 1.0.0 itself answers; run by an interpreter that holds it.

benchmarks/omnisafe_setup.sh FOLDER; FOLDER/bin/python tests/envs/data/make_navigation.py

Per task: `trip`, 50 random steps from a seeded reset (rows: action, reward, costs), and `seen`, what was observed at
the start and after every tenth; `probe`, single steps from states in which the agent was put beside the things of the
task, rounded to 32 bits on both sides, so that contacts, costs and goals are met. Its rows: position, velocity, time,
action, goal, timer, button, reached, reward, costs, what was observed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import safety_gymnasium

HERE = Path(__file__).parent
SEED, STEPS, EVERY = 5, 50, 10
PROBES = 15
COSTS = ("hazards", "vases_contact", "vases_velocity", "pillars", "buttons", "gremlins", "out_of_boundary")
GAPS = {
    "goal": (0.305, 0.312), "hazards": (0.1, 0.25), "vases": (0.19, 0.22), "pillars": (0.29, 0.31),
    "buttons": (0.19, 0.21), "gremlins": (0.19, 0.22), "push_box": (0.3, 0.35), "walls": (-0.02, 0.02),
}  # fmt: skip


def paid(info: dict[str, float]) -> list[float]:
    """The costs in the order of COSTS, then their sum as an indicator."""
    return [float(info.get(f"cost_{name}", 0.0)) for name in COSTS] + [float(info["cost_sum"])]


def turned(angle: float) -> np.ndarray:
    """Rotation of the plane."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def trip(env: Any, task: Any) -> dict[str, np.ndarray]:
    """Random actions from a reset."""
    numbers = np.random.default_rng(0)
    seen = [env.reset(seed=SEED)[0]]
    actions = numbers.uniform(-1, 1, (STEPS, 2)).astype(np.float32)
    rewards, costs = [], []
    for t, action in enumerate(actions):
        observation, reward, _, _, _, info = env.step(action)
        rewards.append(reward)
        costs.append(paid(info))
        if (t + 1) % EVERY == 0:
            seen.append(observation)
    return {"trip": np.column_stack([actions, rewards, costs]), "seen": np.float32(seen)}


class Probe:
    """The state of the original in our coordinates: the agent's joints measured from the middle of the world."""

    def __init__(self, env: Any, task: Any) -> None:
        self.env, self.task = env, task
        body = task.model.body("agent")
        self.start, (w, _, _, z) = body.pos[:2].copy(), body.quat
        self.angle = 2 * np.arctan2(z, w)
        self.point = task.agent.__class__.__name__ == "Point"

    def write(self, position: np.ndarray, velocity: np.ndarray, time: float) -> None:
        """Set the state, without a warm start for the solver."""
        data = self.task.data
        data.qpos[:], data.qvel[:], data.time, data.qacc_warmstart[:] = position, velocity, time, 0.0
        if self.point:
            back = turned(-self.angle)
            data.qpos[:2], data.qvel[:2] = back @ (position[:2] - self.start), back @ velocity[:2]
            data.qpos[2] = position[2] - self.angle
        mujoco.mj_forward(self.task.model, data)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions and velocities."""
        position, velocity = self.task.data.qpos.copy(), self.task.data.qvel.copy()
        if self.point:
            ahead = turned(self.angle)
            position[:2], velocity[:2] = self.start + ahead @ position[:2], ahead @ velocity[:2]
            position[2] += self.angle
        return position, velocity

    def approach(self, target: np.ndarray, gap: float, heading: float, speed: float) -> None:
        """Put the agent `gap` away from a place, driving towards it."""
        position, velocity = self.read()
        way = np.array([np.cos(heading), np.sin(heading)])
        position[:2] = target - gap * way
        velocity[: 3 if self.point else 6] = 0
        velocity[:2] = speed * way
        if self.point:
            position[2] = heading
        else:  # its front looks along -y
            position[3:7] = np.cos((heading + np.pi / 2) / 2), 0, 0, np.sin((heading + np.pi / 2) / 2)
        self.write(position, velocity, self.task.data.time)

    def refresh(self) -> None:
        """What the task remembers of the step before."""
        memory = {"last_dist_goal": "dist_goal", "last_dist_box": "dist_box", "last_box_goal": "dist_box_goal"}
        for name, of in memory.items():
            if getattr(self.task, name, None) is not None:
                setattr(self.task, name, getattr(self.task, of)())


def targets(task: Any) -> list[tuple[np.ndarray, str]]:
    """One place of each kind of thing, or of the walls."""
    if hasattr(task, "circle"):
        return [(np.array(p), "walls") for p in ((1.125, 0.2), (-1.125, 0.5), (0.3, 1.125), (-0.4, -1.125), (0.9, 0.9))]
    return [(np.atleast_2d(kind.pos)[0][:2], kind.name) for kind in task._obstacles]


def probes(env: Any, task: Any) -> np.ndarray:
    """Single steps beside things."""
    numbers, rows = np.random.default_rng(1), []
    env.reset(seed=SEED)
    probe, buttons = Probe(env, task), getattr(task, "buttons", None)
    for k in range(PROBES):
        places = targets(task)
        place, kind = places[k % len(places)]
        if buttons is not None:
            buttons.timer = 3 * (k % 4 == 3)
            if kind == "goal":
                place, kind = buttons.pos[buttons.goal_button][:2], "buttons"
            elif kind == "buttons":
                place = buttons.pos[(buttons.goal_button + 1) % 4][:2]
        gap, heading = numbers.uniform(*GAPS[kind]), numbers.uniform(0, 2 * np.pi)
        if not probe.point and kind not in ("goal", "hazards", "walls"):
            gap += 0.075  # a car is longer than a point
        probe.approach(place, gap, heading, 1.0)
        if kind == "push_box" and k % 2:
            bring_box(task, probe)
        probe.refresh()
        env.unwrapped.steps = 0
        rows.append(record(env, task, probe, numbers, k))
    return np.array(rows)


def bring_box(task: Any, probe: Probe) -> None:
    """Put the box within the goal's edge, the agent beside it."""
    position, velocity = probe.read()
    at = 3 if probe.point else 13
    position[at : at + 2] = task.goal.pos[:2] + np.array((0.27, 0.0))
    position[at + 2], position[:2] = task.push_box.size, task.goal.pos[:2] + np.array((0.72, 0.0))
    probe.write(position, velocity, task.data.time)


def record(env: Any, task: Any, probe: Probe, numbers: np.random.Generator, k: int) -> np.ndarray:
    """One step from a state of 32-bit numbers."""
    position, velocity = (np.float32(x) for x in probe.read())
    time, action = np.float32(task.data.time + 0.37 * k), numbers.uniform(-1, 1, 2).astype(np.float32)
    goal, buttons = np.zeros(2, np.float32), getattr(task, "buttons", None)
    if hasattr(task, "goal"):
        goal = np.float32(task.goal.pos[:2])
        task._set_goal(np.float64(goal))
        if "goal" in task.world_info.layout:
            task.world_info.layout["goal"] = np.float64(goal)
    probe.write(np.float64(position), np.float64(velocity), float(time))
    probe.refresh()
    task.random_generator.set_random_seed(k)
    pressed = [0, 0] if buttons is None else [buttons.timer, buttons.goal_button]
    observation, reward, _, _, _, info = env.step(action)
    reached = bool(info.get("goal_met", False))
    return np.r_[position, velocity, time, action, goal, pressed, reached, reward, paid(info), np.float32(observation)]


def main() -> None:
    """Write the file."""
    found: dict[str, np.ndarray] = {"costs": np.array(COSTS)}
    for agent in ("Point", "Car"):
        for name in ("Goal", "Button", "Push", "Circle"):
            for level in range(3):
                env = safety_gymnasium.make(f"Safety{agent}{name}{level}-v0")
                task = env.unwrapped.task
                id = f"{agent}{name}{level}"
                made = {"probe": probes(env, task)} | trip(env, task)
                found |= {f"{id}/{part}": rows for part, rows in made.items()}
                width = made["seen"].shape[1]
                events = made["probe"][:, -width - 10 : -width].astype(int).sum(0)
                print(id, "reached", events[0], dict(zip((*COSTS, "sum"), events[2:], strict=True)), flush=True)
    np.savez_compressed(HERE / "navigation.npz", **found)
    print((HERE / "navigation.npz").stat().st_size)


if __name__ == "__main__":
    main()
