"""No config of the registry takes a number that is none: one mechanism, every field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, is_dataclass, replace
from math import inf, nan
from typing import Any

import pytest

from tradeoff import memory
from tradeoff.engine.numbers import LARGEST, UNBOUNDED, Count, NotNegative, Positive, check_numbers
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.errors import BadInput
from tradeoff.registry import METHODS, recommended
from tradeoff.safe.duals import Gain

Path = tuple[Field[Any], ...]


def numeric(config: Any, above: Path = ()) -> Iterator[Path]:
    """Fields that hold numbers, those of nested settings behind theirs."""
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            yield from numeric(value, (*above, f))
        elif not isinstance(value, bool | str) and value != () and "str" not in str(f.type):
            yield (*above, f)


def at(config: Any, path: Path) -> Any:
    """What a field holds."""
    return at(getattr(config, path[0].name), path[1:]) if path else config


def put(config: Any, path: Path, value: Any) -> Any:
    """The config with a field changed."""
    name = path[0].name
    return replace(config, **{name: put(getattr(config, name), path[1:], value) if path[1:] else value})


@pytest.mark.parametrize("method", METHODS)
def test_every_number_of_every_method_is_refused_where_it_is_none(method: str) -> None:
    config = METHODS[method]()
    paths = list(numeric(config))
    assert len(paths) >= 12
    for path in paths:
        now = at(config, path)
        many = isinstance(now, tuple) or (now is None and "tuple" in str(path[-1].type))
        for value in (nan, inf, -inf, 10**30, 1e-320):
            if isinstance(value, float) and abs(value) == inf and path[-1].metadata.get("unbounded"):
                continue
            with pytest.raises(ValueError, match=path[-1].name) as error:
                put(config, path, (value,) if many else value)
            assert "\n" not in str(error.value) and len(str(error.value)) < 400


@dataclass(frozen=True)
class Settings:
    """Numbers of every kind."""

    rate: Gain = 0.1
    bound: Positive = 1.0
    slack: NotNegative = 0.0
    count: Count = 1
    floor: float | None = None
    free: float = -3.0
    inner: tuple[tuple[float, ...], ...] = ((1.0,),)
    floors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(self)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rate": -0.1}, "rate must be at least 0, got -0.1"),
        ({"rate": (0.1, -0.2)}, "rate must be at least 0, got -0.2"),
        ({"rate": ()}, "rate must hold one number at least"),
        ({"bound": 0.0}, "bound must be positive, got 0.0"),
        ({"slack": -1}, "slack must be at least 0, got -1"),
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"floor": nan}, "floor must be a finite number, got nan"),
        ({"free": 1e-39}, "free must be 0 or 1.2e-38 in size at least, got 1e-39"),
        ({"inner": ((1.0, inf),)}, "inner must be a finite number"),
        ({"count": LARGEST + 1}, "count must be at most 9,007,199,254,740,992 in size, got 9,007,199,254,740,993"),
        ({"count": 10**4000}, "got one of 4001 digits"),
    ],
)
def test_a_number_outside_its_range_is_named_with_what_was_expected(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Settings(**changes)


def test_numbers_within_their_ranges_pass() -> None:
    Settings(rate=(0.0, 2.0), bound=1e-3, slack=0, count=LARGEST, floor=-5.0, free=-1e38, floors=(-0.0,))


def test_infinity_stands_for_no_bound_where_a_field_says_so() -> None:
    assert UNBOUNDED == {"unbounded": True}
    config = recommended("mo-pg", "deep-sea-treasure-v0", floor=(-inf, -50.0), ceiling=(inf, 0.0))
    assert config.floor == (-inf, -50.0)
    with pytest.raises(ValueError, match="floor must be a finite number, got nan"):
        replace(config, floor=(nan, 0.0))


def test_settings_of_soft_actor_critic_are_checked_by_themselves() -> None:
    for name in ("learning_rate", "temperature", "entropy", "gamma", "updates"):
        with pytest.raises(ValueError, match=name):
            SoftConfig(**{name: nan})
    with pytest.raises(ValueError, match="temperature must be a finite number, got inf"):
        SoftConfig(temperature=inf)


@pytest.mark.parametrize(
    ("method", "changes", "what"),
    [
        ("c-morl", {"policies": 10**12}, "1,000,000,000,000 policies"),
        ("reload", {"policies": 10**12}, "1,000,000,000,000 policies"),
        ("mo-pg", {"hidden": (10**6, 10**6)}, "hidden layers of 1000000, 1000000"),
        ("mo-pg", {"batch": 10**11}, "a batch of 100,000,000,000"),
        ("c-morl", {"final_episodes": 10**12}, "episodes of evaluations"),
    ],
)
def test_what_cannot_fit_into_memory_is_refused(method: str, changes: dict[str, Any], what: str) -> None:
    """64 policies of 64 x 64 units need 8 x 3 x (64 + 64 x 64 + 64) x 64 bytes: 6.5 MB."""
    config = recommended(method, "deep-sea-treasure-v0", **changes)
    with pytest.raises(BadInput, match=r"needs at least .* of memory, most of it for") as error:
        memory.check_memory(config)
    assert what in str(error.value)


def test_memory_of_an_ordinary_run_is_counted_and_fits() -> None:
    config = recommended("c-morl", "deep-sea-treasure-v0", policies=64)
    parts = list(memory.needed(config).values())
    assert parts[0] == 8 * 3 * (64 + 64 * 64 + 64) * 64 and sum(parts) < memory.installed()
    memory.check_memory(config)
