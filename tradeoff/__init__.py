"""The program and its Python face: train, resume, and what a front takes. Nothing loads before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradeoff.engine.trained import Trained
    from tradeoff.envs import make
    from tradeoff.morl import CMORL, Front, WeightedSumFront
    from tradeoff.registry import recommended
    from tradeoff.run import resume, train

HOMES = {
    "train": "run", "resume": "run", "make": "envs", "recommended": "registry", "Trained": "engine.trained",
    "CMORL": "morl", "Front": "morl", "WeightedSumFront": "morl",
}  # fmt: skip

__all__ = ["CMORL", "Front", "Trained", "WeightedSumFront", "make", "recommended", "resume", "train"]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'tradeoff' has no attribute {name!r}")
    return getattr(import_module(f"tradeoff.{HOMES[name]}"), name)
