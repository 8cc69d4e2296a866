"""Many objectives: fronts of policies, and the rules that find them."""

from tradeoff.engine.run import Interrupted, complete
from tradeoff.morl.criteria import ESR, SER, WrongCriterion, accrued
from tradeoff.morl.discovery import Discovery, ScalarReward, discover
from tradeoff.morl.front import Front, FrontPolicy, NothingFits
from tradeoff.morl.methods import CMORL, METHODS, FrontConfig, WeightedSumFront
from tradeoff.morl.presets import learner_settings, proximal_settings, recommended, utility_settings
from tradeoff.morl.scalarizers import Lexicographic, SERScalarizer, TrackedIdeal, UtilityWarning
from tradeoff.morl.truth import known_front
from tradeoff.morl.utilities import OutsideDomain, Utility

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
