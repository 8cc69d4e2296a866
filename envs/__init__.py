"""Where vector rewards come from: batched environments, adapters, exact models. Nothing loads before it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradeoff.envs.action_repeat import ActionRepeat
    from tradeoff.envs.errors import MissingExtra, NumericalTrouble, TradeoffError, UnknownName, UserCodeFailed
    from tradeoff.envs.finite import FiniteModel
    from tradeoff.envs.protocol import EnvSpec, Step, VectorEnv
    from tradeoff.envs.registry import Listed, finite_model, list_environments, make, register, register_gymnasium
    from tradeoff.envs.tabular import finite_arrays, make_tabular

PARTS = {
    "action_repeat": ("ActionRepeat",),
    "errors": ("MissingExtra", "NumericalTrouble", "TradeoffError", "UnknownName", "UserCodeFailed"),
    "finite": ("FiniteModel",),
    "protocol": ("EnvSpec", "Step", "VectorEnv"),
    "registry": ("Listed", "finite_model", "list_environments", "make", "register", "register_gymnasium"),
    "tabular": ("finite_arrays", "make_tabular"),
}
HOMES = {name: part for part, names in PARTS.items() for name in names}

__all__ = [
    "ActionRepeat",
    "EnvSpec",
    "FiniteModel",
    "Listed",
    "MissingExtra",
    "NumericalTrouble",
    "Step",
    "TradeoffError",
    "UnknownName",
    "UserCodeFailed",
    "VectorEnv",
    "finite_arrays",
    "finite_model",
    "list_environments",
    "make",
    "make_tabular",
    "register",
    "register_gymnasium",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'tradeoff.envs' has no attribute {name!r}")
    return getattr(import_module(f"tradeoff.envs.{HOMES[name]}"), name)
