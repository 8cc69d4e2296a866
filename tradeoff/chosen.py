"""What the words of `train` choose before they are read as options: the defaults of the others depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args


def gathered(words: Sequence[str], option: str) -> list[str]:
    """The same words with the values of an option that is given several times behind its first place."""
    rest, values = [], []
    for i, word in enumerate(words):
        if word.startswith(f"{option}="):
            values.append(word.removeprefix(f"{option}="))
        elif i and words[i - 1] == option and word != option:
            values.append(word)
        elif word != option:
            rest.append(word)
    return [*rest, option, *values] if values else rest


def decisive(kind: Any, words: Sequence[str]) -> dict[str, Any]:
    """What other settings depend on besides the environment: the utility and its step, the sums of limits, repeated
    actions, whether policies are extended.

    What is no such thing is left to the parser.
    """
    from tradeoff.safe.constraints import Scale

    if hasattr(kind, "utility"):
        from tradeoff.morl.utility_aims import UtilityName
        from tradeoff.morl.utility_methods import Step

        utility, step = wanted(words, "--utility"), wanted(words, "--step")
        given: dict[str, Any] = {"utility": utility} if utility in get_args(UtilityName) else {}
        return given | ({"step": step} if step in get_args(Step) and hasattr(kind, "step") else {})
    if hasattr(kind, "extension"):
        return {"extension": 0.0} if number(words, "--extension") == 0 else {}
    if not hasattr(kind, "scale"):
        return {}
    scale, discount = wanted(words, "--scale"), number(words, "--discount") or 0.0
    given = {"scale": scale} if scale in get_args(Scale) else {}
    if wanted(words, "--repeat") == "1":
        given["repeat"] = 1
    if wanted(words, "--discount") == "None":
        return given | {"discount": None}
    return given | {"discount": discount} if 0 < discount <= 1 else given


def wanted(words: Sequence[str], option: str) -> str | None:
    """The value that an option is given, before the rest is read."""
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word == option and following:
            return following
        if word.startswith(f"{option}="):
            return word.removeprefix(f"{option}=")
    return None


def number(words: Sequence[str], option: str) -> float | None:
    """The number that an option is given; None where it is given none."""
    try:
        return float(wanted(words, option) or "")
    except ValueError:
        return None


def fitting(config: Any, words: Sequence[str]) -> Any:
    """Recommended settings, without those that other options leave without effect: nobody has asked for them."""
    from tradeoff.safe.methods import unread_defaults
    from tradeoff.safe.solvers import PolicyStep

    step, learner = wanted(words, "--step"), getattr(config, "learner", None)
    if learner is not None and "--no-anneal" in words and hasattr(learner, "calm"):
        config = replace(config, learner=replace(learner, anneal=False, calm=1.0))
    if step in get_args(PolicyStep) and hasattr(getattr(config, "solver", None), "step"):
        solver = replace(config.solver, step=step)
        unread = unread_defaults(config, solver)
        config = replace(config, solver=solver, learner=replace(config.learner, **unread))
    return config
