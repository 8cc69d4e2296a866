"""The shared policy-gradient engine: populations of policies with vector rewards and costs, trained as one program."""

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.checkpoint import CheckpointError
from tradeoff.engine.evaluate import Scores, evaluate
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import make_head
from tradeoff.engine.learner import Learner, LearnerConfig, Population, fresh_population
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.scalarizers import Linear, Scalarizer
from tradeoff.engine.trajectories import Batch, Trajectories

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
