"""The commands: each takes its words, does its work and prints; errors are the caller's to show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradeoff import method_table
from tradeoff.errors import BadInput, check_place, check_run
from tradeoff.memory import check_episodes

if TYPE_CHECKING:
    from rich.table import Table


def train(words: Sequence[str]) -> None:
    """Train a method."""
    method_table.check_words(words)
    if words[0] in ("-h", "--help"):
        print(f"usage: tradeoff train METHOD [OPTIONS]\nmethods: {', '.join(row.name for row in method_table.rows())}")
        print("`tradeoff train METHOD --env ENV --help` lists the options with their defaults for that environment")
        return
    from tradeoff import options, run

    given = options.training(words)

    run.train(given.method, given.out, threads=given.threads, quiet=given.quiet, init=given.init)


def resume(words: Sequence[str]) -> None:
    """Go on with a run."""
    from tradeoff import options

    given = options.parse(options.Resume, words, "resume")
    check_run(given.run)
    from tradeoff import run
    from tradeoff.settings import CHANGEABLE

    changes = {name: value for name in CHANGEABLE if (value := getattr(given, name)) is not None}
    run.resume(given.run, quiet=given.quiet, trust_code=given.trust_code, **changes)


def evaluate(words: Sequence[str]) -> None:
    """Play a front anew."""
    from tradeoff import options

    given = options.parse(options.Evaluate, options.gathered(words, "--limit"), "evaluate")
    check_run(given.run)
    check_episodes(given.episodes)
    from tradeoff import replay, replay_trained, results

    how = {"episodes": given.episodes, "seed": given.seed, "trust_code": given.trust_code}
    if results.kind_in(given.run) is results.TRAINED:
        replay_trained.refuse_preferences(given.run, given.weights, given.minimum)
        found: Any = replay_trained.replay(given.run, given.limit, **how)
    else:
        replay_trained.refuse_limits(given.run, given.limit)
        found = replay.replay(given.run, given.weights, given.minimum, **how)
    if given.json:
        print(json.dumps(found.record()))
    else:
        show(found.table())


def safety(words: Sequence[str]) -> None:
    """Say what fresh episodes prove about limits."""
    from tradeoff import options

    words = options.gathered(options.gathered(words, "--limit"), "--ceiling")
    given = options.parse(options.Safety, words, "safety")
    check_run(given.run)
    check_episodes(given.episodes)
    from tradeoff import safety as report

    asked = report.Asked(
        given.limit,
        given.ceiling,
        given.confidence,
        given.share,
        given.jointly,
        given.episodes,
        given.seed,
        given.trust_code,
        given.format,
    )
    found = report.safety(given.run, asked)
    print(*report.words(found, asked), *(given.run / name for name in report.files(given.format)), sep="\n")


def diagnose(words: Sequence[str]) -> None:
    """Say what the gradients of a run show."""
    from tradeoff import options

    given = options.parse(options.Diagnose, words, "diagnose")
    check_run(given.run)
    check_episodes(given.episodes)
    from tradeoff import diagnosis
    from tradeoff.diagnose import diagnose as examined

    found = examined(
        given.run, policies=given.policies, episodes=given.episodes, seed=given.seed, trust_code=given.trust_code
    )
    paths = diagnosis.write(found, given.run, given.format)
    if given.json:
        print(json.dumps(diagnosis.jsonable(found)))
        return
    show(diagnosis.table(found))
    print(diagnosis.words(found), *paths, sep="\n")


def plot(words: Sequence[str]) -> None:
    """Draw runs anew."""
    from tradeoff import options

    given = options.parse(options.Plot, words, "plot")
    for folder in given.runs:
        check_run(folder)
    from tradeoff import beside, curves, drawing, replay, results

    kinds = {results.kind_in(folder) for folder in given.runs}
    if kinds == {results.TRAINED}:
        trained = [results.opened(folder, results.TRAINED)[0] for folder in given.runs]
        drawn = [curves.draw(run, folder, None, given.format) for run, folder in zip(trained, given.runs, strict=True)]
        print("\n".join(str(path) for paths in drawn for path in paths))
        return
    if given.out:
        check_place(given.out)
    runs = [replay.open_run(folder) for folder in given.runs]
    fronts = [run.front for run in runs]
    beside.check_comparable(runs)
    paths: list[Path] = []
    for folder, run in zip(given.runs, runs, strict=True):
        paths += drawing.draw(run.front, folder, run.horizon, given.format)
    if len(runs) > 1:
        plots = given.out or given.runs[0].parent / f"plots-{fronts[0].env.replace('/', '-')}"
        paths += beside.draw_all(fronts, plots, given.format)
    print("\n".join(map(str, paths)))


def benchmark(words: Sequence[str]) -> None:
    """Compare methods on a suite."""
    from tradeoff import options

    given = options.parse(options.Benchmark, options.gathered(words, "--limit"), "benchmark")
    from rich.progress import Progress

    from tradeoff import benchmark as bench
    from tradeoff import standings, standings_plots

    out = given.out or Path("runs") / given.suite
    check_place(out)
    plan = bench.Plan(
        bench.tasks(given.suite, given.envs, given.limit), given.methods, given.seeds, given.policies, given.margin,
        given.steps, given.evaluations, given.episodes, given.final_episodes, out,
    )  # fmt: skip
    todo = bench.jobs(plan)
    bench.check_settings(todo)
    bench.check_budgets(todo)
    with Progress() as progress:
        bar = progress.add_task(given.suite, total=len(todo))
        bench.run_all(todo, bench.workers(given.workers), lambda job: progress.advance(bar))
    rows = [row for job in todo for row in standings.measure(job)]
    summary = standings.summarise(rows)
    show(standings.table(summary))
    print(*standings.write(rows, summary, out), *standings_plots.draw(todo, out, given.format), sep="\n")


def envs(words: Sequence[str]) -> None:
    """List environments."""
    from tradeoff import options

    given = options.parse(options.Envs, words, "envs")
    from tradeoff import catalogue

    rows = catalogue.environments(given.pattern)
    if given.json:
        print(json.dumps(rows))
    else:
        show(catalogue.environment_table(rows))


def methods(words: Sequence[str]) -> None:
    """List methods."""
    if {*words} & {"-h", "--help"}:
        print("usage: tradeoff methods\nList methods, what each does in a line, and what it leaves.")
        return
    if words:
        raise BadInput(f"methods takes no options, got {' '.join(words)}")
    show(method_table.table())


def show(table: Table) -> None:
    """Print a table as wide as the terminal, or whole where there is none."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
