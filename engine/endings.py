"""Episodes that may never end: what is done about them, and said before training."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from tradeoff.envs.protocol import EnvSpec, VectorEnv

PROBE = 1000  # steps of random actions within which an episode should end where there is no horizon
CUT = 1000  # steps after which episodes of an evaluation are cut where limits on means need no end


def evaluation_cut(config: Any, spec: EnvSpec) -> int | None:
    """Steps after which evaluations cut episodes: where limits bound means per step, and nothing else ends them."""
    return CUT if spec.horizon is None and getattr(config, "scale", None) == "average" else None


def ends(env: VectorEnv, seed: int) -> bool:
    """Whether an episode of an environment ends within PROBE steps of random actions."""
    space = env.spec.action_space
    space.seed(seed)
    env.reset(seed)
    for _ in range(PROBE):
        step = env.step(torch.as_tensor(np.asarray(space.sample())[None], device=env.device))
        if bool((step.terminated | step.truncated).any()):
            return True
    return False


def warn_endless(env: VectorEnv, name: str, seed: int, cut: int | None) -> None:
    """Say where no episode of an environment without a horizon ends; close it."""
    try:
        if ends(env, seed):
            return
    finally:
        env.close()
    meant = (
        f"evaluations are cut after {cut} steps" if cut else
        "evaluations, and limits on sums over episodes, need an end: --horizon 1000 cuts episodes after 1000"
    )  # fmt: skip
    warnings.warn(
        f"{name} has no horizon, and no episode ended in {PROBE} steps of random actions; {meant}", stacklevel=2
    )
