"""Names of options in other libraries, so that whoever comes from there is told ours before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

ELSEWHERE = {
    "--lr": "--learning-rate", "--actor-lr": "--learning-rate",
    "--num-envs": "--environments", "--n-envs": "--environments", "--vector-env-nums": "--environments",
    "--num-steps": "--rollout-steps", "--n-steps": "--rollout-steps", "--steps-per-epoch": "--rollout-steps",
    "--total-timesteps": "--steps", "--total-steps": "--steps", "--timesteps": "--steps", "--max-steps": "--steps",
    "--update-epochs": "--epochs", "--n-epochs": "--epochs", "--num-epochs": "--epochs",
    "--num-minibatches": "--minibatches", "--n-minibatches": "--minibatches",
    "--batch-size": "--minibatches (with rollouts) or --batch (from replay, and of whole episodes)",
    "--minibatch-size": "--minibatches",
    "--ent-coef": "--entropy", "--entropy-coef": "--entropy", "--vf-coef": "--critic", "--value-coef": "--critic",
    "--clip-coef": "--clip", "--clip-range": "--clip", "--max-grad-norm": "--max-norm", "--lam": "--gae-lambda",
    "--anneal-lr": "--anneal", "--buffer-size": "--capacity", "--learning-starts": "--warmup", "--tau": "--polyak",
    "--utd-ratio": "--updates", "--policy-frequency": "--actor-every",
    "--hidden-sizes": "--hidden", "--net-arch": "--hidden", "--hidden-dims": "--hidden",
    "--env-id": "--env", "--environment": "--env", "--env-name": "--env", "--task": "--env",
    "--cost-limit": "--limit", "--cost-limits": "--limit", "--limits": "--limit", "--threshold": "--limit",
    "--lagrangian-multiplier-init": "--start", "--lagrange-lr": "--rate", "--lambda-lr": "--rate",
    "--lagrangian-upper-bound": "--bound",
    "--ref-point": "--reference-point", "--pop-size": "--policies", "--num-policies": "--policies",
    "--num-eval-episodes": "--episodes", "--n-eval-episodes": "--episodes", "--eval-freq": "--evaluate-every",
    "--max-episode-steps": "--horizon", "--time-limit": "--horizon", "--frame-skip": "--repeat",
    "--action-repeat": "--repeat", "--cuda": "--device cuda", "--out-dir": "--out", "--output": "--out",
    "--log-dir": "--out", "--save-dir": "--out", "--save-path": "--out", "--random-seed": "--seed",
}  # fmt: skip


def ours(words: Sequence[str]) -> str | None:
    """What to say of the first option that has another name here; None where there is none."""
    for word in words:
        name = word.partition("=")[0].replace("_", "-")
        if name in ELSEWHERE:
            return f"{word.partition('=')[0]} is called {ELSEWHERE[name]} here"
    return None
