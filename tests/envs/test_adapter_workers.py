"""Worker processes of the gymnasium adapter: errors, ends, interruptions."""

from __future__ import annotations

import multiprocessing as mp
import os
import re
import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff.envs import TradeoffError, UserCodeFailed
from tradeoff.envs.gymnasium_adapter import GymnasiumEnv


class Knob(gym.Env):
    """Starts at a random place and pays the action; 1 ends the episode; a broken knob comes off at 0."""

    observation_space, action_space = spaces.Box(0, 9, (2,), np.float64), spaces.Discrete(3)
    broken = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(0, 9, 2), {}

    def step(self, action):
        if action == 0 and self.broken:
            raise RuntimeError("the knob came off")
        return self.np_random.uniform(0, 9, 2), float(action), bool(action == 1), False, {}


class Broken(Knob):
    broken = True


def test_an_error_in_a_worker_comes_back_with_its_traceback_and_leaves_no_stale_answer():
    """The first worker raises while the second answers; after a reset both agree with copies that never failed."""
    env, other = (GymnasiumEnv(Broken, 2, workers=workers) for workers in (2, 0))
    for each in (env, other):
        with pytest.raises(UserCodeFailed) as raised:
            each.step(torch.tensor([0, 2]))
        said = (
            r"Broken failed in step 1 of copy 0: RuntimeError: the knob came off \(test_adapter_workers.py, line \d+\);"
        )
        assert re.match(said, str(raised.value)) and (raised.value.env, raised.value.step) == ("Broken", 1)
        assert ", in step\n" in raised.value.traceback and "the knob came off" in raised.value.traceback
    assert torch.equal(env.reset(8), other.reset(8))
    for action in ([1, 2], [2, 1]):
        a, b = env.step(torch.tensor(action)), other.step(torch.tensor(action))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    processes = [worker.process for worker in env.workers]
    env.close()
    assert [process.is_alive() for process in processes] == [False, False]


def test_what_goes_wrong_while_a_worker_builds_its_copies_is_told_and_the_others_end():
    home, built = os.getpid(), mp.Value("i", 0)

    def build():
        with built.get_lock():
            built.value += 1
            if os.getpid() != home and built.value == 2:  # after the probe: the first worker to come here
                raise RuntimeError("no display in this process")
        return Knob()

    before = set(mp.active_children())
    with pytest.raises(TradeoffError, match="no display in this process"):
        GymnasiumEnv(build, 2, workers=2)
    assert set(mp.active_children()) - before == set()


def test_workers_leave_interruptions_to_their_parent():
    env = GymnasiumEnv(Knob, 2, workers=2)
    for worker in env.workers:
        os.kill(worker.process.pid, signal.SIGINT)
    assert env.step(torch.tensor([0, 2])).reward.tolist() == [[0], [2]]
    env.close()


def test_a_worker_that_is_killed_is_reported():
    env = GymnasiumEnv(Knob, 2, workers=2)
    env.workers[1].process.kill()
    with pytest.raises(TradeoffError, match=r"an environment process is gone \(exit code -9\)"):
        env.step(torch.zeros(2, dtype=torch.int64))
    env.close()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent_even_when_it_is_killed(end):
    script = (
        "import gymnasium, time; from tradeoff.envs.gymnasium_adapter import GymnasiumEnv\n"
        "env = GymnasiumEnv(lambda: gymnasium.make('CartPole-v1'), 4, workers=2)\n"
        "print(*[worker.process.pid for worker in env.workers], flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.send_signal(end)
    parent.wait()
    deadline = time.monotonic() + 10
    while any(running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [running(pid) for pid in pids] == [False, False]


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
