"""Read damaged LeRobot data sets: `python -m tests.worldmodel.fuzz_lerobot --count 1000`.

Each case changes one file of a small data set - bytes of it, its length, or a value of its JSON -
and reads everything. Either a `UserError` says so, or the data have the shapes that the data set's
columns promise. Anything else ends the run with the case's number, which `--first` repeats.
"""

import argparse
import faulthandler
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from experiment.errors import UserError
from tests.data import make_lerobot as made
from worldmodel.data.formats.lerobot import LeRobotEpisodes

SECONDS = 60
"""A case that takes longer is a hang."""

_ODD_VALUES: tuple[Any, ...] = (
    None,
    -1,
    0,
    1e300,
    float("nan"),
    2**70,
    "",
    "x",
    [],
    {},
    [[]],
    True,
)


def fuzz(count: int, folder: Path, first: int = 0) -> Counter[str]:
    """Read `count` damaged data sets made in `folder`; return how often what came of it.

    `identical`: the data did not change; `changed`: other data of the right types and shapes, no
    step with another one's picture; `changed within H.264`: pictures are others because the coded
    pictures are, which nothing tells; `refused`: a `UserError`.
    """
    sets = {
        "v3.0": made.write_v3(folder / "v3.0"),
        "v2.1": made.write_v2(folder / "v2.1"),
        "png": made.write_v2(folder / "png", as_png=True),
    }
    whole = {name: _read(root) for name, root in sets.items()}
    found: Counter[str] = Counter()
    for case in range(first, first + count):
        generator = np.random.default_rng(case)
        name = list(sets)[case % len(sets)]
        root = folder / "case"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(sets[name], root)
        path = _damage(root, generator)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            coded = _only_coded(sets[name] / path.relative_to(root), path)
            outcome = _outcome(root, whole[name], coded)
        except Exception as error:
            error.add_note(f"in case {case}, {path.relative_to(root)} of {name}")
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
        found[f"{path.suffix.removeprefix('.')} {outcome}"] += 1
    return found


def _only_coded(original: Path, damaged: Path) -> bool:
    """Return whether only the coded pictures of a video were damaged, not how they are found."""
    before, after = original.read_bytes(), damaged.read_bytes()
    if original.suffix != ".mp4" or len(before) != len(after):
        return False
    first, last = before.index(b"mdat") + 4, before.index(b"moov") - 4
    return before[:first] == after[:first] and before[last:] == after[last:]


def _outcome(root: Path, whole: dict[str, Any], coded: bool) -> str:
    try:
        found = _read(root)
    except UserError as error:
        return "refused" if "\n" not in str(error) else "refused in several lines"
    if found.keys() == whole.keys() and all(np.array_equal(found[k], whole[k]) for k in found):
        return "identical"
    if coded:
        return "changed within H.264"
    for key, pictures in found.items():
        if "images" in key:
            _check_whose(key, pictures)
    return "changed"


def _check_whose(key: str, pictures: np.ndarray) -> None:
    """Raise `AssertionError` where a step has the picture of another step, camera or episode.

    Pictures that damage has made unlike any are let pass: nothing in H.264 would tell.
    """
    number, camera = key.split(" ")
    for step, found in enumerate(pictures):
        expected = (made.CAMERAS.index(camera), int(number), step)
        whose = made.whose(found)
        assert whose in (None, expected), f"{key}, step {step}: the picture of {whose}"


def _read(root: Path) -> dict[str, Any]:
    """Read all columns of all episodes, looking at types and shapes."""
    episodes = LeRobotEpisodes(str(root))
    found: dict[str, Any] = {}
    for number in range(len(episodes)):
        episode = episodes[number]
        length = len(episode)
        assert length == episodes.lengths[number] > 0
        for name, column in episodes.columns.items():
            key = f"{number} {name}"
            values: Any
            if column.kind == "array":
                values = episode.array(name)
                assert values.shape == (length, *column.shape), (values.shape, column)
                assert values.dtype == column.dtype, (values.dtype, column)
                assert np.isfinite(values).all()
            elif column.kind == "text":
                values = episode.text(name)
                assert len(values) == length
                assert all(isinstance(text, str) for text in values)
            else:
                values = episode.images(name)
                assert values.shape == (length, *column.shape), (values.shape, column)
                assert values.dtype == np.uint8
                step = np.array([length - 1])
                assert np.array_equal(episode.images(name, step), values[step])
            found[key] = values
    return found


def _damage(root: Path, generator: np.random.Generator) -> Path:
    """Change one file and return it."""
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    kinds = sorted({path.suffix for path in paths})
    kind = kinds[generator.integers(len(kinds))]
    paths = [path for path in paths if path.suffix == kind and "stats" not in path.name]
    path = paths[generator.integers(len(paths))]
    if kind == ".json" and generator.random() < 0.7:
        info = json.loads(path.read_text())
        _change_value(info, generator)
        path.write_text(json.dumps(info))
        return path
    data = bytearray(path.read_bytes())
    start = int(generator.integers(len(data)))
    # Half of the damage near the end, where parquet has its footer and mp4 its index.
    if generator.random() < 0.5:
        start = max(0, len(data) - 1 - int(generator.integers(min(len(data), 2500))))
    length = int(generator.integers(1, 40))
    noise = generator.integers(0, 256, length).astype(np.uint8).tobytes()
    match generator.integers(6):
        case 0:
            data[start] ^= 1 << int(generator.integers(8))
        case 1:
            data[start : start + length] = noise[: len(data[start : start + length])]
        case 2:
            del data[start:]
        case 3:
            del data[start : start + length]
        case 4:
            data[start:start] = noise
        case _:
            data[start : start + length] = bytes(len(data[start : start + length]))
    path.write_bytes(bytes(data))
    return path


def _change_value(record: Any, generator: np.random.Generator) -> None:
    """Replace, remove or scale a value somewhere in nested JSON."""
    keys = list(record) if isinstance(record, dict) else list(range(len(record)))
    if not keys:
        return
    key = keys[generator.integers(len(keys))]
    value = record[key]
    if isinstance(value, dict | list) and value and generator.random() < 0.8:
        _change_value(value, generator)
    elif generator.random() < 0.2:
        del record[key]
    elif isinstance(value, int | float) and generator.random() < 0.5:
        record[key] = value * int(generator.integers(-3, 1000))
    else:
        record[key] = _ODD_VALUES[generator.integers(len(_ODD_VALUES))]


def main() -> None:
    """Print how often what came of damaged data sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz(options.count, Path(folder), options.first)
    for outcome, times in sorted(found.items()):
        print(f"{times:7d}  {outcome}")


if __name__ == "__main__":
    main()
