"""The policies of a finished run as the first ones of another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from tradeoff.engine.files import read_whole
from tradeoff.engine.normalisers import Moments
from tradeoff.engine.policy import model_state
from tradeoff.engine.run import Run
from tradeoff.errors import BadInput
from tradeoff.morl import Front
from tradeoff.results import Result, kind_in


def origin(source: Path) -> dict[str, str]:
    """Where first policies come from, for config.json. Raises: BadInput where no finished run lies."""
    kind = kind_in(source)
    if kind is None:
        raise BadInput(f"--init {source} holds no finished run; resume it to its end, or name another folder")
    return {"run": str(source), "sha256": hashlib.sha256(read_whole(source / kind.files[0])).hexdigest()}


def adopt(run: Run, source: Path) -> None:
    """Let a fresh run begin with the policies of a finished one, their normalisers and, where it has such, critics.

    A front method takes for each of its preferences the policy that serves it best; a method with one aim takes the
    policies as they stand, the best ones where it trains fewer, and in turn where it trains more.
    Raises: BadInput naming what differs where the networks do not fit; as `Front.load` and `Trained.load`.
    """
    kind = kind_in(source)
    assert kind is not None, "origin has looked"
    result: Result = kind.load(source)
    learner: Any = run.learner
    here, there = (_flat(model_state(model)) for model in (learner.model, result.model))
    differing = [name for name in here if here[name] != there.get(name)]
    if differing:
        said = ", ".join(f"{name} is {there.get(name)} there and {here[name]} here" for name in differing[:3])
        raise BadInput(f"the policies of {source} do not fit: {said}; give the same settings, or leave --init out")
    people = learner.population
    found = result.population[_rows(run, result, len(people), source)]
    same = min(people.theta.shape[1], found.theta.shape[1])  # a replayed actor has its critics elsewhere
    people.theta[:, :same].copy_(found.theta[:, :same])
    people.observations = _on(found.observations, people.observations)
    if people.theta.shape == found.theta.shape and same > 1:
        people.returns = _on(found.returns, people.returns)


def _rows(run: Run, result: Result, wanted: int, source: Path) -> list[int]:
    """Which policies of the result are the first ones."""
    preferences = getattr(run, "preferences", None)
    if isinstance(result, Front):
        if preferences is not None:
            return [result.choose(weights=w) for w in preferences]
        if wanted != len(result):
            raise BadInput(
                f"{source} holds a front of {len(result)} policies, for one aim each of them would serve: give "
                f"--policies {len(result)}, or name a run with one aim"
            )
        return list(range(wanted))
    if wanted < len(result):
        value = torch.as_tensor(result.indicators["value"])
        return value.sort(descending=True, stable=True).indices[:wanted].sort().values.tolist()
    return [i % len(result) for i in range(wanted)]


def _on(moments: Moments, like: Moments) -> Moments:
    return Moments(*(x.to(like.mean.device) for x in moments))


def _flat(state: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted names."""
    found: dict[str, Any] = {}
    for name, value in state.items():
        found |= _flat(value, f"{where}{name}.") if isinstance(value, dict) else {f"{where}{name}": value}
    return found
