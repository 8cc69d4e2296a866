"""How results are scored: indicators, exact solutions, statistics and plots. Numpy in, numbers out.

Every objective is maximised. Points are arrays [n, m], preferences [w, m]; see `evaluation.checks` for the errors.
"""

from tradeoff.evaluation.checks import InvalidPoints, InvalidWeights, check_weights
from tradeoff.evaluation.closed_forms import (
    BanditOptimum,
    LinearSystem,
    LqrOptimum,
    Quadratic,
    constrained_bandit,
    constrained_lqr,
    lqr_cost,
    lqr_gain,
)
from tradeoff.evaluation.concave import ConcaveOptimum, NotConcave, concave_optimum
from tradeoff.evaluation.constrained import (
    ConstrainedOptimum,
    InfeasibleLimits,
    Limit,
    constrained_front,
    constrained_optimum,
)
from tradeoff.evaluation.derivatives import (
    exact_gradient,
    exact_hessian_vector,
    exact_jacobian,
    torch_occupancy,
    torch_returns,
)
from tradeoff.evaluation.enumeration import EveryTrajectory, enumerate_trajectories, trajectory_probability
from tradeoff.evaluation.estimate import Estimate
from tradeoff.evaluation.exact import (
    BestPolicy,
    InvalidPolicy,
    best_policy,
    occupancy,
    policy_from_occupancy,
    policy_returns,
)
from tradeoff.evaluation.finite import FiniteProblem, InvalidProblem, NoConvergence, finite_problem
from tradeoff.evaluation.flows import NoStationaryOptimum
from tradeoff.evaluation.hypervolume import hypervolume, hypervolume_contributions
from tradeoff.evaluation.indicators import (
    additive_epsilon,
    cardinality,
    conditioned_utility,
    expected_utility,
    igd,
    igd_plus,
    maximum_utility_loss,
    sparsity,
)
from tradeoff.evaluation.linear_support import convex_coverage_set
from tradeoff.evaluation.page import front_page
from tradeoff.evaluation.pareto import convex_coverage, crowding_distance, nondominated
from tradeoff.evaluation.pareto_vi import pareto_front
from tradeoff.evaluation.plots import plot_front, plot_indicator
from tradeoff.evaluation.statistics import (
    Comparison,
    bootstrap_interval,
    front_interval,
    interquartile_mean,
    paired_comparison,
)
from tradeoff.evaluation.weights import simplex_energy, simplex_lattice, simplex_uniform

__all__ = [
    "BanditOptimum",
    "BestPolicy",
    "Comparison",
    "ConcaveOptimum",
    "ConstrainedOptimum",
    "Estimate",
    "EveryTrajectory",
    "FiniteProblem",
    "InfeasibleLimits",
    "InvalidPoints",
    "InvalidPolicy",
    "InvalidProblem",
    "InvalidWeights",
    "Limit",
    "LinearSystem",
    "LqrOptimum",
    "NoConvergence",
    "NoStationaryOptimum",
    "NotConcave",
    "Quadratic",
    "additive_epsilon",
    "best_policy",
    "bootstrap_interval",
    "cardinality",
    "check_weights",
    "concave_optimum",
    "conditioned_utility",
    "constrained_bandit",
    "constrained_front",
    "constrained_lqr",
    "constrained_optimum",
    "convex_coverage",
    "convex_coverage_set",
    "crowding_distance",
    "enumerate_trajectories",
    "exact_gradient",
    "exact_hessian_vector",
    "exact_jacobian",
    "expected_utility",
    "finite_problem",
    "front_interval",
    "front_page",
    "hypervolume",
    "hypervolume_contributions",
    "igd",
    "igd_plus",
    "interquartile_mean",
    "lqr_cost",
    "lqr_gain",
    "maximum_utility_loss",
    "nondominated",
    "occupancy",
    "paired_comparison",
    "pareto_front",
    "plot_front",
    "plot_indicator",
    "policy_from_occupancy",
    "policy_returns",
    "simplex_energy",
    "simplex_lattice",
    "simplex_uniform",
    "sparsity",
    "torch_occupancy",
    "torch_returns",
    "trajectory_probability",
]
