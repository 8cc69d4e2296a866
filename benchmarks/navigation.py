"""Navigation: ours against Safety-Gymnasium 1.0.0 in an environment of its own (benchmarks/omnisafe_setup.sh).

First, sums of reward and costs over the first steps of episodes from the same seeds, walking at random and walking
towards what is paid; the two sides run different versions of MuJoCo. Then speed, in turn: whole episodes of random
actions, resets included, and resets alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.navigation_walks import KINDS, random_walk, seek
from benchmarks.report import Row, emit, shown, spread
from benchmarks.turns import ROOT, Contestant, alternate, module, serve
from tradeoff.envs import make

FOLDER = Path("build/omnisafe")
WALKED = (
    "SafetyPointGoal1-v0", "SafetyCarGoal1-v0", "SafetyPointGoal2-v0", "SafetyPointButton1-v0", "SafetyCarButton2-v0",
    "SafetyCarPush1-v0", "SafetyPointPush2-v0", "SafetyPointCircle1-v0", "SafetyCarCircle2-v0",
)  # fmt: skip
TIMED = ("SafetyPointGoal1-v0", "SafetyCarGoal1-v0", "SafetyPointButton1-v0", "SafetyPointGoal2-v0")
COPIES = 32


def totals(id: str, walk: str, episodes: int, steps: int) -> np.ndarray:
    """As the peer's: sums of reward, of each of KINDS, and of their joint indicator [episodes, 2 + kinds]."""
    env = make(id, episodes)
    observation, planned = env.reset(0), [random_walk(seed, steps) for seed in range(episodes)]
    summed = np.zeros((episodes, len(KINDS) + 2))
    columns = [[*KINDS, "any"].index(name) + 1 for name in env.spec.costs]
    for t in range(steps):
        random = np.stack([walked[t] for walked in planned])
        action = random if walk == "random" else seek(id, observation.numpy())
        step = env.step(torch.from_numpy(action))
        observation = step.observation
        summed[:, 0] += step.reward[:, 0].numpy()
        summed[:, columns] += step.cost.numpy()
    summed[:, -1] = summed[:, -1] if len(columns) > 1 else summed[:, columns].sum(1)
    return summed


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Means and standard errors, their distance in standard errors, and the mean difference on equal seeds."""
    n = len(ours)
    errors = [x.std(ddof=1) / np.sqrt(n) for x in (ours, theirs, ours - theirs)]
    gap, both = ours.mean() - theirs.mean(), float(np.hypot(errors[0], errors[1]))
    return {
        "ours": float(ours.mean()), "ours_error": float(errors[0]), "peer": float(theirs.mean()),
        "peer_error": float(errors[1]), "z": float(gap / both) if both > 0 else 0.0,
        "paired": float(gap), "paired_error": float(errors[2]), "episodes": n,
    }  # fmt: skip


def agreement(answer: dict[str, Any], steps: int) -> list[dict[str, Any]]:
    """One comparison per channel that ever moved."""
    theirs = np.array(answer["rows"])
    ours = totals(answer["task"], answer["walk"], len(theirs), steps)
    names = ("reward", *KINDS, "any")
    live = [k for k in range(len(names)) if (ours[:, k] != 0).any() or (theirs[:, k] != 0).any()]
    if live[-1] == len(names) - 1 and len(live) == 3:
        live.pop()  # one kind alone is its own joint indicator
    told = {"task": answer["task"], "walk": answer["walk"]}
    return [told | {"channel": names[k]} | compare(ours[:, k], theirs[:, k]) for k in live]


def row(found: dict[str, Any]) -> Row:
    """One line of the table of agreement."""
    return {
        "task": found["task"], "walk": found["walk"], "channel": found["channel"],
        "ours": f"{found['ours']:.3f} +- {found['ours_error']:.3f}",
        "original": f"{found['peer']:.3f} +- {found['peer_error']:.3f}", "z": f"{found['z']:+.2f}",
        "difference on equal seeds": f"{found['paired']:+.4f} +- {found['paired_error']:.4f}",
    }  # fmt: skip


def turn(what: str, id: str, steps: int) -> Callable[[], float]:
    """Our side of the race: whole episodes of COPIES environments, or resets of them."""
    torch.set_num_threads(1)
    env, generator = make(id, COPIES, max_episode_steps=steps), torch.Generator().manual_seed(0)

    def speed() -> float:
        for _ in range(steps):
            env.step(torch.rand(COPIES, 2, generator=generator) * 2 - 1)
        return COPIES * steps

    def reset() -> float:
        env.reset()
        return COPIES

    return speed if what == "speed" else reset


def race(what: str, id: str, steps: int, repetitions: int, python: Path) -> dict[str, Any]:
    """Rates of both sides, in turn."""
    rounds = steps if what == "speed" else 4
    ours = Contestant(
        "ours", module(sys.executable, "navigation", "--serve-turns", what, "--tasks", id, "--steps", steps)
    )
    peer = Contestant("peer", module(python, "navigation_peer", what, id, rounds))
    for side in (ours, peer):
        side.turn()
    mine, theirs = alternate(ours, peer, repetitions)
    ratio = spread([a / b for a, b in zip(mine, theirs, strict=True)])
    return {"task": id, "what": what, "ours": spread(mine), "peer": spread(theirs), "ratio": ratio}


def raced(result: dict[str, Any]) -> Row:
    """One line of the table of speed."""
    unit = "steps/s" if result["what"] == "speed" else "resets/s"
    mine, theirs = shown(result["ours"], 0), shown(result["peer"], 1)
    return {"task": result["task"], "unit": unit, "ours": mine, "original": theirs, "ratio": shown(result["ratio"], 1)}


def main(
    tasks: tuple[str, ...] = (),
    episodes: int = 10,
    steps: int = 300,
    repetitions: int = 3,
    parts: tuple[str, ...] = ("walks", "speed", "reset"),
    serve_turns: str = "",
    peers: Path = FOLDER,
) -> None:
    """Run the comparison.

    Args:
        tasks: ids; by default nine for the walks, four for speed.
        episodes: of each walk, from seeds 0, 1, ...
        steps: of each episode, in the races too.
        repetitions: turns of each side in a race, after one to warm up.
        parts: walks, speed, reset.
        serve_turns: used by the race itself.
        peers: folder of the peer's virtual environment, made when missing.
    """
    if serve_turns:
        return serve(turn(serve_turns, tasks[0], steps))
    from benchmarks.omnisafe import interpreter

    python, found, races = interpreter(peers), [], []
    if "walks" in parts:
        command = module(python, "navigation_peer", "walks", steps, episodes, *(tasks or WALKED))
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as peer:
            for line in peer.stdout or ():
                told = agreement(json.loads(line), steps)
                found += told
                for channel in told:
                    print(" ".join(row(channel).values()), file=sys.stderr, flush=True)
        if not found:
            raise RuntimeError(f"{' '.join(command)} answered nothing; run it by itself to see why")
        emit("Agreement", [row(x) for x in found], found, episodes=episodes, steps=steps)
    for what in ("speed", "reset"):
        if what in parts:
            races += [race(what, id, steps, repetitions, python) for id in tasks or TIMED]
    if races:
        emit("Speed", [raced(x) for x in races], races, copies=COPIES, steps=steps)


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
