"""policy=remote: the same episodes as without the network, and a sentence for each bad server."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("websockets", reason="policy=remote needs the extra 'serve'")

from websockets.sync.server import ServerConnection, serve

from envs.episode import EpisodeRecord
from envs.rollout import run_episode
from experiment.errors import UserError
from experiment.settings import build, compose, plain
from policies.contract import Observation
from policies.evaluation.protocol import Protocol, episodes
from policies.remote import RemotePolicy
from policies.serving.wire import encode
from tests.envs.toy import ToyEnv
from tests.policies.serving.toys import EchoPolicy, batched, served, target

SEEN = Observation(np.zeros((8, 10, 3), np.uint8), np.zeros(10, np.float32), "open", 0, {})
ACTIONS = np.zeros((2, 7), np.float32)


def remote(url: str, *overrides: str) -> RemotePolicy:
    settings = ["policy=remote", f"policy.url={url}", *overrides]
    return build(plain(compose("eval", settings))["policy"], RemotePolicy)


def outcome(record: EpisodeRecord) -> dict[str, Any]:
    return asdict(replace(record, policy="", seconds=0, policy_seconds=0))


def test_episodes_are_those_of_the_policy_itself() -> None:
    chosen = episodes(Protocol(), "toy", 3)
    for name, policy in (("EchoPolicy", EchoPolicy()), ("batched", batched())):
        local = [run_episode(ToyEnv(), policy, episode) for episode in chosen]
        with served(target(name)) as server:
            far = remote(server.url)
            there = [run_episode(ToyEnv(), far, episode) for episode in chosen]
            far.close()
        assert [*map(outcome, there)] == [*map(outcome, local)]
    assert len(server.log) == 3  # an episode is a connection


def test_the_first_actions_of_an_answer_are_executed_and_the_seed_arrives() -> None:
    with served(target("EchoPolicy")) as server:
        policy = remote(server.url, "policy.execute=1")
        policy.reset("open", 5)
        assert np.allclose(policy.act(SEEN), [[0, 0.01, 0.05, 0, 0, 0, 0]])
        policy.close()


Handler = Callable[[ServerConnection], None]


@contextlib.contextmanager
def bad_server(handler: Handler) -> Iterator[str]:
    with serve(handler, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()


def answering(answer: bytes | str, metadata: bytes | str | None = None) -> Handler:
    def handler(connection: ServerConnection) -> None:
        connection.send(encode({}, "openpi") if metadata is None else metadata)
        connection.recv()
        connection.send(answer)
        with contextlib.suppress(Exception):
            connection.recv(5)

    return handler


def actions(value: Any) -> Handler:
    return answering(encode({"actions": value}, "openpi"))


def late(connection: ServerConnection) -> None:
    connection.send(encode({}, "openpi"))
    with contextlib.suppress(Exception):
        connection.recv()
        connection.recv(5)


def leaving(connection: ServerConnection) -> None:
    connection.send(encode({}, "openpi"))
    connection.recv()


def silent(connection: ServerConnection) -> None:
    with contextlib.suppress(Exception):
        connection.recv(5)


def ask_once(url: str, *overrides: str) -> None:
    policy = remote(url, *overrides)
    try:
        policy.reset("open", 0)
        policy.act(SEEN)
    finally:
        policy.close()


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (late, r"did not answer within 0.5 s\.$"),
        (silent, r"did not send its metadata within 0.5 s\.$"),
        (leaving, "ended the connection"),
        (answering(b"", metadata="welcome"), "refused: welcome"),
        (answering(b"", metadata=b"\xc1"), "speaks another protocol"),
        (answering("Traceback\n  File\nKeyError: 'image'"), "refused: KeyError: 'image'"),
        (answering(b"\xc1\xc1"), "speaks another protocol: the frame is not msgpack"),
        (answering(encode({"action": ACTIONS}, "openpi")), r"without 'actions' \(it has action\)"),
        (actions(ACTIONS[:, :6]), r"shape \(2, 6\), not \(k, 7\)"),
        (actions(ACTIONS[:0]), r"shape \(0, 7\)"),
        (actions(ACTIONS[0]), r"shape \(7,\)"),
        (actions(ACTIONS * np.nan), "NaN or infinity"),
        (actions([[1], [2, 3]]), "no numbers"),
        (actions(None), "answered actions of shape"),
        (actions("left"), "no numbers"),
        (actions(np.zeros((1001, 7), np.float32)), "1001 actions, more than 1000"),
        (actions(np.zeros((2**18, 7))), "sent a frame of more than 1 MB"),
    ],
)
def test_a_bad_server_is_named(handler: Handler, sentence: str) -> None:
    with bad_server(handler) as url:
        started = time.perf_counter()
        limits = ["policy.request_limit=0.5", "policy.connect_limit=0.5", "policy.megabytes=1"]
        with pytest.raises(UserError, match=sentence) as caught:
            ask_once(url, *limits)
        assert url in str(caught.value)
        assert "\n" not in str(caught.value)
        assert time.perf_counter() - started < 4


def test_what_is_no_websocket_server_is_named() -> None:
    def answer(listener: socket.socket, text: bytes) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.recv(1000)
                connection.sendall(text)
                connection.close()

    for text, sentence in (
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "speaks another protocol"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "speaks another protocol"),
    ):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=answer, args=(listener, text), daemon=True).start()
            with pytest.raises(UserError, match=sentence):
                remote(f"ws://127.0.0.1:{listener.getsockname()[1]}")
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and says nothing
        with pytest.raises(UserError, match=r"did not answer within 0.5 s"):
            remote(f"ws://127.0.0.1:{listener.getsockname()[1]}", "policy.connect_limit=0.5")
        port = listener.getsockname()[1]
    with pytest.raises(UserError, match=r"there is no server at policy.url=ws.*start it, or check"):
        remote(f"ws://127.0.0.1:{port}")
    for url in ("127.0.0.1:8000", "ws://", "ws://127.0.0.1:99999"):
        with pytest.raises(UserError, match=r"policy\.url=" + url):
            remote(url)
    for setting in ("policy.execute=0", "policy.megabytes=0", "policy.request_limit=-1"):
        with pytest.raises(UserError, match=setting):
            remote("ws://127.0.0.1:1", setting)
    with pytest.raises(UserError, match=r"policy\.url is not set"):
        compose("eval", ["policy=remote"])


def test_a_server_that_goes_away_ends_the_evaluation_with_a_sentence() -> None:
    with served(target("EchoPolicy")) as server:
        policy = remote(server.url)
        policy.reset("open", 0)
        policy.act(SEEN)
    with pytest.raises(UserError, match="ended the connection"):
        policy.act(SEEN)
    with pytest.raises(UserError, match="there is no server"):
        policy.reset("open", 1)
