"""LeRobot data sets that lie elsewhere: the hub, other addresses, a network that fails."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from experiment.errors import UserError
from tests.data import make_lerobot as made
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.lerobot import LeRobotEpisodes

EPISODES = [made.episode(number, length) for number, length in enumerate(made.LENGTHS)]
ADDRESS = "hf://datasets/somebody/some-set"


class Hub(MemoryFileSystem):
    """Stands in for the hub; of every `works` and `fails` requests the last ones fail."""

    protocol = "hf"
    store: dict[str, Any] = {}  # noqa: RUF012 - as the base class has it
    pseudo_dirs = [""]  # noqa: RUF012
    works, fails, requests = 1, 0, 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.removeprefix("hf://"))

    @classmethod
    def request(cls) -> None:
        """Count a request, and fail where it is one that does."""
        cls.requests += 1
        if cls.requests % (cls.works + cls.fails) >= cls.works:
            raise ConnectionError("no route")

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        self.request()
        return super().info(path, **options)

    def cat_file(self, path: str, **options: Any) -> bytes:
        self.request()
        return super().cat_file(path, **options)

    def find(self, path: str, **options: Any) -> Any:
        self.request()
        return super().find(path, **options)


@pytest.fixture(params=tuple(made.FOLDERS))
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    """Return a hub with `somebody/some-set`, of each version, at its branch `main` and `v1`."""
    monkeypatch.setitem(_registry, "hf", Hub)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for name, value in (("store", {}), ("works", 1), ("fails", 0), ("requests", 0)):
        monkeypatch.setattr(Hub, name, value)
    root = made.FOLDERS[request.param]
    for path in root.rglob("*"):
        if path.is_file():
            for at in ("", "@v1"):
                place = f"datasets/somebody/some-set{at}/{path.relative_to(root).as_posix()}"
                Hub().pipe_file(place, path.read_bytes())
    return Hub


def assert_read(episodes: LeRobotEpisodes) -> None:
    made.assert_shows(episodes[2].images(made.WRIST, np.array([9, 0])), 1, 2, [9, 0])
    np.testing.assert_array_equal(episodes[1].array("action"), EPISODES[1].action)
    assert episodes[0].text("task") == list(EPISODES[0].instructions)


@pytest.mark.parametrize("version", made.FOLDERS)
def test_a_folder_may_be_given_as_an_address(version: str) -> None:
    assert_read(LeRobotEpisodes(made.FOLDERS[version].as_uri()))


def test_a_repository_is_read_where_it_lies(hub: type[Hub]) -> None:
    episodes = LeRobotEpisodes("somebody/some-set")
    assert episodes.source == ADDRESS
    assert_read(episodes)
    tagged = LeRobotEpisodes("somebody/some-set", revision="v1")
    assert tagged.source == f"{ADDRESS}@v1"
    assert_read(tagged)


def test_a_cache_is_enough_without_a_network(hub: type[Hub], tmp_path: Path) -> None:
    for source in ("somebody/some-set", ADDRESS):
        assert_read(LeRobotEpisodes(source, cache=str(tmp_path)))
    asked = hub.requests
    hub.works, hub.fails = 0, 1
    assert_read(LeRobotEpisodes("somebody/some-set", cache=str(tmp_path)))
    assert hub.requests == asked
    assert not list(tmp_path.rglob("*.partial"))


def test_a_request_that_fails_is_made_again(hub: type[Hub]) -> None:
    hub.works, hub.fails = 2, 2
    assert_read(LeRobotEpisodes("somebody/some-set"))


def test_a_folder_of_ours_that_is_not_there_is_not_asked_for(hub: type[Hub]) -> None:
    asked = hub.requests
    with pytest.raises(UserError, match="datasets/nothing is no LeRobot data set"):
        LeRobotEpisodes("datasets/nothing")
    assert hub.requests == asked


def test_a_network_that_is_down_is_no_damage(hub: type[Hub]) -> None:
    episodes = LeRobotEpisodes("somebody/some-set")
    hub.works, hub.fails = 0, 1
    with pytest.raises(UserError, match=r"some-set is no folder here, and as a .*no route"):
        LeRobotEpisodes("somebody/some-set")
    for read in (
        lambda: episodes[2].images(made.WRIST),
        lambda: episodes[1].array("action"),
        lambda: episodes[1].text("task"),
    ):
        with pytest.raises(UserError, match=f"{ADDRESS}/.*no route") as raised:
            read()
        assert not isinstance(raised.value, DamagedRecord)


def test_a_file_that_is_not_there_is_damage(hub: type[Hub], tmp_path: Path) -> None:
    for path in [path for path in hub.store if path.endswith((".mp4", "file-000.parquet"))]:
        if "/data/" in path or path.endswith(".mp4"):
            del hub.store[path]
    for cache in (None, str(tmp_path)):
        episodes = LeRobotEpisodes("somebody/some-set", cache=cache)
        with pytest.raises(DamagedRecord, match=r"episode 1: .* is missing"):
            episodes[1].images(made.HEAD)


def test_a_name_that_is_not_there_is_a_sentence(hub: type[Hub]) -> None:
    with pytest.raises(UserError, match=r"hf://datasets/some/other is no LeRobot data set"):
        LeRobotEpisodes("some/other")
    with pytest.raises(UserError, match=r"hf://datasets/some/other is no LeRobot data set"):
        LeRobotEpisodes("hf://datasets/some/other")
    with pytest.raises(UserError, match=r"foo://x.* cannot be opened"):
        LeRobotEpisodes("foo://x")
