"""Where a Markov chain spends its time, without a subtraction: right to rounding for probabilities of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradeoff.evaluation.checks import Array
from tradeoff.evaluation.finite import spread

if TYPE_CHECKING:
    from scipy import sparse


def recurrent_classes(chain: sparse.csr_matrix) -> list[NDArray[np.int64]]:
    """Sets of states that are never left and in which every state leads to every other, as arrays of indices."""
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(chain, connection="strong")
    rows, columns = chain.nonzero()
    left = np.zeros(count, dtype=bool)
    left[label[rows[label[rows] != label[columns]]]] = True
    return [np.flatnonzero(label == index) for index in np.flatnonzero(~left)]


def share_of_time(chain: sparse.csr_matrix, start: Array) -> Array:
    """Share of time [S]: the probability to end in each recurrent class times its stationary distribution.

    chain: [S, S] transition; an empty row stays where it is. Transient states are eliminated one by one, which takes
    time and memory of a dense matrix over the states that the start leads to.
    """
    seen = np.flatnonzero(spread(chain.T, start > 0))
    part = chain[seen][:, seen]
    classes = recurrent_classes(part)
    transient = np.setdiff1d(np.arange(len(seen)), np.concatenate(classes))
    dense, arrived = part.toarray(), start[seen].copy()
    for state in transient:
        onward = dense[state].copy()
        onward[state] = 0.0
        onward /= onward.sum()
        arrived += arrived[state] * onward
        arrived[state] = 0.0
        dense += np.outer(dense[:, state], onward)
        dense[:, state] = 0.0
    share = np.zeros(len(start))
    for members in classes:
        share[seen[members]] = arrived[members].sum() * stationary(dense[np.ix_(members, members)])
    return share


def stationary(chain: Array) -> Array:
    """Stationary distribution of an irreducible chain [n, n]; only what lies off its diagonal is read.

    Source: Grassmann, Taksar, Heyman 1985, Operations Research 33(5).
    """
    rest, size = chain.copy(), len(chain)
    for last in range(size - 1, 0, -1):
        rest[:last, last] /= rest[last, :last].sum()
        rest[:last, :last] += np.outer(rest[:last, last], rest[last, :last])
    share = np.ones(size)
    for state in range(1, size):
        share[state] = share[:state] @ rest[:state, state]
        share[: state + 1] /= share[: state + 1].max()  # chains of rare steps would leave the range of floats
    return np.asarray(share / share.sum())
