"""Safety-Gymnasium's navigation tasks on batched MuJoCo: see docs/navigation.md."""

from __future__ import annotations

from functools import partial
from typing import Any

from tradeoff.envs.navigation.tasks import AGENTS, POINT, tasks
from tradeoff.envs.protocol import VectorEnv


def _build(id: str, agent: str, task: str, num_envs: int, **options: Any) -> VectorEnv:
    from tradeoff.envs.navigation.env import Navigation

    return Navigation(id, agent, task, num_envs, **options)


ENVIRONMENTS = {
    f"Safety{agent}{task}-v0": partial(_build, f"Safety{agent}{task}-v0", agent, task)
    for agent in AGENTS
    for task in tasks(POINT)
}
