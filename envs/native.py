"""An environment's own spaces: observations and actions as it has them, to and from the rows of numbers that we learn
on, and the spaces as plain values for files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tradeoff.envs.errors import TradeoffError

if TYPE_CHECKING:
    from tradeoff.envs.protocol import EnvSpec

Array = NDArray[Any]
Space = spaces.Space[Any]


@dataclass(frozen=True)
class NativeSpaces:
    """The spaces of one environment, which need not be those of its tensors (see EnvSpec)."""

    observation: Space
    action: Space
    one_hot: bool = True  # whether choices inside a Dict or Tuple are seen one-hot; False: as numbers counted from 0

    def rows(self, observation: Any) -> tuple[Array, bool]:
        """Numbers [n, d] of one observation (n = 1) or several, and whether it was one.

        observation: an element of the space, or several stacked, so that every array has n in front: for a Dict a
        dictionary of arrays [n, ...], for a Tuple a tuple of them; or, in their place, an array of flat numbers [d] or
        [n, d] as the environment's tensors show them.

        Raises: TradeoffError for other keys, shapes or kinds of numbers than the space has, and for choices and whole
        numbers outside of it.
        """
        if isinstance(self.observation, (spaces.Dict, spaces.Tuple)) and hasattr(observation, "dtype"):
            shape, array = flat_space(self.observation, self.one_hot).shape, as_array(observation)
            return _read(spaces.Box(-np.inf, np.inf, shape), array, array.ndim > 1, "observation"), array.ndim < 2
        single = _is_single(self.observation, observation)
        return flat(self.observation, observation, batch=not single, one_hot=self.one_hot), single

    def actions(self, rows: Array, single: bool) -> Any:
        """An element of the space of actions, or n stacked, of rows [n] or [n, c] with choices counted from 0."""
        found = unflat(self.action, rows, inside=True)
        return element(self.action, found, 0) if single else found

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "observation": space_state(self.observation), "action": space_state(self.action), "one_hot": self.one_hot,
        }  # fmt: skip

    @staticmethod
    def from_state(state: dict[str, Any]) -> NativeSpaces:
        """The inverse of `state_dict`."""
        return NativeSpaces(space_from_state(state["observation"]), space_from_state(state["action"]), state["one_hot"])


def native_spaces(spec: EnvSpec) -> NativeSpaces:
    """The spaces that a policy trained on these tensors speaks.

    Where a wrapper shows more than the environment does (what is left of a budget, say), its observations are the
    wrapper's.
    """
    native = spec.native or NativeSpaces(spec.observation_space, spec.action_space)
    if flat_space(native.observation, native.one_hot) == spec.observation_space:
        return native
    return NativeSpaces(spec.observation_space, native.action)


def flat_space(space: Space, one_hot: bool = True) -> Space:
    """The space of `flat`'s rows, and of the actions that `unflat` takes: several choices are counted from 0.

    Raises: TradeoffError for spaces that are no numbers, such as texts and graphs.
    """
    for leaf in _leaves(space):
        if not isinstance(leaf, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
            raise TradeoffError(f"space {leaf} is not made of numbers; wrap the environment so that it shows numbers")
    if isinstance(space, spaces.Discrete):
        return space
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        return spaces.MultiDiscrete(_bounds(space)[1].ravel() - _bounds(space)[0].ravel() + 1)
    if isinstance(space, (spaces.Dict, spaces.Tuple)) and not one_hot:
        return spaces.MultiDiscrete(
            np.concatenate([high.ravel() - low.ravel() + 1 for low, high in map(_bounds, _leaves(space))])
        )
    found: Space = spaces.flatten_space(space)
    return found


def flat(space: Space, seen: Any, *, batch: bool = False, one_hot: bool = True) -> Array:
    """Observations as rows of numbers [n, d]; n = 1 without `batch`, else every array of `seen` has n in front.

    Choices stay whole numbers, counted from 0 where there are several; dictionaries and tuples become gymnasium's
    vectors, or whole numbers counted from 0 without `one_hot`. Raises: see NativeSpaces.rows.
    """
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        return np.concatenate([_part(*part, batch, one_hot) for part in _paired(space, seen, "observation")], 1)
    array = _read(space, seen, batch, "observation")
    if not (isinstance(space, spaces.Box) and space.dtype.kind == "f"):
        _check_whole(array, *_bounds(space), "observation")
    if isinstance(space, spaces.MultiDiscrete):
        array = array - space.start
    return _plain(array.reshape(len(array), -1))


def unflat(space: Space, rows: Array, inside: bool = False) -> Array:
    """Actions [n, ...] for the original environment, in memory of their own.

    rows: [n], or [n, c] numbers, choices counted from 0. inside: whether numbers beyond the bounds are moved to them;
    without it only the rounding to the space's kind of numbers changes them.
    """
    if isinstance(space, spaces.Discrete):
        return (rows + space.start).astype(space.dtype)
    shaped = rows.reshape(len(rows), *(space.shape or ()))
    if isinstance(space, spaces.MultiDiscrete):
        return (shaped + space.start).astype(space.dtype)
    if isinstance(space, spaces.Box):
        shaped = np.rint(shaped) if space.dtype.kind in "iu" else shaped
        shaped = np.clip(shaped, space.low, space.high) if inside else shaped
    return shaped.astype(space.dtype)


def element(space: Space, stacked: Array, i: int) -> Any:
    """One of stacked elements of a space: a number of a Discrete, else an array, of no axes where it is one number."""
    return stacked[i] if isinstance(space, spaces.Discrete) else stacked[i, ...]


def as_array(x: Any) -> Array:
    """What an environment reported as an array; tensors of torch among it."""
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def _leaves(space: Space) -> Iterator[Space]:
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        for _, child in _children(space):
            yield from _leaves(child)
    else:
        yield space


def _children(space: spaces.Dict | spaces.Tuple) -> Iterable[tuple[Any, Space]]:
    return space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)


def _paired(space: Space, seen: Any, name: str) -> Iterator[tuple[Space, Any, str]]:
    """Every leaf of a space with its part of an observation and the name of that.

    Raises: TradeoffError where a part is missing.
    """
    if not isinstance(space, (spaces.Dict, spaces.Tuple)):
        yield space, seen, name
        return
    parts = dict(_children(space))
    known = seen.keys() if isinstance(seen, Mapping) else range(len(seen)) if isinstance(seen, (tuple, list)) else ()
    missing = [key for key in parts if key not in known]
    if missing or isinstance(space, spaces.Dict) != isinstance(seen, Mapping):
        kind = "a dictionary" if isinstance(space, spaces.Dict) else "a tuple"
        raise TradeoffError(f"{name} is {type(seen).__name__} without {missing}; expected {kind} with {list(parts)}")
    for key, child in parts.items():
        yield from _paired(child, seen[key], f"{name}[{key!r}]")


def _part(space: Space, seen: Any, name: str, batch: bool, one_hot: bool) -> Array:
    """A leaf inside a dictionary or tuple as numbers [n, w]."""
    array = _read(space, seen, batch, name)
    if isinstance(space, spaces.MultiBinary):  # some environments count there
        return array.reshape(len(array), -1) if one_hot else (array.reshape(len(array), -1) != 0).astype(np.int64)
    if isinstance(space, spaces.Box):
        if space.dtype.kind != "f":
            _check_whole(array, *_bounds(space), name)
        return _plain(array.astype(space.dtype).reshape(len(array), -1))
    low, high = _bounds(space)
    _check_whole(array, low, high, name)
    chosen, counts = (array - low).reshape(len(array), -1), (high - low + 1).ravel()
    if not one_hot:
        return chosen
    code = np.zeros((len(array), int(counts.sum())), space.dtype)
    code[np.arange(len(array))[:, None], np.cumsum(counts) - counts + chosen] = 1
    return code


def _is_single(space: Space, seen: Any) -> bool:
    leaf, part, _ = next(_paired(space, seen, "observation"))
    return as_array(part).ndim <= len(leaf.shape or ())


def _read(space: Space, seen: Any, batch: bool, name: str) -> Array:
    """A leaf as an array [n, *shape] of the environment's own numbers.

    Raises: TradeoffError for another shape, or no numbers.
    """
    array, shape = as_array(seen), space.shape or ()
    if array.dtype.kind not in "biuf":
        raise TradeoffError(f"{name} is {str(seen)[:60]!r}; expected numbers of {space}")
    array = array if batch else array[None]
    if not shape and array.shape[1:] == (1,):
        array = array[:, 0]  # one number in a list of one, as the tensors of environments have it
    if array.shape[1:] != shape:
        wanted = f"{shape}" + (f", or {('n', *shape)} for several" if batch else "")
        raise TradeoffError(f"{name} has shape {array.shape if batch else array.shape[1:]}; expected {wanted}")
    return array


def _check_whole(array: Array, low: Array, high: Array, name: str) -> None:
    """Raise TradeoffError naming the first of whole numbers [n, *shape] that lies outside of low and high [*shape]."""
    wrong = (array < low) | (array > high)
    if array.dtype.kind == "f":
        wrong |= array != np.rint(array)
    if wrong.any():
        row, *index = (int(i) for i in np.argwhere(wrong)[0])
        at = tuple(index)
        place = f"{name}[{', '.join(map(str, at))}]" if at else name
        raise TradeoffError(
            f"{place} is {array[row][at]}; its space holds whole numbers from {np.asarray(low)[at]} to "
            f"{np.asarray(high)[at]}: widen the space, or wrap the environment"
        )


def _bounds(space: Space) -> tuple[Array, Array]:
    """Smallest and largest of what a leaf holds."""
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.MultiBinary):
        return np.zeros(space.shape, np.int64), np.ones(space.shape, np.int64)
    count: Any = space.nvec if isinstance(space, spaces.MultiDiscrete) else space.n  # type: ignore[attr-defined]
    start: Any = space.start  # type: ignore[attr-defined]
    return np.asarray(start), np.asarray(start + count - 1)


KNOWN = frozenset(np.dtype(kind) for kind in ("f4", "f8", "i1", "i2", "i4", "i8", "u1"))  # torch calculates with them
WIDER = {"f2": np.float32, "f16": np.float64, "u2": np.int32, "u4": np.int64, "u8": np.float64, "b1": np.uint8}


def _plain(array: Array) -> Array:
    """In a kind of number that torch calculates with."""
    if array.dtype in KNOWN:
        return array
    return array.astype(WIDER.get(array.dtype.str[1:], array.dtype.newbyteorder("=")))


def space_state(space: Space) -> dict[str, Any]:
    """A space of numbers as plain values. Bounds that are all the same are one number."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = [[key, space_state(child)] for key, child in _children(space)]
        return {"kind": "Dict" if isinstance(space, spaces.Dict) else "Tuple", "spaces": parts}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.shape)}
    low, high = (_shortened(bound) for bound in _bounds(space))
    kind = next(kind for kind in (spaces.Box, spaces.Discrete, spaces.MultiDiscrete) if isinstance(space, kind))
    shape = list(space.shape or ())
    return {"kind": kind.__name__, "shape": shape, "low": low, "high": high, "dtype": np.dtype(space.dtype).str}


def space_from_state(state: dict[str, Any]) -> Space:
    """The inverse of `space_state`."""
    kind = state["kind"]
    if kind in ("Dict", "Tuple"):
        parts = [(key, space_from_state(child)) for key, child in state["spaces"]]
        return spaces.Dict(parts) if kind == "Dict" else spaces.Tuple([child for _, child in parts])
    if kind == "MultiBinary":
        return spaces.MultiBinary(state["n"])
    shape = tuple(state["shape"])
    dtype = np.dtype(state["dtype"])
    low, high = (np.broadcast_to(np.array(state[name], dtype), shape) for name in ("low", "high"))
    if kind == "Box":
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(int(high - low) + 1, start=int(low), dtype=dtype.type)
    return spaces.MultiDiscrete(high - low + 1, dtype=dtype.type, start=low)


def _shortened(bound: Array) -> Any:
    same = bound.size > 0 and (bound == bound.flat[0]).all()
    return bound.flat[0].item() if same else bound.tolist()
