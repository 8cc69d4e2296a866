"""Limits as part of the environment: the budget that is left goes into the observation, and shapes reward or end.

The budget of cost i starts at 1 and follows z <- (z - c / limit) / gamma, so that z >= 0 at every step of an episode
means that its discounted cost keeps the limit (with gamma = 1: its plain sum). What a wrapper does when some z falls
below zero is its `mode`:

- "saute": the reward becomes `unsafe_reward`. Source: Sootla et al. 2022, arXiv:2202.06558, eq. 4 and 6.
- "simmer": the same, for a budget that `schedule` widens from a first share of the limit to the whole.
  Source: Sootla et al. 2022, arXiv:2206.02675, section 4.
- "terminate": the reward becomes `unsafe_reward`, and the episode is over. For environments that can `restart` some of
  their copies (those written in tensors). Source: Sun et al. 2021, arXiv:2107.04200.
- "watch": nothing; the budget is only shown.

A budget without discount is one per episode, and it ends with the episode: but for "watch", the time limit is then
reported as terminated, so that no critic expects rewards beyond it that the budget would have to pay for. How a budget
is best spent then depends on the time that is left, which is shown, too. Source: Pardo et al. 2018, arXiv:1712.00378.
A discounted budget has no end: its time limit stays truncated, and no clock is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from tradeoff.envs.augmented import Augmented, break_off
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import Step, VectorEnv

Mode = Literal["saute", "simmer", "terminate", "watch"]

ROUNDING = 1e-6  # excess over a limit, as a share of it, that sums of float32 costs make by rounding alone


class Budget(Augmented):
    """A VectorEnv whose observations end with the k budgets that are left, as shares of the limits, and the time left.

    The time left is a share of the horizon, shown where there is one and budgets have no discount. Costs are added up
    in their own unit, in float64. They are reported as they were; rewards are those to learn from, so score a policy
    with mode "watch".
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
        clock: bool = True,
    ) -> None:
        """Shape an environment.

        Args:
            limits: one per cost, all positive, infinite for what is free; none: the environment's own.
            discount: gamma of the budget, the one of the limits.
            unsafe_reward: paid per objective in place of the reward below budget zero.
            first_share: of the limits that "simmer" starts with.
            clock: whether the time left is shown; policies of older versions did not see it.

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
        self.mode, self.gamma, self.first_share = mode, discount, first_share
        self.limits = torch.tensor(given, dtype=torch.float64, device=env.device)
        unsafe = torch.as_tensor(unsafe_reward, dtype=torch.float32, device=env.device)
        self.unsafe = unsafe.expand(len(env.spec.objectives))
        self.share = first_share if mode == "simmer" else 1.0
        self.horizon = env.spec.horizon if clock and discount == 1 else None
        super().__init__(env, env.spec.objectives, len(given) + (self.horizon is not None), env.spec.discount)
        self.spec = replace(self.spec, limits=given, reference_point=env.spec.reference_point)

    def schedule(self, progress: float) -> None:
        """Widen the budget of "simmer" in a straight line: first_share at progress 0, the whole limit at 1.

        It holds for episodes that begin from now on.
        """
        if self.mode != "simmer":
            raise TradeoffError(f"only mode 'simmer' has a schedule, this one is {self.mode!r}")
        self.share = self.first_share + (1 - self.first_share) * min(max(progress, 0.0), 1.0)

    def begin(self) -> Tensor:
        """See Augmented.begin: nothing spent [k], gamma^0, the share of the limits that may be spent, no step."""
        fresh = torch.zeros(self.env.num_envs, len(self.limits) + 3, dtype=torch.float64, device=self.env.device)
        fresh[:, -3], fresh[:, -2] = 1.0, self.share
        return fresh

    def shown(self, memory: Tensor) -> Tensor:
        """See Augmented.shown: z = (share - spent / limit) / gamma^t, and 1 - t / horizon."""
        spent, weight, share, clock = _parts(memory)
        left = (share - spent / self.limits) / weight
        return left if self.horizon is None else torch.cat([left, 1 - clock / self.horizon], -1)

    def advance(self, action: Tensor, step: Step) -> tuple[Tensor, Step]:
        """See Augmented.advance."""
        spent, weight, share, clock = _parts(self.memory)
        spent = spent + weight * step.cost
        over = (spent > share * self.limits * (1 + ROUNDING)).any(-1)
        return torch.cat([spent, weight * self.gamma, share, clock + 1], -1), self._shaped(step, over)

    def _shaped(self, step: Step, over: Tensor) -> Step:
        """The step as it is to be learnt from, where over [N] bool says that a budget is overspent."""
        if self.mode == "watch":
            return step
        step = step._replace(reward=torch.where(over.unsqueeze(-1), self.unsafe, step.reward))
        if self.mode == "terminate":
            step = break_off(self.env, step, over)
        if self.gamma < 1:
            return step
        return step._replace(terminated=step.terminated | step.truncated, truncated=torch.zeros_like(step.truncated))

    def state_dict(self) -> dict[str, Any]:
        """See VectorEnv.state_dict."""
        return super().state_dict() | {"share": self.share}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See VectorEnv.load_state_dict. Older files hold what is left, as shares, in place of sums and clocks."""
        if "left" in state:
            memory = self.begin()
            spent = (state["share"] - state["left"].to(memory)) * self.limits
            memory[:, :-3], memory[:, -2] = torch.where(self.limits.isinf(), 0.0, spent), state["share"]
            state = {**state, "memory": memory, "seen": self.seen}
        super().load_state_dict(state)
        self.share = state["share"]


def _parts(memory: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What was spent [N, k], gamma^t, the share of the limits that may be spent, and t, [N, 1] each."""
    return memory[:, :-3], memory[:, -3:-2], memory[:, -2:-1], memory[:, -1:]
