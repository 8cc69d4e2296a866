"""Objectives of an environment, or the steps it takes, as costs that can be limited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tradeoff.envs.around import Around
from tradeoff.envs.errors import TradeoffError, UnknownName
from tradeoff.envs.finite import Tables
from tradeoff.envs.gymnasium_costs import TEXT
from tradeoff.envs.protocol import EnvSpec, Step, VectorEnv

CLOCK = "step"  # a cost of 1 in every step


class Source(NamedTuple):
    """Where a cost comes from."""

    name: str
    column: int | None  # of the reward; None: the clock
    sign: float  # -1 where the environment pays a penalty, a number below 0


def find_sources(spec: EnvSpec, costs: Sequence[str]) -> tuple[Source, ...]:
    """Costs by their texts: `objective`, `-objective` or `step` (the clock), with `name=` before it for another name.

    Raises: UnknownName for what the environment does not pay; TradeoffError for two channels of one name, and where no
    objective is left.
    """
    found = tuple(_source(spec, text) for text in costs)
    left = [spec.objectives[i] for i in _left(spec, found)]
    names = [*left, *spec.costs, *(source.name for source in found)]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise TradeoffError(f"two channels of {spec.id} would be called {double[0]!r}; write other_name=... before one")
    if not left:
        raise TradeoffError(f"every objective of {spec.id} became a cost; leave one to maximise")
    return found


def _source(spec: EnvSpec, text: str) -> Source:
    parts = TEXT.fullmatch(text.strip())
    wanted = parts["source"].strip() if parts else text
    sign = -1.0 if parts and parts["sign"] == "-" else 1.0
    if wanted not in (*spec.objectives, CLOCK):
        raise UnknownName("objective", wanted, (*spec.objectives, CLOCK))
    column = spec.objectives.index(wanted) if wanted in spec.objectives else None
    return Source(parts["name"] if parts and parts["name"] else wanted, column, sign)


def _left(spec: EnvSpec, sources: Sequence[Source]) -> list[int]:
    """Columns of the reward that stay objectives."""
    taken = {source.column for source in sources}
    return [i for i in range(len(spec.objectives)) if i not in taken]


def cost_spec(spec: EnvSpec, sources: Sequence[Source], **known: Any) -> EnvSpec:
    """What is known of an environment whose objectives became costs.

    known: `limits` and `ceilings` of the new costs, or other fields; the discount is 1 unless it says otherwise,
    because limits are sums per episode. Raises: TradeoffError for another number of limits or ceilings than costs.
    """
    left, point = _left(spec, sources), spec.reference_point
    for kind in ("limits", "ceilings"):
        mine, given = getattr(spec, kind), tuple(known.get(kind, ()))
        if len(given) not in (0, len(sources)):
            raise TradeoffError(f"{len(given)} {kind} for {len(sources)} costs of {spec.id}; give one for each")
        known[kind] = (*mine, *given) if given and len(mine) == len(spec.costs) else ()
    changed: dict[str, Any] = {
        "objectives": tuple(spec.objectives[i] for i in left),
        "costs": (*spec.costs, *(source.name for source in sources)),
        "reference_point": point and tuple(point[i] for i in left),
        "discount": 1.0,
    }
    return replace(spec, **{**changed, **known})


def cost_tables(tables: Tables, spec: EnvSpec, sources: Sequence[Source]) -> Tables:
    """Tables of a finite environment without costs of its own, its channels [S, A, K, m] as objectives, then costs."""
    paid = [tables.channels[..., i] for i in _left(spec, sources)]
    live = np.broadcast_to(~tables.terminal[:, None, None], tables.probability.shape).astype(float)
    charged = [live if s.column is None else s.sign * tables.channels[..., s.column] + 0.0 for s in sources]
    return replace(tables, channels=np.stack([*paid, *charged], -1))


class AsCost(Around):
    """The environment inside, step by step: some columns of its reward, or its clock, are columns of the cost."""

    def __init__(self, env: VectorEnv, costs: Sequence[str], **known: Any) -> None:
        """costs: see `find_sources`. known: see `cost_spec`."""
        super().__init__(env)
        self.sources = find_sources(env.spec, costs)
        self.spec = cost_spec(env.spec, self.sources, **known)
        self.left = torch.tensor(_left(env.spec, self.sources), device=env.device)

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step."""
        step = self.env.step(action)
        new = [self._charge(source, step.reward) for source in self.sources]
        cost = torch.cat([step.cost.to(step.reward.dtype), torch.stack(new, -1)], -1)
        return step._replace(reward=step.reward.index_select(-1, self.left), cost=cost)

    @staticmethod
    def _charge(source: Source, reward: Tensor) -> Tensor:
        if source.column is None:
            return source.sign * torch.ones_like(reward[:, 0])
        return source.sign * reward[:, source.column] + 0.0  # no -0.0
