"""Many objectives: fronts of policies, and the rules that find them."""

from engine.run import Interrupted, complete
from morl.discovery import Discovery, ScalarReward, discover
from morl.front import Front, NothingFits, Policy
from morl.methods import CMORL, METHODS, FrontConfig, WeightedSumFront
from morl.presets import recommended
from morl.truth import known_front

__all__ = [
    "CMORL",
    "METHODS",
    "Discovery",
    "Front",
    "FrontConfig",
    "Interrupted",
    "NothingFits",
    "Policy",
    "ScalarReward",
    "WeightedSumFront",
    "complete",
    "discover",
    "known_front",
    "recommended",
]
