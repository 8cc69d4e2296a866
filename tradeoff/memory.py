"""What a run keeps in memory at the very least, so that what cannot fit is refused before the machine stalls."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

from tradeoff.errors import BadInput

NUMBERS = 8  # per sample of a rollout: observation, action, log-probability, reward, ends, value, advantage, target


def check_memory(config: Any) -> None:
    """Raise BadInput for a run on the processor whose networks and samples are larger than this machine's memory."""
    parts, have = needed(config), installed()
    total = sum(parts.values())
    if config.device == "cpu" and total > have:
        most = max(parts, key=lambda name: parts[name])
        raise BadInput(
            f"{config.name} with these settings needs at least {_shown(total)} of memory, most of it for {most}, and "
            f"this machine has {_shown(have)}; give it fewer of them"
        )


def check_episodes(episodes: int) -> None:
    """Raise BadInput for more episodes of an evaluation than this machine's memory holds the returns of."""
    if 16 * episodes > installed():
        raise BadInput(f"episodes is {episodes:,}: their returns alone take {_shown(16 * episodes)}; give fewer")


def needed(config: Any) -> dict[str, int]:
    """Least bytes by what they are for, in single precision."""
    learner = getattr(config, "learner", config)
    count = lambda name: int(getattr(learner, name, 0) or 0)  # noqa: E731
    layers = (1, *learner.hidden, 1)
    weights = sum(a * b for a, b in pairwise(layers)) * 3  # parameters and both moments of Adam
    samples = max(count("environments") * count("rollout_steps"), count("batch"), count("checkpoint"), count("warmup"))
    return {
        f"{config.policies:,} policies with hidden layers of {', '.join(map(str, learner.hidden))}":
            8 * weights * config.policies,
        f"samples of {max(count('environments'), 1):,} environments, a batch of {count('batch'):,} and the like":
            4 * NUMBERS * samples * config.policies,
        "episodes of evaluations": 16 * max(config.episodes, config.final_episodes) * config.policies,
    }  # fmt: skip


def installed() -> int:
    """Bytes of memory that this machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system says
        return 2**62


def _shown(size: int) -> str:
    return f"{size / 1e9:,.3g} GB"
