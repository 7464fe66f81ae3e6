"""Playing in the dream: the session, the recording, the server and its page."""

import contextlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiment.address import Address
from experiment.errors import UserError
from policies.checkpoint import load_policy
from policies.play import main
from policies.playing.server import PlayServer
from policies.playing.session import Session
from tests.envs.toy import LIMIT, ToyEnv, ToyPolicy
from tests.policies import pages
from worldmodel.device import CPU
from worldmodel.imagination.dream import load_dreamer
from worldmodel.sampler import Sampling

FORWARD = np.array([0.1, 0, 0, 0, 0, 0, 0], np.float32)


@pytest.fixture
def session(checkpoint: Path) -> Session:
    dreamer = load_dreamer(checkpoint, Sampling(steps=2), CPU)
    return Session(ToyEnv(), dreamer, load_policy(str(checkpoint)), seed=3)


def test_the_dream_begins_at_the_simulators_picture(session: Session) -> None:
    view = session.view()
    assert view.step == 0
    assert view.difference < 1e-3
    assert view.dreamed.shape == (32, 32, 3)
    assert view.real.shape == (32, 40, 3)


def test_a_turn_holds_an_action_until_the_next_frame(session: Session) -> None:
    assert session.turn_steps == 3
    before = session._seen.state[0]
    view = session.act(FORWARD)
    assert view.step == 3
    assert session._seen.state[0] - before == pytest.approx(0.3, abs=1e-5)
    assert view.action == [pytest.approx(0.1), 0, 0, 0, 0, 0, 0]
    assert view.model_ms > 0
    assert view.simulator_ms > 0


def test_the_simulator_is_drawn_as_finely_as_the_policy_sees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def built(environment: dict[str, Any]) -> None:
        asked.append(environment["resolution"])
        raise InterruptedError

    monkeypatch.setattr("policies.play.build", built)
    for settings in ([], ["resolution=[64,48]"]):
        with pytest.raises(InterruptedError):
            main.run("task=stack_cube", *settings)
    assert asked == [[320, 256], [64, 48]]


@pytest.fixture
def given(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The clips that the model is given from now on."""
    clips: list[Any] = []
    kind = type(session._dreamer)
    dreams = kind.__call__

    def spy(self: Any, first: Any, *rest: Any, **more: Any) -> Any:
        clips.append(first)
        return dreams(self, first, *rest, **more)

    monkeypatch.setattr(kind, "__call__", spy)
    return clips


def test_the_dream_goes_on_from_its_own_picture_until_it_is_anchored(
    session: Session, given: list[Any]
) -> None:
    own = session.act(FORWARD).dreamed
    assert session.act(FORWARD).difference > 1
    np.testing.assert_array_equal(given[1].frame[0], own)
    # The robot's state is known where the dream began, and no later.
    assert [clips.state.shape[1] for clips in given] == [10, 0]
    assert [None if clips.grip is None else clips.grip.shape for clips in given] == [(1, 1), None]
    assert session.anchor().difference < 1e-3
    session.act(FORWARD)
    np.testing.assert_allclose(given[2].state[0, 0], given[0].state[0, 0] + 0.6, atol=1e-5)


def test_the_same_seed_and_actions_dream_the_same(session: Session) -> None:
    def played() -> list[np.ndarray]:
        session.reset(5)
        return [session.act(action).dreamed for action in (FORWARD, None, -FORWARD)]

    one, other = played(), played()
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_model_is_told_the_actions_of_the_turn(session: Session, given: list[Any]) -> None:
    session.act(FORWARD)
    session.act(-FORWARD)
    assert given[0].action.shape == (1, 6, 7)
    assert given[0].action[0, :, 0].tolist() == pytest.approx([0.1] * 6)
    assert given[1].action[0, :, 0].tolist() == pytest.approx([-0.1] * 6)


def test_an_episode_ends_and_can_be_begun_anew(session: Session) -> None:
    while not session.view().over:
        session.act(None)
    assert session.view().step == LIMIT
    with pytest.raises(UserError, match="reset it"):
        session.act(FORWARD)
    assert session.reset(1).step == 0
    with pytest.raises(UserError, match="NaN"):
        session.act(np.full(7, np.nan))


def test_a_model_without_actions_is_refused(checkpoint: Path) -> None:
    dreamer = load_dreamer(checkpoint, Sampling(steps=2), CPU)
    del dreamer.model.modalities["action"]
    with pytest.raises(UserError, match="cannot be driven"):
        Session(ToyEnv(), dreamer, ToyPolicy(), 0)


@contextlib.contextmanager
def served(session: Session, out: Path) -> Iterator[str]:
    server = PlayServer(session, {"task": "toy"}, out)
    up, address = threading.Event(), []

    def ready(port: int) -> None:
        address.append(f"http://127.0.0.1:{port}")
        up.set()

    thread = threading.Thread(target=server.run, args=(Address("127.0.0.1", 0), ready))
    thread.start()
    assert up.wait(10)
    try:
        yield address[0]
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


def ask(url: str, body: bytes = b"{}", header: str = "X-Play") -> tuple[int, Any]:
    request = urllib.request.Request(url, body, {header: "1"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_the_page_plays_records_and_resets(session: Session, tmp_path: Path) -> None:
    with served(session, tmp_path) as url:
        page = urllib.request.urlopen(url, timeout=10).read().decode()
        assert "Play in the dream" in page
        assert "http://" not in page
        assert ask(f"{url}/record", b'{"on": true}') == (
            200, {"recording": True, "written": None},
        )  # fmt: skip
        status, view = ask(f"{url}/act", b'{"action": [0.1, 0, 0, 0, 0, 0, 0]}')
        assert status == 200
        assert view["step"] == 3
        assert view["recording"] is True
        assert view["dreamed"].startswith("data:image/png;base64,")
        assert ask(f"{url}/act")[1]["step"] == 6
        _, answer = ask(f"{url}/record", b'{"on": false}')
        assert ask(f"{url}/view")[1]["recording"] is False
        written = Path(answer["written"])
        assert written.stat().st_size > 500
        kept = json.loads(written.with_suffix(".json").read_text())
        assert [turn["step"] for turn in kept["turns"]] == [0, 3, 6]
        assert kept["seed"] == 3
        assert ask(f"{url}/reset", b'{"seed": 9}')[1]["step"] == 0
        # A recording that is on when the server ends is written.
        ask(f"{url}/record", b'{"on": true}')
    assert (tmp_path / "play_0002.mp4").is_file()


def test_a_recording_that_cannot_be_written_is_said_and_the_game_goes_on(
    session: Session, tmp_path: Path
) -> None:
    (tmp_path / "taken").touch()
    with served(session, tmp_path / "taken") as url:
        ask(f"{url}/record", b'{"on": true}')
        status, answer = ask(f"{url}/record", b'{"on": false}')
        assert status == 400
        assert "could not be written" in answer["error"]
        assert ask(f"{url}/record", b'{"on": false}') == (
            200,
            {"recording": False, "written": None},
        )
    assert session.watchers == []


def test_what_is_no_request_of_the_page_gets_one_sentence(session: Session, tmp_path: Path) -> None:
    with served(session, tmp_path) as url:
        for wrong, body, header, sentence in (
            ("act", b"{}", "X-Other", "not a request of the page"),
            ("act", b"[1]", "X-Play", "not a request of the page"),
            ("act", b"{", "X-Play", "not a request of the page"),
            ("act", b" " * 20_000, "X-Play", "not a request of the page"),
            ("exit", b"{}", "X-Play", "not a request of the page"),
            ("act", b'{"action": [1, 2]}', "X-Play", "shape (1, 2)"),
            ("act", b'{"action": ["a"]}', "X-Play", "a list of seven numbers"),
            ("act", b'{"action": {"x": 1}}', "X-Play", "a list of seven numbers"),
            ("reset", b'{"seed": -1}', "X-Play", "seed=-1 must be"),
            ("reset", b'{"seed": "x"}', "X-Play", "seed='x' must be"),
        ):
            status, answer = ask(f"{url}/{wrong}", body, header)
            assert status == 400
            assert sentence in answer["error"]
        assert ask(f"{url}/view")[0] == 200
        assert not any(tmp_path.iterdir())
        port = int(url.rpartition(":")[2])
        with pytest.raises(UserError, match=f"port={port}"):
            PlayServer(session, {}, tmp_path).run(Address("127.0.0.1", port), lambda _: None)


def test_settings_that_cannot_be_are_refused(toy_run: Path) -> None:
    with pytest.raises(UserError, match="port=70000"):
        main.run("port=70000")
    with pytest.raises(UserError, match="robot widowx"):
        main.run("checkpoint=policies/checkpoints/widowx")
    if '"kind": "regression"' in (toy_run / "checkpoint/config.json").read_text():
        with pytest.raises(UserError, match="no world model"):
            main.run(f"checkpoint={toy_run}")


@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_plays(session: Session, tmp_path: Path, width: int) -> None:
    with served(session, tmp_path) as url, pages.browser(width) as (tab, errors):
        tab.goto(url)
        tab.wait_for_function("document.getElementById('real').src.length > 100")
        first = tab.evaluate("document.getElementById('dreamed').src")
        tab.click("#wait")
        tab.wait_for_function("document.getElementById('figures').textContent.includes('step 3')")
        assert tab.evaluate("document.getElementById('dreamed').src") != first
        tab.keyboard.press("ArrowUp")
        tab.wait_for_function("document.getElementById('figures').textContent.includes('step 6')")
        tab.keyboard.down("ArrowUp")
        tab.wait_for_function("!document.getElementById('figures').textContent.includes('step 6;')")
        tab.keyboard.up("ArrowUp")
        tab.click("#policy")
        tab.wait_for_function("document.getElementById('figures').textContent.includes('over')")
        tab.click("#reset")
        tab.wait_for_function("document.getElementById('figures').textContent.includes('step 0')")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert errors == []
