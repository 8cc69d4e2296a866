"""A small cart and tiny settings for every registered method, in units that are given.

Gains that carry a unit (a price, a price per violation, a step per objective) are given in the same unit as well; what
is left must not know it.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from gymnasium import spaces

from tradeoff.engine.soft_config import SoftConfig
from tradeoff.envs import register
from tradeoff.envs.batched import BatchedEnv, Outcome
from tradeoff.envs.protocol import EnvSpec
from tradeoff.registry import METHODS

TINY = {"rollout_steps": 12, "environments": 3, "epochs": 2, "minibatches": 2, "hidden": (8,)}
HORIZON, LIMIT = 5, 1.5
Units = tuple[float, float, float]  # of rewards, costs, observations
PRICE, PER_VIOLATION = (1, -1), (1, -2)  # powers of the units of rewards and costs
DUAL = {"rate": PER_VIOLATION, "penalty": PER_VIOLATION, "kp": PER_VIOLATION, "ki": PER_VIOLATION,
        "kd": PER_VIOLATION, "start": PRICE, "bound": PRICE, "temperature": (1, 0)}  # fmt: skip
GAINS: dict[str, dict[str, tuple[int, int]]] = {  # what differs from a dual rule's, by method
    "ipo": {"sharpness": (-1, 0), "bound": PRICE},
    "p3o": {"penalty": (0, -1)},
    "focops": DUAL | {"temperature": (0, 0)},
    "cup": {"rate": (0, -2), "penalty": (0, -2), "kd": (0, -2), "bound": (0, -1)},  # prices in nats
    "cal": {"penalty": PER_VIOLATION, "start": PRICE, "bound": PRICE, "temperature": (1, 0)},
    "cvpo": {"bound": PRICE},
}
OWN_LENGTH = ("momentum", "n-vr-pg", "n-pg-igt", "n-harpg", "mo-n-pg-igt")  # normalised steps


class Drive(BatchedEnv):
    """A cart that is pushed: paid for speed and for rest, worn by pushing; all in units that are given."""

    start_draws = step_draws = 2

    def __init__(self, units: Units, num_envs: int, **options: Any) -> None:
        self.units = units
        low, high = torch.tensor([-4.0, -4.0]).numpy(), torch.tensor([4.0, 4.0]).numpy()
        seen, act = spaces.Box(low * units[2], high * units[2]), spaces.Box(-1.0, 1.0, (1,))
        super().__init__(
            EnvSpec(
                id="drive", observation_space=seen, action_space=act, objectives=("speed", "rest"), costs=("wear",),
                limits=(LIMIT * units[1],), horizon=HORIZON, reference_point=(-8.0 * units[0],) * 2,
            ),
            num_envs, **options,
        )  # fmt: skip

    def start(self, uniform):
        return (uniform - 0.5,)

    def transition(self, state, action, uniform):
        push = action.clamp(-1.0, 1.0)
        new = (0.8 * state[0] + 0.3 * push + 0.2 * (uniform - 0.5)).clamp(-4.0, 4.0)
        reward = torch.stack([2 + new[:, 0] + push[:, 0], 2 - push[:, 0].square()], -1)
        cost = 0.5 * (push + 1) * (1 + uniform[:, :1])
        ended = torch.zeros(len(new), dtype=torch.bool)
        return Outcome((new,), reward * self.units[0], ended, cost * self.units[1])

    def observe(self, state):
        return (state[0] + torch.tensor([0.5, 2.0])) * self.units[2]


def _scaled(settings: Any, gains: dict[str, tuple[int, int]], units: Units) -> Any:
    """The settings with the gains that carry a unit in that unit."""
    changes: dict[str, Any] = {}
    for name in (f.name for f in fields(settings)):
        value = getattr(settings, name)
        if is_dataclass(value):
            changes[name] = _scaled(value, gains, units)
        elif name in gains:
            changes[name] = value * units[0] ** gains[name][0] * units[1] ** gains[name][1]
    return replace(settings, **changes)


def tiny_config(method: str, units: Units = (1.0, 1.0, 1.0), **changes: Any) -> Any:
    """A run of two policies on the cart; costs are limited to LIMIT. changes: of its fields."""
    kind, name = METHODS[method], f"drive-{units}"
    register(name, lambda num_envs, **options: Drive(units, num_envs, **options))
    known = {f.name: f for f in fields(kind)}
    wanted: dict[str, Any] = {"env": name, "steps": 10**6, "policies": 2, "seed": 3}
    if "learner" in known:
        learner: Any = kind().learner
        tiny = {k: v for k, v in TINY.items() if hasattr(learner, k)}
        soft = {"warmup": 30, "batch": 16, "updates": 0.3, "capacity": 500} if isinstance(learner, SoftConfig) else {}
        wanted["learner"] = replace(learner, **tiny, **soft)
    if "utility" in known:
        wanted["utility"] = "linear"
    if "hidden" in known:
        wanted |= {"hidden": (8,), "batch": 4} | {n: 8 for n in ("checkpoint",) if n in known}
    if "limit" in known:
        limit = LIMIT * units[1]
        ranged = method == "conditioned-lagrangian"
        wanted["limit"] = (f"wear<={limit!r}..{2 * limit!r}" if ranged else f"wear<={limit!r}",)
    config: Any = kind(**wanted | changes)
    gains = GAINS.get(method, DUAL)
    if "limit" in known:
        config = _scaled(config, gains, units)
    if "step" in known and config.step == "own" and method not in OWN_LENGTH:
        config = replace(config, learning_rate=config.learning_rate / units[0])
    return config
