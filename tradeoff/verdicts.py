"""What a diagnosis comes to in words, no stronger than its intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tradeoff.engine.diagnostics import Interval

WORTH = 1.5  # how many times less noise pays for the second evaluation of every sample that memory needs
FEW = 8.0  # trajectories; where fewer carry a gradient, no interval can be trusted
BETTER = 1.1  # how many times less noise makes it worth naming another baseline


def shown(known: Interval, unit: str = "") -> str:
    """Value and interval, or what the value surely exceeds where none was seen."""
    if not math.isfinite(known.value):
        return f"at least {known.low:.3g}{unit}" if math.isfinite(known.low) else "unknown"
    return f"{known.value:.3g}{unit} [{known.low:.3g}, {known.high:.3g}]"


def on_carriers(carriers: float, episodes: int) -> str | None:
    """Whether anything can be told at all. carriers: (sum of |g|^2)^2 / sum of |g|^4 over the episodes' gradients."""
    if carriers >= FEW:
        return None
    return (
        f"cannot tell anything: {carriers:.2g} of {episodes} episodes carry the gradient, the others are alike or the "
        "policy hardly explores; look at more with --episodes"
    )


def on_conflict(cosines: Mapping[tuple[str, str], Interval]) -> str:
    """Which two channels pull apart most surely."""
    if not cosines:
        return "conflict: none with one channel"
    pair = min(cosines, key=lambda pair: (cosines[pair].high, -cosines[pair].low))
    known, (one, other) = cosines[pair], pair
    if known.high < 0:
        return f"conflict: {one} and {other} pull apart, cosine {shown(known)}"
    if min(cosine.low for cosine in cosines.values()) > 0:
        return "conflict: none, all channels agree"
    unsure = sum(cosine.low <= 0 for cosine in cosines.values())
    return f"conflict: cannot tell for {unsure} of {len(cosines)} pairs of channels whether they agree"


def on_batch(critical: Interval, batch: float, episodes: int) -> str:
    """Whether a larger batch would help. critical, batch: episodes per step; episodes: that were looked at."""
    if critical.high == 0:
        return f"batch: the gradient has no noise, one episode per step does as well as the run's {batch:.3g}"
    if critical.low > batch:
        way_out = f"a larger batch would help; {shown(critical)} episodes have as much signal as noise"
        if critical.high == float("inf"):
            way_out += f", unless the policy has arrived: in {episodes} episodes its gradient cannot be told from zero"
        return f"batch: noise outweighs signal at the run's {batch:.3g} episodes per step; {way_out}"
    if critical.high <= batch:
        return (
            f"batch: the run's {batch:.3g} episodes per step suffice; signal equals noise at {shown(critical)}, and a "
            "larger batch would add little"
        )
    return (
        f"batch: cannot tell from {episodes} episodes; signal equals noise at {shown(critical)} episodes per step, the "
        f"run takes {batch:.3g}; look at more with --episodes"
    )


def on_baseline(own: str, gains: Mapping[str, Interval]) -> str:
    """Whether another baseline would help. gains: noise under the run's own over noise under each other one."""
    sure = {kind: gain for kind, gain in gains.items() if gain.low > BETTER}
    if sure:
        best = max(sure, key=lambda kind: sure[kind].low)
        return f"baseline: {best!r} would help, {shown(sure[best], 'x')} less noise than the run's {own!r}"
    if all(gain.high < BETTER for gain in gains.values()):
        return f"baseline: none that was tried beats the run's {own!r} by {BETTER:g}x"
    open_ones = ", ".join(f"{kind!r} {shown(gain, 'x')}" for kind, gain in gains.items() if gain.high >= BETTER)
    return f"baseline: cannot tell whether another beats the run's {own!r}; less noise by {open_ones}"


def on_memory(gain: Interval | None, share: Interval | None) -> str:
    """Whether variance reduction would help. gain: noise divided by; share: of effective whole trajectories."""
    if gain is None or share is None:
        return "variance reduction: would not help; weights back to the step before overflow, so far does a step go"
    worth = f"at best it divides the noise by {shown(gain)}; a step leaves {shown(share)} of the episodes' weight"
    if gain.low > WORTH:
        return f"variance reduction: would help against noise if such steps go on; {worth}"
    if gain.high < WORTH:
        return f"variance reduction: would not help; {worth}"
    return f"variance reduction: cannot tell; {worth}, and {WORTH:g} would pay for its second look at every sample"
