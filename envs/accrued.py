"""Expected utility of the return, E[u(G)], as an ordinary sum of rewards.

What an episode has earned so far, and how much the next reward counts, become part of the observation; the reward
becomes what the utility gains. The gains of an episode sum to u(G) - u(0), so a plain policy gradient on that channel
climbs E[u(G)], which no weights on the original channels do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tradeoff.envs.augmented import Augmented
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import Step, VectorEnv


class AccruedReward(Augmented):
    """A VectorEnv that pays u(G_{0:h+1}) - u(G_{0:h}), then every original reward times discount^h.

    Observations end with the accrued return G_{0:h} [m] and discount^h. Rewards come discounted already: train with
    discount 1. The clock's end is the episode's end, where u(G) is settled: it is reported as terminated.
    Source: Roijers, Steckelmacher and Nowe 2018, Adaptive and Learning Agents workshop (expected scalarized returns).
    """

    def __init__(
        self,
        env: VectorEnv,
        utility: Callable[[Tensor], Tensor],
        *,
        discount: float | None = None,
        names: Sequence[str] = ("utility",),
    ) -> None:
        """Shape an environment.

        Args:
            utility: returns [N, m] -> [N], or [N, q] for q utilities at once (moments of G, say); rows apart.
            discount: of the return G; None: the environment's usual one.
            names: of the q channels that come first.

        Raises: TradeoffError where u(0) is not finite or its shape does not fit the names.
        """
        self.utility = utility
        self.gamma = env.spec.discount if discount is None else discount
        if not 0 < self.gamma <= 1:
            raise TradeoffError(f"discount must lie in (0, 1], got {self.gamma}")
        self.width = len(env.spec.objectives)
        super().__init__(env, (*names, *env.spec.objectives), self.width + 1, 1.0)
        at_zero = self._utility(self.memory[:, :-1])
        if at_zero.shape != (self.num_envs, len(names)):
            raise TradeoffError(
                f"the utility answers {tuple(at_zero.shape)}; expected a row for each of {self.num_envs} environments "
                f"and a column for each of {tuple(names)}"
            )
        if not torch.isfinite(at_zero).all():
            raise TradeoffError(f"u(0) is {at_zero[0].tolist()}, but every episode starts there: shift the utility")

    def begin(self) -> Tensor:
        """See Augmented.begin: nothing accrued, discount^0."""
        fresh = torch.zeros(self.num_envs, self.width + 1, dtype=torch.float64, device=self.device)
        fresh[:, -1] = 1.0
        return fresh

    def shown(self, memory: Tensor) -> Tensor:
        """See Augmented.shown."""
        return memory

    def advance(self, action: Tensor, step: Step) -> tuple[Tensor, Step]:
        """See Augmented.advance."""
        before, weight = self.memory[:, :-1], self.memory[:, -1:]
        earned = weight * step.reward
        gain = self._utility(before + earned) - self._utility(before)
        over = step.terminated | step.truncated
        step = step._replace(
            reward=torch.cat([gain, earned], -1).float(), terminated=over, truncated=torch.zeros_like(over)
        )
        return torch.cat([before + earned, weight * self.gamma], -1), step

    def _utility(self, accrued: Tensor) -> Tensor:
        value = self.utility(accrued)
        return value.unsqueeze(-1) if value.ndim == 1 else value
