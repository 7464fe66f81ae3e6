"""Entry point: everything from nothing to a shipped checkpoint or a table, one command a stage.

    python -m experiment.recipe google_robot             run what is not done yet
    python -m experiment.recipe google_robot --list      print the commands and what they cost
    python -m experiment.recipe google_robot only=[finetune,export]

A recipe is a file in configs/recipe. Every stage is a command of this package that resumes, so a
recipe that was stopped goes on where it was; stages that have ended are in stages.jsonl.
"""

import itertools
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from experiment import processes
from experiment.command import command
from experiment.errors import UserError, nearest
from experiment.files import append_record, read_records
from experiment.run_folder import open_run
from experiment.settings import plain, typed

STAGES = "stages.jsonl"


@dataclass
class Stage:
    """A command `python -m module settings`, or one for all combinations of the values in `each`.

    In the settings `{name}` stands for the value of `name`. `hours` is about what it takes on
    two cores, from what its episodes and steps took; None where that is not known.
    """

    name: str
    module: str
    settings: list[str]
    each: dict[str, list[str]] = field(default_factory=dict)
    hours: float | None = None

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the name of each command, and its module and settings."""
        for values in itertools.product(*self.each.values()):
            settings = self.settings
            for name, value in zip(self.each, values, strict=True):
                settings = [text.replace(f"{{{name}}}", value) for text in settings]
            yield " ".join([self.name, *values]), [self.module, *settings]


@dataclass
class Recipe:
    """Stages in their order. `about` says what they make; `demos`: sets they learn from; `sets`:
    further ones, by name; `values`: numbers that settings name, which a recipe built on this one
    may change."""

    name: str
    about: str
    stages: list[Stage]
    demos: str = ""
    sets: dict[str, str] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    def chosen(self, only: Sequence[str] | None) -> list[Stage]:
        """Return the stages named by `only`, all for None; raises `UserError` for an unknown."""
        names = [stage.name for stage in self.stages]
        if isinstance(only, str):
            raise UserError(f"only={only} must be a list of stages, such as [{only}].")
        for name in only or ():
            if name not in names:
                raise UserError(f"only: unknown stage {name!r}.{nearest(name, names)}")
        return [stage for stage in self.stages if only is None or stage.name in only]


def _named_first(settings: Sequence[str]) -> list[str]:
    """Take a first argument without `=` as the recipe's name."""
    if settings and "=" not in settings[0] and not settings[0].startswith("-"):
        return [f"recipe={settings[0]}", *settings[1:]]
    return list(settings)


@command("recipe", __doc__, flags=("list",), completed=_named_first)
def main(config: DictConfig) -> Path:
    recipe = typed(Recipe, plain(config.recipe))
    stages = recipe.chosen(config.only)
    if config.list:
        _print(recipe, stages)
        return Path(config.out)
    folder = open_run("recipe", config, ("out", "only", "list"), results=(STAGES,))
    follow(stages, folder)
    print(f"{recipe.name}: all of {', '.join(stage.name for stage in stages)} is in {folder}")
    return folder


def follow(stages: Sequence[Stage], folder: Path) -> None:
    """Run the commands of `stages` that have not ended before, as `folder` says.

    Raises `UserError` naming the stage whose command fails.
    """
    done = [line["command"] for line in read_records(folder / STAGES)]
    commands = [each for stage in stages for each in stage.commands()]
    todo = [(name, arguments) for name, arguments in commands if arguments not in done]
    for number, (name, arguments) in enumerate(todo, len(commands) - len(todo) + 1):
        print(f"[{number}/{len(commands)}] {name}: {_line(arguments)}", flush=True)
        started = time.perf_counter()
        _run(name, arguments)
        seconds = round(time.perf_counter() - started, 1)
        record = {"name": name, "command": arguments, "seconds": seconds}
        append_record(folder / STAGES, record)


run = main.run


def _run(name: str, arguments: Sequence[str]) -> None:
    process = processes.start(arguments[0], arguments[1:])
    try:
        status = process.wait()
    except KeyboardInterrupt:
        processes.end(process)
        raise
    if status:
        raise UserError(f"stage {name} ended with exit code {status}: see what it says above.")


def _line(arguments: Sequence[str]) -> str:
    return f"python -m {shlex.join(arguments)}"


def _print(recipe: Recipe, stages: Sequence[Stage]) -> None:
    print(recipe.about)
    for stage in stages:
        cost = "not measured" if stage.hours is None else f"about {stage.hours:g} h on two cores"
        print(f"\n{stage.name} ({cost})")
        for _, arguments in stage.commands():
            print(f"  {_line(arguments)}")


if __name__ == "__main__":
    main()
