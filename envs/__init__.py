"""Where vector rewards come from: batched environments, adapters, exact models."""

from tradeoff.envs.errors import MissingExtra, NumericalTrouble, TradeoffError, UnknownName, UserCodeFailed
from tradeoff.envs.finite import FiniteModel
from tradeoff.envs.protocol import EnvSpec, Step, VectorEnv
from tradeoff.envs.registry import Listed, finite_model, list_environments, make, register, register_gymnasium
from tradeoff.envs.tabular import finite_arrays, make_tabular

__all__ = [
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
