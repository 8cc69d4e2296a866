"""The program `tradeoff`: finds the command, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tradeoff.output import forgiving_output

if TYPE_CHECKING:
    from tradeoff.envs.errors import UserCodeFailed

HELP = """\
usage: tradeoff COMMAND ...      tradeoff COMMAND --help explains its options

Finds Pareto fronts of policies for environments that pay a vector of rewards, and policies that keep limits.

  train METHOD     find a front (c-morl, weighted-sum) or the best policy within limits (reload, pid-lagrangian, ...)
  resume RUN       go on with a run that was interrupted
  evaluate RUN     play policies anew, all or the one that a preference selects from a front
  safety RUN       bound how often episodes break a limit and what they cost, with a stated confidence
  diagnose RUN     whether a larger batch, a baseline or memory would help, from gradients of fresh episodes
  benchmark SUITE  methods x tasks with limits x seeds, as a table, files and pictures (safe-velocity, ...)
  plot RUN ...     draw a run anew, or several fronts of one environment beside each other
  envs [PATTERN]   environments, their objectives, and whether their front is known
  methods          all methods and where their pages lie

examples:
  tradeoff train c-morl --env deep-sea-treasure-v0 --steps 200000 --seed 0 --out runs/dst
  tradeoff evaluate runs/dst --weights 0.3 0.7      the policy that is best for these weights
  tradeoff evaluate runs/dst --minimum 10 None      the policy that returns at least 10 of the first objective
  tradeoff plot runs/dst runs/dst-1 runs/dst-2
  tradeoff train reload --env deep-sea-treasure-v0 --limit 'time>=-6' --policies 4 --entropy 0.05
  tradeoff train weighted-sum --env minecart-v0 --help      its options, with their defaults for minecart-v0

exit codes: 0 done, 2 bad input (one line says what and the way out), 130 interrupted (the run can be resumed)
"""
COMMANDS = ("train", "resume", "evaluate", "safety", "diagnose", "benchmark", "plot", "envs", "methods")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program on `argv` (None: the process's own) and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    with forgiving_output():
        return _answer(words)


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if not {"", os.getcwd()} & {*sys.path}:  # behind all others: a folder of one's own hides no package
        sys.path.append(os.getcwd())
    try:
        with short_warnings():
            return _run(words[0], words[1:])
    except KeyboardInterrupt:
        print("stopped at once; `tradeoff resume` goes on from the last checkpoint, if there is one", file=sys.stderr)
        return 130
    except SystemExit as end:  # the option parser's own
        return end.code if isinstance(end.code, int) else 2


def _run(command: str, words: list[str]) -> int:
    from tradeoff.envs.errors import TradeoffError, UnknownName, UserCodeFailed

    try:
        if command not in COMMANDS:
            raise UnknownName("command", command, COMMANDS)
        from tradeoff import commands

        getattr(commands, command)(words)
    except TradeoffError as error:
        if isinstance(error, UserCodeFailed):
            _keep_traceback(error)
        print(f"tradeoff: {' '.join(str(error).split())}", file=sys.stderr)
        return 130 if type(error).__name__ == "Interrupted" else 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            raise
        print(f"tradeoff: {_about_files(error)}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _for_want_of_memory(error):
            raise
        print(
            f"tradeoff: not enough memory ({_one_line(error)}); take fewer policies, environments, samples or units",
            file=sys.stderr,
        )
        return 2
    return 0


def _keep_traceback(error: UserCodeFailed) -> None:
    """Write what a user's code raised outside of a run (as it was built, say) into a file for temporary ones."""
    if error.log is None:
        with suppress(OSError):
            handle, name = tempfile.mkstemp(prefix="tradeoff-error-", suffix=".log")
            with open(handle, "w", encoding="utf-8") as file:
                file.write(error.traceback)
            error.logged(Path(name))


def _about_files(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no room left on the disk ({error}); free some space and repeat the command"
    return f"{error.filename}: {error.strerror or error}; name another file or folder, or mend this one"


def _for_want_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "allocate" in str(error) or "out of memory" in str(error)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def short_warnings() -> Iterator[None]:
    """Show warnings without the place in the code that raised them, and none of gymnasium's about its own spaces."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *where: f"tradeoff: {message}\n"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(mo_)?gymnasium")
            yield
    finally:
        warnings.formatwarning = before
