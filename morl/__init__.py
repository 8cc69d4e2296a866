"""Many objectives: fronts of policies, and the rules that find them."""

from engine.run import Interrupted, complete
from morl.discovery import Discovery, ScalarReward, discover
from morl.front import Front, FrontPolicy, NothingFits
from morl.methods import CMORL, METHODS, FrontConfig, WeightedSumFront
from morl.presets import learner_settings, recommended, utility_settings
from morl.truth import known_front

__all__ = [
    "CMORL",
    "METHODS",
    "Discovery",
    "Front",
    "FrontConfig",
    "FrontPolicy",
    "Interrupted",
    "NothingFits",
    "ScalarReward",
    "WeightedSumFront",
    "complete",
    "discover",
    "known_front",
    "learner_settings",
    "recommended",
    "utility_settings",
]
