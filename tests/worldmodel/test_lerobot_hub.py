"""LeRobot data sets that lie elsewhere: the hub, other addresses, a network that fails."""

import io
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from tests.data import make_lerobot as made
from worldmodel.data.episodes import DamagedRecord
from worldmodel.data.lerobot import LeRobotEpisodes, hub
from worldmodel.errors import UserError

EPISODES = [made.episode(number, length) for number, length in enumerate(made.LENGTHS)]


@pytest.fixture(params=tuple(made.FOLDERS))
def root(request: pytest.FixtureRequest) -> Path:
    """Return the committed data set of each version."""
    return made.FOLDERS[request.param]


def test_an_address_is_read_where_it_lies_or_through_a_cache(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for kept in (None, str(cache), str(cache)):
        episodes = LeRobotEpisodes(root.as_uri(), cache=kept)
        made.assert_shows(episodes[2].images(made.WRIST, np.array([9, 0])), 1, 2, [9, 0])
        np.testing.assert_array_equal(episodes[1].array("action"), EPISODES[1].action)
    assert not list(cache.rglob("*.partial"))


def test_a_repository_of_the_hub_is_its_address(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def url_to_fs(address: str) -> tuple[object, str]:
        asked.append(address)
        return fsspec.filesystem("file"), str(root)

    monkeypatch.setattr(fsspec.core, "url_to_fs", url_to_fs)
    episodes = LeRobotEpisodes("somebody/some-set", revision="v1")
    assert asked == ["hf://datasets/somebody/some-set@v1"]
    assert episodes[0].text("task") == list(EPISODES[0].instructions)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConnectionError("no route"), r"somebody/some-set is no folder here.*no route.*network"),
        (ImportError("install huggingface_hub"), r"pip install 'self-flow-robotics\[remote\]'"),
    ],
)
def test_a_hub_that_is_not_there_is_a_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def url_to_fs(address: str) -> None:
        raise error

    monkeypatch.setattr(fsspec.core, "url_to_fs", url_to_fs)
    with pytest.raises(UserError, match=sentence):
        LeRobotEpisodes("somebody/some-set")


class Flaky(LocalFileSystem):
    """Files whose every `often`-th read fails."""

    cachable = False
    often = 2

    def open(self, path: str, *_: object, **__: object) -> io.BufferedReader:
        reads = iter(range(1, 10**9))

        class Reader(io.BufferedReader):
            def read(self, size: int | None = -1) -> bytes:
                if next(reads) % Flaky.often == 0:
                    raise RuntimeError("connection reset")
                return super().read(size)

        return Reader(io.FileIO(path))


def test_a_read_that_fails_is_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_WAITS", (0.0, 0.0))
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda _: (Flaky(), str(root)))
    episodes = LeRobotEpisodes("flaky://set")
    np.testing.assert_array_equal(episodes[1].array("action"), EPISODES[1].action)
    made.assert_shows(episodes[1].images(made.HEAD, np.array([7, 3])), 0, 1, [7, 3])
    # Down for good: no damage that could be skipped.
    monkeypatch.setattr(Flaky, "often", 1)
    for read in (lambda: episodes[2].images(made.WRIST), lambda: LeRobotEpisodes("flaky://set")):
        with pytest.raises(
            UserError, match=r"flaky://set.* cannot be reached \(connection reset"
        ) as e:
            read()
        assert not isinstance(e.value, DamagedRecord)


def test_a_cache_is_enough_without_a_network(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = str(tmp_path / "cache")
    LeRobotEpisodes(root.as_uri(), cache=cache)[1].images(made.HEAD)
    system = Flaky()
    monkeypatch.setattr(system, "glob", lambda _: 1 / 0)
    monkeypatch.setattr(system, "exists", lambda _: 1 / 0)
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda _: (system, str(root)))
    episodes = LeRobotEpisodes(root.as_uri(), cache=cache)
    made.assert_shows(episodes[1].images(made.HEAD, np.array([7])), 0, 1, [7])
