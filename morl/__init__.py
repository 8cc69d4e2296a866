"""Many objectives: fronts of policies, and the rules that find them."""

from engine.run import Interrupted, complete
from morl.criteria import ESR, SER, WrongCriterion, accrued
from morl.discovery import Discovery, ScalarReward, discover
from morl.front import Front, FrontPolicy, NothingFits
from morl.methods import CMORL, METHODS, FrontConfig, WeightedSumFront
from morl.presets import learner_settings, proximal_settings, recommended, utility_settings
from morl.scalarizers import Lexicographic, SERScalarizer, TrackedIdeal, UtilityWarning
from morl.truth import known_front
from morl.utilities import OutsideDomain, Utility

__all__ = [
    "CMORL",
    "ESR",
    "METHODS",
    "SER",
    "Discovery",
    "Front",
    "FrontConfig",
    "FrontPolicy",
    "Interrupted",
    "Lexicographic",
    "NothingFits",
    "OutsideDomain",
    "SERScalarizer",
    "ScalarReward",
    "TrackedIdeal",
    "Utility",
    "UtilityWarning",
    "WeightedSumFront",
    "WrongCriterion",
    "accrued",
    "complete",
    "discover",
    "known_front",
    "learner_settings",
    "proximal_settings",
    "recommended",
    "utility_settings",
]
