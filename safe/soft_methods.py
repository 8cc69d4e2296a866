"""Constrained solvers that learn from replay, as methods of the program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tradeoff.engine.loop import Loop
from tradeoff.engine.method import method_class
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.engine.training import Training
from tradeoff.engine.unread import refuse_unread_on
from tradeoff.safe.methods import ConstrainedConfig
from tradeoff.safe.soft_solvers import CAL, SACPID, SACAugmented, SACLagrangian, SACReLOAD, soft_learner
from tradeoff.safe.variational import CVPO
from tradeoff.safe.worst_case import WCSAC

HIGH_RATIO = SoftConfig(rollout_steps=4, environments=1, updates=10.0, members=4)
MANY_ACTIONS = SoftConfig(batch=64)  # each state is judged by as many actions as its solver samples


@dataclass(frozen=True, kw_only=True)
class SoftRunConfig(ConstrainedConfig):
    """What every constrained solver that learns from replay needs to know."""

    evaluate_every: int = 150  # iterations between evaluations (and checkpoints, which hold the replay)
    episodes: int = 3  # evaluation episodes per policy during training
    learner: SoftConfig = field(default_factory=SoftConfig)  # type: ignore[assignment]
    """Soft actor-critic; the defaults suit continuous control."""

    def build(self, run: Training) -> Loop:
        """See TrainingConfig.build."""
        self.check(run)
        env = run.make_env(self.policies * self.learner.environments, run.draw_seed())
        refuse_unread_on(env.spec, self.learner)
        learner = soft_learner(
            env, self.aims(run.spec), self.solver, self.learner, run.generator,
            discount=run.discount, policies=self.policies, base=self.base(run),
        )  # fmt: skip
        return self.judged(learner, run)

    def rate(self, share: float) -> float:
        """See TrainingConfig.rate: constant."""
        return 1.0


def _method(solver: Any, config: SoftConfig, every: int) -> type[SoftRunConfig]:
    learner = ("learner", SoftConfig, field(default_factory=lambda: config))
    evaluations = ("evaluate_every", int, field(default=every))
    return method_class(SoftRunConfig, solver.name, "solver", solver, learner, evaluations)


METHODS: dict[str, type[SoftRunConfig]] = {
    solver.name: _method(solver, config, every)
    for solver, config, every in (
        (SACLagrangian, SoftConfig(), 150), (SACPID, SoftConfig(), 150), (SACAugmented, SoftConfig(), 150),
        (SACReLOAD, SoftConfig(), 150), (WCSAC, SoftConfig(), 150), (CVPO, MANY_ACTIONS, 150), (CAL, HIGH_RATIO, 2400),
    )
}  # fmt: skip
