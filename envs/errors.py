"""Errors a user can act on: each names the value, what was expected and the way out."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class TradeoffError(Exception):
    """Base of every error that this project raises on bad input; the program shows it in one line, exit code 2."""

    def __reduce__(self) -> tuple[Any, ...]:
        """By the finished message: some kinds are made from other arguments, and all come back from other processes."""
        return _remade, (type(self), str(self), self.__dict__)


def _remade(kind: type[TradeoffError], message: str, more: dict[str, Any]) -> TradeoffError:
    error = kind.__new__(kind)
    error.args = (message,)
    error.__dict__.update(more)
    return error


class UnknownName(TradeoffError, ValueError):
    """An environment, method or channel that does not exist; suggests near matches."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        near = near_names(name, known)
        way_out = f"did you mean {', '.join(near)}?" if near else hint or f"known: {', '.join(known[:12])}"
        super().__init__(f"unknown {kind} {name!r}; {way_out}")


def near_names(name: str, known: Sequence[str], most: int = 3) -> list[str]:
    """Names that somebody may have meant: those that contain what was written, those spelt alike, those that begin so.

    Capitals and versions (-v0) do not count, since every environment has one.
    """
    wanted = _stem(name)
    stems: dict[str, list[str]] = {}
    for full in sorted(known, reverse=True):  # the latest version first
        stems.setdefault(_stem(full), []).append(full)
    within = sorted((stem for stem in stems if len(wanted) > 2 and wanted in stem), key=len)
    alike = get_close_matches(wanted, stems, n=most, cutoff=0.65)
    beginnings = get_close_matches(wanted, {stem[: len(wanted)] for stem in stems}, n=most, cutoff=0.8)
    begun = [stem for stem in stems if len(wanted) > 4 and stem[: len(wanted)] in beginnings]
    return [full for stem in dict.fromkeys(within + alike + begun) for full in stems[stem]][:most]


def _stem(name: str) -> str:
    return re.sub(r"-v\d+$", "", name.lower())


class BadValue(TradeoffError, ValueError):
    """An argument of another kind or size than is taken."""


class MissingExtra(TradeoffError, ImportError):
    """A package that only some environments or outputs need is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs the package {package}, not installed here; pip install 'tradeoff-rl[{extra}]'")


class NumericalTrouble(TradeoffError, ArithmeticError):
    """A NaN or infinite reward, action or loss; names environment, step and channel."""


LONGEST = 200  # characters of a user's own message in a line


class UserCodeFailed(TradeoffError):
    """An environment, a factory, a cost function or a module of the user's raised, called sys.exit or cannot be read.

    Attributes:
        env: id of the environment, or the name that was to be imported.
        step: of the copy since it was built, counted from 1; None where no step was being made.
        traceback: of the user's code, several lines.
        log: file in which the traceback lies; None: in none yet.
    """

    env: str
    step: int | None
    traceback: str
    log: str | None = None

    def __init__(self, env: str, error: BaseException, doing: str, step: int | None = None) -> None:
        """error: what was raised. doing: what was going on, after "failed", such as "in step 3 of copy 0"."""
        said = " ".join(str(error).split())
        said = said if len(said) <= LONGEST else f"{said[:LONGEST]}..."
        kind = "called sys.exit" if isinstance(error, SystemExit) else type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)
        at = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        at = "" if isinstance(error, SyntaxError) else at  # which names the line of the module itself
        super().__init__(f"{env} failed {doing}: {kind}{said and f': {said}'}{at}; repair it and go on")
        self.env, self.step = env, step
        self.traceback = "".join(traceback.format_exception(error))

    def logged(self, path: Path) -> None:
        """Say in which file the traceback lies."""
        self.log = str(path)
        self.args = (f"{self}; the traceback is in {path}",)


@contextmanager
def user_code(env: str, doing: str, step: int | None = None) -> Iterator[None]:
    """Turn what a user's code raises here into UserCodeFailed, see there; errors of this project pass as they are."""
    try:
        yield
    except TradeoffError:
        raise
    except (Exception, SystemExit) as error:
        raise UserCodeFailed(env, error, doing, step) from error
