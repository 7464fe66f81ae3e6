"""One way to run a command: its settings, its help, and how it ends."""

import contextlib
import functools
import inspect
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Generic, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiment import run_folder
from experiment.errors import exit_on_user_error
from experiment.settings import compose, draft, flattened, shown
from experiment.settings_files import Files, options

_WIDTH = 46


R = TypeVar("R")


class Command(Generic[R]):
    """An entry point: called, it takes the process's arguments and ends as a command does.

    `run` is the same from Python: it takes settings and returns what the command made.
    """

    def __init__(
        self,
        main: Callable[[DictConfig], R],
        name: str,
        usage: str,
        flags: Collection[str],
        completed: Callable[[Sequence[str]], Sequence[str]],
        within: Callable[[], contextlib.AbstractContextManager[object]],
    ) -> None:
        self._main, self._name, self._usage = main, name, usage
        self._flags, self._completed, self._within = flags, completed, within
        functools.update_wrapper(self, main)

    def __call__(self, arguments: Sequence[str] | None = None) -> None:
        """Run with `arguments`, by default the process's; it ends as `exit_on_user_error` says."""
        given = list(sys.argv[1:] if arguments is None else arguments)
        flags = [f"--{flag}" for flag in self._flags]
        settings = [f"{a[2:]}=true" if a in flags else a for a in given]
        wanted = self._print_help if {"-h", "--help"} & {*given} else self.run
        with _sigterm_as_ctrl_c():
            exit_on_user_error(wanted)(*settings)

    def run(self, *settings: str) -> R:
        """Run with settings such as `"trainer.steps=500"`; raises `UserError` for wrong ones."""
        with self._within():
            try:
                return self._main(compose(self._name, self._completed(settings)))
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt(run_folder.resume_hint()) from stop
            finally:
                run_folder.release()

    def _print_help(self, *settings: str) -> None:
        kept = [setting for setting in settings if setting not in ("-h", "--help")]
        print(help_text(self._name, self._usage, kept))


def command(
    name: str,
    usage: str | None,
    flags: Collection[str] = (),
    completed: Callable[[Sequence[str]], Sequence[str]] = list,
    within: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> Callable[[Callable[[DictConfig], R]], Command[R]]:
    """Make an entry point of `main(config)`.

    The settings are those of `configs/<name>.yaml`; `--help` prints `usage` and every setting.
    `--x` means `x=true` for `x` in `flags`; `completed` may add arguments that follow from the
    given ones; all happens in the context that `within` opens.
    """
    return lambda main: Command(main, name, usage or "", flags, completed, within)


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """A job that is ended from outside stops as at Ctrl-C, and says how to resume it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def help_text(name: str, usage: str, arguments: Sequence[str] = ()) -> str:
    """Return `usage`, the groups with their choices, and each setting with value and comment."""
    config, files = draft(name, arguments)
    return "\n".join(
        [
            inspect.cleandoc(usage),
            "",
            "Groups (group=choice):",
            *_groups(files),
            "",
            "Settings (key=value) and their values:",
            *_settings(config, files),
        ]
    )


def _groups(files: Files) -> Iterator[str]:
    for group in sorted(group for group in files.choices if not group.startswith("stream@")):
        place = group.partition("@")[2]
        if place.count(".") > 1:
            continue
        yield _line(f"{group}={files.choices[group]}", files.comments.get(f"{group}=", ""))
        yield f"      {' | '.join(options(group))}"


def _settings(config: DictConfig, files: Files) -> Iterator[str]:
    raw: Any = OmegaConf.to_container(config)
    headed: set[str] = set()
    for key, value in flattened(raw).items():
        if key.endswith("_target_") and value != "???":
            continue
        parents = [key.rsplit(".", n)[0] for n in range(key.count("."), 0, -1)]
        for parent in parents:
            if parent not in headed and files.comments.get(parent):
                yield _line(f"{parent}:", files.comments[parent])
            headed.add(parent)
        yield _line(f"{key}={_resolved(config, key, value)}", files.comments.get(key, ""))


def _resolved(config: DictConfig, key: str, raw: Any) -> str:
    """Return a setting's value, as an interpolation where it means a whole section."""
    if isinstance(raw, list) and any(isinstance(item, dict) for item in raw):
        return f"({len(raw)} entries)"
    try:
        value = OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return shown(raw)
    section = isinstance(value, DictConfig) and value
    return shown(raw if section or raw == "???" else value)


def _line(setting: str, comment: str) -> str:
    return f"  {setting:<{_WIDTH}}  # {comment}" if comment else f"  {setting}"
