"""The shared policy-gradient engine: populations of policies with vector rewards and costs, trained as one program.

Nothing loads before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradeoff.engine.actor_critic import ActorCritic
    from tradeoff.engine.checkpoint import CheckpointError
    from tradeoff.engine.evaluate import Scores
    from tradeoff.engine.features import make_features
    from tradeoff.engine.heads import make_head
    from tradeoff.engine.learner import Learner, LearnerConfig, Population, fresh_population
    from tradeoff.engine.rollout import Rollout
    from tradeoff.engine.scalarizers import Linear, Scalarizer
    from tradeoff.engine.trajectories import Batch, Trajectories

PARTS = {
    "actor_critic": ("ActorCritic",),
    "checkpoint": ("CheckpointError",),
    "evaluate": ("Scores",),  # its function has the module's name, by which only one of them can be found
    "features": ("make_features",),
    "heads": ("make_head",),
    "learner": (
        "Learner",
        "LearnerConfig",
        "Population",
        "fresh_population",
    ),
    "rollout": ("Rollout",),
    "scalarizers": (
        "Linear",
        "Scalarizer",
    ),
    "trajectories": (
        "Batch",
        "Trajectories",
    ),
}
HOMES = {name: part for part, names in PARTS.items() for name in names}

__all__ = [
    "ActorCritic",
    "Batch",
    "CheckpointError",
    "Learner",
    "LearnerConfig",
    "Linear",
    "Population",
    "Rollout",
    "Scalarizer",
    "Scores",
    "Trajectories",
    "fresh_population",
    "make_features",
    "make_head",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'tradeoff.engine' has no attribute {name!r}")
    return getattr(import_module(f"tradeoff.engine.{HOMES[name]}"), name)
