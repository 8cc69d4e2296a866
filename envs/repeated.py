"""Every action several times in a row: fewer decisions, noise that lasts long enough to move a body, and less to look
ahead.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tradeoff.envs.around import Around
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import Step, VectorEnv


class Repeated(Around):
    """A VectorEnv whose step makes `times` steps of the environment inside, and pays the sum of what they pay.

    Where an episode ends on the way, nothing later counts, and a new one begins with the next step; the steps in
    between are real ones that nobody learns from. The clock counts steps of this environment, rounded up.
    Source: Mnih et al. 2015, Nature 518 (frame skipping).
    """

    def __init__(self, env: VectorEnv, times: int) -> None:
        """Raises TradeoffError for fewer than one time, and where single episodes cannot be begun anew."""
        if times < 1:
            raise TradeoffError(f"actions can be made once or more often, not {times} times")
        if not hasattr(env, "restart"):
            raise TradeoffError(
                f"{env.spec.id} cannot begin single episodes anew, which repeating actions needs; repeat them inside "
                "the environment, by tradeoff.envs.ActionRepeat around what is registered"
            )
        super().__init__(env)
        self.times = times
        horizon, ceilings = env.spec.horizon, tuple(times * most for most in env.spec.ceilings)
        rounds = None if horizon is None else -(-horizon // times)
        self.spec = replace(env.spec, horizon=rounds, ceilings=ceilings, repeat=times * env.spec.repeat)

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step."""
        step = self.env.step(action)
        early = torch.zeros_like(step.terminated)
        for _ in range(self.times - 1):
            early = step.terminated | step.truncated
            step = _joined(step, self.env.step(action), ~early)
        return step._replace(observation=self.restart(early)) if early.any() else step


def _joined(before: Step, after: Step, going_on: Tensor) -> Step:
    """Two steps as one; the second counts where an episode goes on [N] bool."""
    on = going_on.unsqueeze(-1)
    return Step(
        after.observation,
        before.reward + torch.where(on, after.reward, 0.0),
        before.cost + torch.where(on, after.cost, 0.0),
        before.terminated | (going_on & after.terminated),
        before.truncated | (going_on & after.truncated),
        torch.where(on, after.final_observation, before.final_observation),
    )
