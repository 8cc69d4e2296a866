"""What the arrays of this package must look like, and the errors that say so."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class InvalidPoints(ValueError):
    """Returns that no indicator can score: a wrong shape, a NaN or an infinity."""


class InvalidWeights(ValueError):
    """A preference that is no preference: wrong length, negative, all zero or not a number."""


def as_points(points: ArrayLike, name: str = "points", objectives: int | None = None) -> Array:
    """`points` as a float64 array [n, m]; n may be 0, m may not.

    Raises InvalidPoints for any other shape and for values that are not finite (they would score 0 without a word).
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise InvalidPoints(
            f"{name} has shape {array.shape}; expected [n, m]: one row per policy, one column per objective"
        )
    if objectives is not None and array.shape[1] != objectives:
        raise InvalidPoints(f"{name} has {array.shape[1]} objectives; expected {objectives}, as in the other argument")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        raise InvalidPoints(f"{name}[{row}, {column}] is {array[row, column]}; drop that policy or find what broke it")
    return array


def as_front(points: ArrayLike, name: str = "front", objectives: int | None = None) -> Array:
    """`as_points` that also refuses an empty set, for scores that an empty set does not have."""
    array = as_points(points, name, objectives)
    if len(array) == 0:
        raise InvalidPoints(f"{name} is empty; this score needs at least one point")
    return array


def as_vector(values: ArrayLike, length: int, name: str) -> Array:
    """`values` as a float64 vector [length] of finite numbers; raises InvalidPoints otherwise."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (length,) or not np.isfinite(array).all():
        raise InvalidPoints(f"{name} is {array.tolist()}; expected {length} finite numbers, one per objective")
    return array


def check_weights(weights: ArrayLike, objectives: int) -> Array:
    """Preferences scaled to sum 1: a vector [m], or one per row [n, m], of non-negative numbers.

    Raises InvalidWeights for a wrong length, a negative, infinite or NaN entry, or a preference that is all zero.
    """
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidWeights(f"weights {weights!r} are not numbers in rows of {objectives}") from error
    if array.ndim not in (1, 2) or array.shape[-1] != objectives:
        raise InvalidWeights(f"weights have shape {array.shape}; expected {objectives} numbers, one per objective")
    for preference in np.atleast_2d(array):
        if not np.isfinite(preference).all() or (preference < 0).any() or not preference.any():
            raise InvalidWeights(f"weights {preference.tolist()}; expected numbers >= 0, finite, at least one above 0")
    scaled = array / array.max(axis=-1, keepdims=True)  # first by the largest, so that no sum over- or underflows
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True))
