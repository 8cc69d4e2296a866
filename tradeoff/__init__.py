"""The program and its Python face: train, resume, and what a front takes. Nothing loads before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradeoff.envs import make
    from tradeoff.morl import CMORL, Front, WeightedSumFront, recommended
    from tradeoff.run import resume, train

HOMES = {
    "train": "tradeoff.run", "resume": "tradeoff.run", "make": "envs", "recommended": "morl",
    "CMORL": "morl", "Front": "morl", "WeightedSumFront": "morl",
}  # fmt: skip

__all__ = ["CMORL", "Front", "WeightedSumFront", "make", "recommended", "resume", "train"]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'tradeoff' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)
