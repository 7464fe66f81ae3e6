"""Damage RLDS data sets at random and count what the reader makes of it.

    python -m tests.worldmodel.fuzz_rlds --count 10000 --seed 0

Whatever is damaged, the reader must say so in a sentence or return the values that were written.
Where the damage comes with checksums that agree, or is in the JSON files, other values may come
back; anything else - another exception, a read that does not end, a wrong value - is a failure.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from experiment.errors import UserError
from tests.worldmodel import rlds_records as made
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.rlds import RldsEpisode, RldsEpisodes
from worldmodel.data.formats.storage import Storage

SETS = ("kinds", "bridge_dataset")
LIMIT_S = 20
Values = dict[str, list[Any]]
Damage = Callable[[Path, np.random.Generator], None]


def flip(content: bytes, random: np.random.Generator) -> bytes:
    """Return `content` with up to eight bits changed."""
    changed = bytearray(content)
    for place in random.integers(0, len(changed), random.integers(1, 9)):
        changed[place] ^= 1 << int(random.integers(8))
    return bytes(changed)


def cut(content: bytes, random: np.random.Generator) -> bytes:
    """Return the beginning of `content`."""
    return content[: int(random.integers(0, len(content)))]


def smear(content: bytes, random: np.random.Generator) -> bytes:
    """Return `content` with one stretch written over another, or put in or taken out."""
    first, second = (int(n) for n in random.integers(0, len(content), 2))
    length = int(random.integers(1, 64))
    rest = second + int(random.choice([0, length]))
    stretch = content[first : first + length] * int(random.integers(0, 2))
    return content[:second] + stretch + content[rest:]


CHANGES = (flip, cut, smear)


def any_change(content: bytes, random: np.random.Generator) -> bytes:
    """Return `content` with one of the changes."""
    return CHANGES[int(random.integers(len(CHANGES)))](content, random)


def _pick(root: Path, random: np.random.Generator) -> Path:
    found = made.shards(root)
    return found[int(random.integers(len(found)))]


def shard(root: Path, random: np.random.Generator) -> None:
    """Damage a TFRecord file."""
    path = _pick(root, random)
    path.write_bytes(any_change(path.read_bytes(), random))


def gone(root: Path, random: np.random.Generator) -> None:
    """Remove a file."""
    files = sorted(root.iterdir())
    files[int(random.integers(len(files)))].unlink()


def record(root: Path, random: np.random.Generator) -> None:
    """Damage the data of one record and give it checksums that agree."""
    path = _pick(root, random)
    data = made.records(path)
    number = int(random.integers(len(data)))
    data[number] = any_change(data[number], random)
    path.write_bytes(b"".join(map(made.frame, data)))


def schema(root: Path, random: np.random.Generator) -> None:
    """Damage features.json."""
    _json(root / "features.json", random)


def manifest(root: Path, random: np.random.Generator) -> None:
    """Damage dataset_info.json."""
    _json(root / "dataset_info.json", random)


def _json(path: Path, random: np.random.Generator) -> None:
    if random.integers(2):
        path.write_bytes(any_change(path.read_bytes(), random))
        return
    tree = json.loads(path.read_text())
    places = list(_places(tree))
    inside, key = places[int(random.integers(len(places)))]
    odd: Any = (None, [], {}, "", "x", -3, 10**30, 1.5, True, "float32", "zlib", ["7"], {"a": 1})
    inside[key] = odd[int(random.integers(len(odd)))]
    path.write_text(json.dumps(tree))


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    keys = tree.keys() if isinstance(tree, dict) else range(len(tree))
    for key in list(keys) if isinstance(tree, dict | list) else []:
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


# By name; whether values other than those written may come back.
DAMAGES: dict[str, tuple[Damage, bool]] = {
    "shard": (shard, False),
    "gone": (gone, False),
    "record": (record, True),
    "schema": (schema, True),
    "manifest": (manifest, True),
}


def read(episode: RldsEpisode, columns: Any) -> Values:
    """Return every column of an episode, by the methods that others call."""
    found: Values = {}
    for name, column in columns.items():
        if column.kind == "image" and None in column.shape:
            steps = range(len(episode))
            found[name] = [episode.images(name, np.array([step]))[0] for step in steps]
        else:
            method: dict[str, Callable[[str], Iterable[Any]]]
            method = {"image": episode.images, "array": episode.array, "text": episode.text}
            found[name] = list(method[column.kind](name))
        assert len(found[name]) == len(episode)
    return found


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal, type and shape too."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, str) or isinstance(b, str):
        return type(a) is type(b) and bool(a == b)
    x, y = np.asarray(a), np.asarray(b)
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise `TimeoutError` where the block takes longer."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(root: Path, whole: list[Values], random: np.random.Generator, damage: str) -> str:
    """Damage the data set in `root`, read it, and return what came of it, in words."""
    change, may_differ = DAMAGES[damage]
    late = damage in ("gone", "shard") and bool(random.integers(2))
    keep = bool(random.integers(2))
    found = "as written"
    if not late:
        change(root, random)
    try:
        episodes = RldsEpisodes.open(Storage(str(root)), on_damage="keep" if keep else "stop")
        if late:  # an index was made, then a shard changes
            change(root, random)
        for number in range(len(episodes)):
            try:
                values = read(episodes[number], episodes.columns)
            except DamagedRecord as error:
                if "record" not in str(error):
                    raise AssertionError("a sentence names no record") from error
                found = "a damaged record"
                continue
            if number >= len(whole) or not same(values, whole[number]):
                assert may_differ, f"episode {number} came back changed"
                found = "other values, checksums agreeing" if found == "as written" else found
        if not keep and not late and damage == "gone" and found != "as written":
            raise AssertionError("a missing file was taken for damage")
    except DamagedRecord:
        return "stopped at a damaged record"
    except UserError:
        return "stopped by a sentence"
    return found


def fuzz(count: int, seed: int, folder: Path) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Return how often each damage had each outcome, and what failed."""
    outcomes: Counter[tuple[str, str]] = Counter()
    failures: list[str] = []
    wholes = {}
    for name in SETS:
        root = made.copy(name, folder / "whole")
        episodes = RldsEpisodes.open(Storage(str(root)))
        wholes[name] = [read(episodes[n], episodes.columns) for n in range(len(episodes))]
    for case in range(count):
        random = np.random.default_rng((seed, case))
        # The first set has every kind of feature and is the quicker to read.
        name = SETS[0] if case % 4 else SETS[1]
        damage = tuple(DAMAGES)[int(random.integers(len(DAMAGES)))]
        root = made.copy(name, folder / "damaged")
        try:
            with limited(LIMIT_S):
                outcomes[damage, outcome(root, wholes[name], random, damage)] += 1
        except (Exception, MemoryError) as error:
            outcomes[damage, "FAILED"] += 1
            failures.append(f"case {case} ({name}, {damage}): {type(error).__name__}: {error}")
        shutil.rmtree(folder / "damaged")
    return outcomes, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes, failures = fuzz(options.count, options.seed, Path(folder))
    for (damage, found), times in sorted(outcomes.items()):
        print(f"{damage:10} {found:34} {times:7}")
    print("\n".join(failures[:20]))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
