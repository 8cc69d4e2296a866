"""Processes that step copies of a gymnasium environment."""

from __future__ import annotations

import multiprocessing as mp
import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.gymnasium_copies import Copies


def start_method() -> str:
    """How worker processes begin: as the program has set it, else by fork, where the system has that, else by spawn."""
    chosen = mp.get_start_method(allow_none=True)
    return chosen or ("fork" if "fork" in mp.get_all_start_methods() else "spawn")


def _serve(pipe: Connection, parents: Connection | None, *arguments: Any) -> None:
    """A worker: answer calls until told to close or left alone; an error travels back with its traceback."""
    if parents is not None:
        parents.close()  # inherited; while it is open here, the end of the parent would go unnoticed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    calls: dict[str, Callable[[Any], Any]] = {}
    with suppress(EOFError, OSError):
        answer = _attempt(lambda _: Copies(*arguments), None)
        if answer[0]:
            copies: Copies = answer[1]
            calls = {"reset": copies.reset, "step": copies.step}
        pipe.send((answer[0], None if answer[0] else answer[1]))
        while calls and (call := pipe.recv()) is not None:
            pipe.send(_attempt(calls[call[0]], call[1]))
    if calls:
        copies.close()


def _attempt(what: Callable[[Any], Any], argument: Any) -> tuple[bool, Any]:
    try:
        return True, what(argument)
    except Exception as error:
        plain = isinstance(error, TradeoffError) and type(error).__module__.startswith("tradeoff.")
        return False, error if plain else traceback.format_exc()  # others may not survive the way through a pipe


class Worker:
    """A process that holds some copies; calls are sent first and answered later. Its first answer says it is ready."""

    def __init__(self, *arguments: Any) -> None:
        """arguments: of `Copies`.

        Raises: TradeoffError where they cannot be sent to a process that begins anew, as it does without fork.
        """
        self.method = start_method()
        context = mp.get_context(self.method)
        self.pipe, other = context.Pipe()
        inherited = self.pipe if self.method == "fork" else None
        self.process: Any = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(other, inherited, *arguments), daemon=True
        )
        try:
            self.process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self.pipe.close()
            raise TradeoffError(
                f"a worker process cannot be given what it needs ({' '.join(str(error).split())}): with the start "
                f"method {self.method}, functions that build an environment or tell its costs must stand at the top "
                "level of a module, so no lambda; or leave workers out"
            ) from None
        finally:
            other.close()

    def send(self, name: str, argument: Any) -> None:
        """Begin a call; that a process is gone is said by `receive`."""
        with suppress(OSError):
            self.pipe.send((name, argument))

    def receive(self) -> tuple[bool, Any]:
        """Whether it went well, and the answer or the complaint."""
        try:
            fine, answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(1)
            guard = "" if self.method == "fork" else ", in a script below `if __name__ == '__main__':`"
            said = f"an environment process is gone (exit code {self.process.exitcode}); make the environment anew"
            return False, said + guard
        if fine or isinstance(answer, TradeoffError):
            return fine, answer
        return False, f"an environment raised in its process; reset before going on:\n{answer}"

    def close(self) -> None:
        """End the process, by force where it does not end by itself."""
        with suppress(OSError):
            self.pipe.send(None)
        self.process.join(5)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def gather(workers: Sequence[Worker]) -> list[Any]:
    """The answers of all workers, so that none is left in a pipe. Raises: TradeoffError with the first complaint."""
    answers = [worker.receive() for worker in workers]
    complaint = next((answer for fine, answer in answers if not fine), None)
    if complaint is not None:
        raise complaint if isinstance(complaint, TradeoffError) else TradeoffError(complaint)
    return [answer for _, answer in answers]
