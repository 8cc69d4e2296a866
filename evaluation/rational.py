"""The best long-run average of a small problem in exact arithmetic, for transitions too rare for a linear program.

Solvers drop coefficients below 1e-9 and take differences of probabilities; a state that is left once in 1e10 steps is
then never left. Policy iteration over fractions has no tolerance: it ends with a policy that is best.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from tradeoff.evaluation.chains import recurrent_classes
from tradeoff.evaluation.checks import Array
from tradeoff.evaluation.exact import BestPolicy, channel_sums, occupancy, state_chain
from tradeoff.evaluation.finite import FiniteProblem

RARE = 1e-6  # smallest probability that a linear program is trusted with
MOST_STATES = 20  # 5 to 12 s by three actions; the time grows with the fifth power
Numbers = list[Fraction]


class _Values(NamedTuple):
    gain: Numbers  # [S] average per step in the long run
    bias: Numbers  # [S] what the first steps earn beyond it


def needs_fractions(problem: FiniteProblem) -> bool:
    """Whether some transition is too rare for a linear program, and the problem small enough for fractions."""
    rare = problem.transition.data.min(initial=1.0) < RARE
    return bool(rare and len(problem.start) <= MOST_STATES)


def best_average(problem: FiniteProblem, weights: Array) -> BestPolicy:
    """A deterministic policy whose average of weights . channels [m] is largest from every state.

    `values` [S] is that average. Source: Puterman 1994, Markov Decision Processes, section 9.2 (multichain policy
    iteration).
    """
    states, actions, _ = problem.reward.shape
    pay = [[_dot(weights, channels) for channels in row] for row in problem.reward]
    after = [[_distribution(problem, s, a) for a in range(actions)] for s in range(states)]
    chosen = [0] * states
    while True:
        values = _evaluate(problem, chosen, pay, after)
        better = _improved(chosen, pay, after, values)
        if better == chosen:
            break
        chosen = better
    policy = np.eye(actions)[chosen]
    taken = occupancy(problem, policy, average=True)
    returns = channel_sums(problem, taken)
    return BestPolicy(float(returns @ weights), returns, policy, np.array([float(g) for g in values.gain]))


def _dot(weights: Array, channels: Array) -> Fraction:
    return sum((Fraction(float(w)) * Fraction(float(x)) for w, x in zip(weights, channels, strict=True)), Fraction(0))


def _distribution(problem: FiniteProblem, state: int, action: int) -> dict[int, Fraction]:
    """Next states and probabilities of sum 1; a terminal state stays."""
    row = problem.transition[state * problem.reward.shape[1] + action]
    found = {int(t): Fraction(float(p)) for t, p in zip(row.indices, row.data, strict=True)}
    total = sum(found.values(), Fraction(0))
    return {t: p / total for t, p in found.items()} if found else {state: Fraction(1)}


def _evaluate(
    problem: FiniteProblem, chosen: list[int], pay: list[Numbers], after: list[list[dict[int, Fraction]]]
) -> _Values:
    """Gain and bias [S] of a deterministic policy; the bias is 0 at the first state of every recurrent class."""
    states = len(chosen)
    rows, earned = [after[s][a] for s, a in enumerate(chosen)], [pay[s][a] for s, a in enumerate(chosen)]
    gain, bias = [Fraction(0)] * states, [Fraction(0)] * states
    transient = set(range(states))
    for members in recurrent_classes(state_chain(problem, np.eye(len(pay[0]))[chosen])):
        found = [int(s) for s in members]
        transient -= set(found)
        # Unknowns: the class's gain in place of its first state's bias, then the other biases.
        matrix = [[Fraction(1), *(Fraction(int(s == t)) - rows[s].get(t, 0) for t in found[1:])] for s in found]
        solved = _solve(matrix, [[earned[s]] for s in found])
        for s, (number,) in zip(found, solved, strict=True):
            gain[s], bias[s] = solved[0][0], Fraction(0) if s == found[0] else number
    order = sorted(transient)
    matrix = [[Fraction(int(s == t)) - rows[s].get(t, 0) for t in order] for s in order]
    known = [[sum((p * gain[t] for t, p in rows[s].items() if t not in transient), Fraction(0))] for s in order]
    for s, (number,) in zip(order, _solve(matrix, known), strict=True):
        gain[s] = number
    known = [
        [earned[s] - gain[s] + sum((p * bias[t] for t, p in rows[s].items() if t not in transient), Fraction(0))]
        for s in order
    ]
    for s, (number,) in zip(order, _solve(matrix, known), strict=True):
        bias[s] = number
    return _Values(gain, bias)


def _improved(
    chosen: list[int], pay: list[Numbers], after: list[list[dict[int, Fraction]]], values: _Values
) -> list[int]:
    """A better action where there is one: of a larger gain ahead, else of a larger bias among the largest gains."""
    ahead = [[sum((p * values.gain[t] for t, p in row.items()), Fraction(0)) for row in rows] for rows in after]
    by_gain = [_first_best(row, now) for row, now in zip(ahead, chosen, strict=True)]
    if by_gain != chosen:
        return by_gain
    found = []
    for s, now in enumerate(chosen):
        tied = [a for a, gain in enumerate(ahead[s]) if gain == ahead[s][now]]
        worth = {a: pay[s][a] + sum((p * values.bias[t] for t, p in after[s][a].items()), Fraction(0)) for a in tied}
        best = max(worth.values())
        found.append(now if worth[now] == best else next(a for a in tied if worth[a] == best))
    return found


def _first_best(numbers: Numbers, now: int) -> int:
    return now if numbers[now] == max(numbers) else numbers.index(max(numbers))


def _solve(matrix: list[Numbers], right: list[Numbers]) -> list[Numbers]:
    """The solution [n, k] of a regular system [n, n] with k right sides."""
    rows = [[*left, *known] for left, known in zip(matrix, right, strict=True)]
    size = len(rows)
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [x / rows[column][column] for x in rows[column]]
        for i in range(size):
            factor = rows[i][column]
            if i != column and factor:
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[column], strict=True)]
    return [row[size:] for row in rows]
