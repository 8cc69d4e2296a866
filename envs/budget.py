"""Limits as part of the environment: the budget that is left goes into the observation, and shapes reward or end.

The budget of cost i starts at 1 and follows z <- (z - c / limit) / gamma, so that z >= 0 at every step of an episode
means that its discounted cost keeps the limit (with gamma = 1: its plain sum). What a wrapper does when some z falls
below zero is its `mode`:

- "saute": the reward becomes `unsafe_reward`. Source: Sootla et al. 2022, arXiv:2202.06558, eq. 4 and 6.
- "simmer": the same, for a budget that `schedule` widens from a first share of the limit to the whole.
  Source: Sootla et al. 2022, arXiv:2206.02675, section 4.
- "terminate": the episode is over, and nothing beyond it is worth anything. For environments that can `restart` some of
  their copies (those written in tensors). Source: Sun et al. 2021, arXiv:2107.04200.
- "watch": nothing; the budget is only shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import Step, VectorEnv

Mode = Literal["saute", "simmer", "terminate", "watch"]


class Budget:
    """A VectorEnv whose observations end with the k budgets that are left, as shares of the limits.

    Observations that are whole numbers from a finite range (Discrete, MultiDiscrete) come one-hot. Costs are reported
    as they were; rewards are those to learn from, so score a policy with mode "watch".
    """

    def __init__(
        self,
        env: VectorEnv,
        limits: Sequence[float] = (),
        *,
        mode: Mode = "saute",
        discount: float = 1.0,
        unsafe_reward: float | Sequence[float] = 0.0,
        first_share: float = 0.2,
    ) -> None:
        """Shape an environment.

        Args:
            limits: one per cost, all positive, infinite for what is free; none: the environment's own.
            discount: gamma of the budget, the one of the limits.
            unsafe_reward: paid per objective in place of the reward below budget zero ("saute", "simmer").
            first_share: of the limits that "simmer" starts with.

        Raises: TradeoffError naming what does not fit.
        """
        given = tuple(limits) or env.spec.limits
        if mode not in get_args(Mode):
            raise TradeoffError(f"mode is {mode!r}; expected one of {', '.join(get_args(Mode))}")
        if len(given) != len(env.spec.costs) or not given or not all(x > 0 for x in given):
            raise TradeoffError(f"limits are {given}; expected a positive number for each of {env.spec.costs}")
        if mode == "terminate" and not hasattr(env, "restart"):
            raise TradeoffError(f"{env.spec.id} cannot break off single episodes; use the mode 'saute' instead")
        if not 0 < discount <= 1 or not 0 < first_share <= 1:
            raise TradeoffError(f"discount {discount} and first_share {first_share} must lie in (0, 1]")
        self.env, self.mode, self.discount = env, mode, discount
        self.num_envs, self.device, self.exact_state = env.num_envs, env.device, env.exact_state
        put = lambda x: torch.as_tensor(x, dtype=torch.float32, device=env.device)  # noqa: E731
        self.limits, self.unsafe = put(given), put(unsafe_reward).expand(len(env.spec.objectives))
        self.first_share = first_share
        self.share = first_share if mode == "simmer" else 1.0
        self.choices = _choices(env.spec.observation_space)
        width = sum(self.choices) if self.choices else int(np.prod(env.spec.observation_space.shape or (1,)))
        box = spaces.Box(-np.inf, np.inf, (width + len(given),), np.float32)
        self.spec = replace(env.spec, observation_space=box, limits=given)
        self.left = self._full()

    def schedule(self, progress: float) -> None:
        """Widen the budget of "simmer" in a straight line: first_share at progress 0, the whole limit at 1.

        It holds for episodes that begin from now on.
        """
        if self.mode != "simmer":
            raise TradeoffError(f"only mode 'simmer' has a schedule, this one is {self.mode!r}")
        self.share = self.first_share + (1 - self.first_share) * min(max(progress, 0.0), 1.0)

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset."""
        self.left = self._full()
        return self._with(self.env.reset(seed), self.left)

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step."""
        step = self.env.step(action)
        left = (self.left - step.cost / self.limits) / self.discount
        over, final = (left < 0).any(-1), self._with(step.final_observation, left)
        if self.mode == "terminate":
            step = self._break_off(step, over)
        elif self.mode != "watch":
            step = step._replace(reward=torch.where(over.unsqueeze(-1), self.unsafe, step.reward))
        ended = (step.terminated | step.truncated).unsqueeze(-1)
        self.left = torch.where(ended, self._full(), left)
        return step._replace(observation=self._with(step.observation, self.left), final_observation=final)

    def _break_off(self, step: Step, over: Tensor) -> Step:
        going_on = over & ~step.terminated & ~step.truncated
        fresh = self.env.restart(going_on) if going_on.any() else step.observation  # type: ignore[attr-defined]
        return step._replace(observation=fresh, terminated=step.terminated | over, truncated=step.truncated & ~over)

    def _full(self) -> Tensor:
        return torch.full((self.num_envs, len(self.limits)), self.share, device=self.device)

    def _with(self, observation: Tensor, left: Tensor) -> Tensor:
        x = observation
        if self.choices:
            hot = [torch.nn.functional.one_hot(c.long(), n) for c, n in zip(x.unbind(-1), self.choices, strict=True)]
            x = torch.cat(hot, -1)
        return torch.cat([x.float(), left], -1)

    def state_dict(self) -> dict[str, Any]:
        """See VectorEnv.state_dict."""
        return {"env": self.env.state_dict(), "left": self.left, "share": self.share}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See VectorEnv.load_state_dict."""
        self.env.load_state_dict(state["env"])
        self.left, self.share = state["left"].to(self.device), state["share"]

    def close(self) -> None:
        """See VectorEnv.close."""
        self.env.close()


def _choices(space: spaces.Space[Any]) -> tuple[int, ...]:
    """Number of values of each observed number, where they are finite; else empty."""
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    return tuple(int(n) for n in space.nvec.ravel()) if isinstance(space, spaces.MultiDiscrete) else ()
