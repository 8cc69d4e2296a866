"""Where vector rewards come from: batched environments, adapters, exact models."""

from envs.errors import MissingExtra, NumericalTrouble, TradeoffError, UnknownName
from envs.finite import FiniteModel
from envs.protocol import EnvSpec, Step, VectorEnv
from envs.registry import Listed, finite_model, list_environments, make, register, register_gymnasium
from envs.tabular import finite_arrays, make_tabular

__all__ = [
    "EnvSpec",
    "FiniteModel",
    "Listed",
    "MissingExtra",
    "NumericalTrouble",
    "Step",
    "TradeoffError",
    "UnknownName",
    "VectorEnv",
    "finite_arrays",
    "finite_model",
    "list_environments",
    "make",
    "make_tabular",
    "register",
    "register_gymnasium",
]
