"""Methods x tasks x seeds as ordinary runs, some at a time; what is finished is not trained again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from tradeoff.envs.errors import UnknownName
from tradeoff.errors import BadInput, as_bad_input
from tradeoff.memory import check_memory
from tradeoff.registry import METHODS, recommended, spec_of
from tradeoff.results import kind_in
from tradeoff.settings import FILE, Settings, differences, read_settings
from tradeoff.suites import SUITES, Task


class Job(NamedTuple):
    """A run to be had."""

    config: Any  # of a method with limits
    folder: Path


class Plan(NamedTuple):
    """What to compare, on what, for how long."""

    tasks: tuple[Task, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    policies: int  # per run, side by side
    margin: float  # share of the limits kept in reserve while training
    steps: int  # per policy, evaluations during training included
    evaluations: int  # during training
    episodes: int  # per evaluation
    final_episodes: int  # per policy, on fresh seeds
    out: Path


def tasks(suite: str, envs: Sequence[str] = (), limit: Sequence[str] = ()) -> tuple[Task, ...]:
    """Tasks of a suite, or those of them that `envs` names; `limit` replaces their own. Raises UnknownName."""
    if suite not in SUITES:
        raise UnknownName("suite", suite, SUITES)
    known = {task.env: task for task in SUITES[suite]}
    for env in envs:
        if env not in known:
            raise UnknownName(f"environment of {suite}", env, known)
    chosen = [known[env] for env in envs] if envs else list(known.values())
    return tuple(Task(task.env, tuple(limit) or task.limit) for task in chosen)


def jobs(plan: Plan) -> list[Job]:
    """A job per task, method and seed.

    Raises: UnknownName; BadInput for a method that knows no limits and for settings that no run takes, BadLimit
    for limits that no policy keeps.
    """
    if not plan.methods:
        raise BadInput("methods names none; give one or several that keep limits, see `tradeoff methods`")
    found = []
    for task in plan.tasks:
        spec = spec_of(task.env)
        for method in plan.methods:
            base = _base(method, task, plan)
            base.check_limits(spec)
            turn = base.learner.rollout_steps * base.learner.environments
            every = max(1, round(plan.steps / plan.evaluations / turn))
            for seed in plan.seeds:
                with as_bad_input():
                    config = replace(base, seed=seed, evaluate_every=every)
                found.append(Job(config, plan.out / f"{method}-{task.env}-{seed}"))
    return found


def _base(method: str, task: Task, plan: Plan) -> Any:
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    if not hasattr(METHODS[method], "constraints"):
        raise BadInput(f"{method} keeps no limits; `tradeoff methods` lists those that do")
    with as_bad_input():
        return recommended(
            method, task.env, limit=task.limit, margin=plan.margin, policies=plan.policies,
            steps=plan.steps * plan.policies, episodes=plan.episodes, final_episodes=plan.final_episodes,
        )  # fmt: skip


def check_budgets(todo: Sequence[Job]) -> None:
    """Raise BadInput where a run that has not begun could not: before the first one is trained."""
    fresh = (job.config for job in todo if not (job.folder / FILE).is_file())
    for config in dict.fromkeys(replace(config, seed=0) for config in fresh):
        check_memory(config)
        with as_bad_input(f"{config.name} on {config.env}: "):
            config.start().check_budget()


def check_settings(todo: Sequence[Job]) -> None:
    """Raise BadInput where the folder of a job holds a run with other settings: its result would be another's."""
    for job in todo:
        if not (job.folder / FILE).is_file():
            continue
        asked, had = (x.record()["settings"] for x in (Settings(job.config, 1), read_settings(job.folder)))
        found = differences(asked, had)
        if found:
            here, there = found[0]
            raise BadInput(
                f"{job.folder} holds a run with other settings: {here} is asked for, it has {there}; give the same "
                "settings, or another --out"
            )


def workers(asked: int | None) -> int:
    """Processes at a time: as asked, else one per core that this process may use. Raises BadInput below 1."""
    if asked is not None and asked < 1:
        raise BadInput(f"workers must be at least 1, got {asked}")
    return asked or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


def run_all(todo: Sequence[Job], at_once: int, done: Callable[[Job], None]) -> None:
    """Train what is not finished yet, and say `done` of each job; interrupted, the same call goes on later."""
    waiting = []
    for job in todo:
        if kind_in(job.folder) is None:
            waiting.append(job)
        else:
            done(job)
    if at_once == 1:
        for job in waiting:
            run_one(job)
            done(job)
        return
    for job in _parallel(waiting, at_once):
        done(job)


def _parallel(waiting: Sequence[Job], at_once: int) -> Iterator[Job]:
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        asked = {pool.submit(run_one, job): job for job in waiting}
        try:
            for future in as_completed(asked):
                future.result()
                yield asked[future]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_one(job: Job) -> None:
    """Train, or go on with, a run, without a word."""
    from tradeoff import run

    if (job.folder / FILE).is_file():
        run.resume(job.folder, quiet=True)
    else:
        run.train(job.config, job.folder, quiet=True)
