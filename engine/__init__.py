"""The shared policy-gradient engine: populations of policies with vector rewards and costs, trained as one program."""

from engine.actor_critic import ActorCritic
from engine.checkpoint import CheckpointError
from engine.evaluate import Scores, evaluate
from engine.features import make_features
from engine.heads import make_head
from engine.learner import Learner, LearnerConfig, Population, fresh_population
from engine.rollout import Rollout
from engine.scalarizers import Linear, Scalarizer
from engine.trajectories import Batch, Trajectories

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
    "evaluate",
    "fresh_population",
    "make_features",
    "make_head",
]
