"""A server and its clients, well-behaved and otherwise: nothing hangs, nothing is mixed up."""

import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

pytest.importorskip("websockets", reason="serving needs the extra 'serve'")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from experiment.errors import UserError
from policies.serve import run
from policies.serving.wire import decode, encode
from tests.policies.serving.toys import BATCHES, served, target

FRAME = np.zeros((8, 10, 3), np.uint8)


def observation(number: float = 0.0, **more: Any) -> dict[str, Any]:
    state = np.full(10, number, np.float32)
    entries = {"observation/image": FRAME, "observation/state": state, "prompt": "open"}
    return entries | more


@contextlib.contextmanager
def client(url: str) -> Iterator[ClientConnection]:
    with connect(url, compression=None, proxy=None) as connection:
        assert decode(connection.recv(10))["accepts"] == ["reset", "seed", "step"]
        yield connection


def ask(connection: ClientConnection, message: dict[str, Any]) -> np.ndarray:
    connection.send(encode(message, "openpi"))
    answer = connection.recv(15)
    assert isinstance(answer, bytes), answer
    actions: np.ndarray = decode(answer)["actions"]
    return actions


def refused(connection: ClientConnection, frame: bytes | str) -> str:
    """Return what the server says to a frame before it closes."""
    connection.send(frame)
    answer = connection.recv(15)
    assert isinstance(answer, str)
    with pytest.raises(ConnectionClosed):
        connection.recv(10)
    return answer


def framed(kind: str, seq: int = 0, **payload: Any) -> bytes:
    message = {"type": kind, "payload": payload, "seq": seq, "timestamp": 0.0}
    return encode(message, "vla-eval")


def test_a_connection_is_an_episode_and_reset_begins_another() -> None:
    with served(target("EchoPolicy")) as server:
        for _ in range(2):
            with client(server.url) as connection:
                calls = [ask(connection, observation(0.5))[0, 1] for _ in range(3)]
                again = ask(connection, observation(0.5, reset=True))
                seeded = ask(connection, observation(0.5, reset=True, seed=7))
                assert np.allclose(calls, [0.01, 0.02, 0.03])
                assert np.allclose(again[0, :3], [0.5, 0.01, 0.01])
                assert np.allclose(seeded[0, :3], [0.5, 0.01, 0.07])


def test_vla_eval_executes_a_chunk_action_by_action_and_its_episodes_reset() -> None:
    with served(target("EchoPolicy")) as server, client(server.url) as connection:
        connection.send(framed("hello", 1))
        given = []
        for episode in range(2):
            connection.send(framed("episode_start", 2))
            for seq in range(3):
                state = np.zeros(10, np.float32)
                images = {"primary": FRAME}
                connection.send(framed("observation", seq, images=images, states=state))
                answer = decode(connection.recv(10))
                assert (answer["type"], answer["seq"]) == ("action", seq)
                given.append(answer["payload"]["actions"])
            connection.send(framed("episode_end", 9))
            rows = np.array(given[3 * episode :])
            assert np.allclose(rows[:, 1], [0.01, 0.01, 0.02])
            assert np.allclose(rows[:, 3], [0, 0.5, 0])
        connection.send(framed("observation", 5, images={"a": FRAME, "b": FRAME}))
        answer = decode(connection.recv(10))
        assert (answer["type"], answer["seq"]) == ("error", 5)
        assert "cameras a, b" in answer["payload"]["error"]
        connection.send(framed("hello", 6))
        assert decode(connection.recv(10))["seq"] == 6


@pytest.mark.parametrize("policy", ["EchoPolicy", "batched"])
def test_32_clients_at_once_each_get_their_own_answers(policy: str) -> None:
    BATCHES.clear()
    start = threading.Barrier(32)

    def work(number: int) -> list[np.ndarray]:
        with client(server.url) as connection:
            start.wait(30)
            return [ask(connection, observation(number / 100)) for _ in range(10)]

    with (
        served(target(policy, pause=0.002)) as server,
        ThreadPoolExecutor(32) as pool,
    ):
        for number, answers in enumerate(pool.map(work, range(32))):
            assert len(answers) == 10
            assert all(np.allclose(a[:, 0], number / 100) for a in answers)
            if policy == "EchoPolicy":
                assert np.allclose([a[0, 1] for a in answers], np.arange(1, 11) / 100)
    if policy == "batched":
        assert sum(BATCHES) == 320
        assert len(BATCHES) < 160  # more than two a batch
    assert len(server.log) == 32
    assert all(line.endswith("left; 10 answers, 0 errors") for line in server.log)


def test_pictures_of_two_sizes_in_one_batch() -> None:
    with served(target("batched", pause=0.05)) as server, ThreadPoolExecutor(8) as pool:

        def work(number: int) -> np.ndarray:
            picture = np.full((8 + number % 2, 10, 3), number, np.uint8)
            with client(server.url) as connection:
                return ask(connection, observation(0.1) | {"observation/image": picture})

        for number, actions in enumerate(pool.map(work, range(8))):
            assert np.allclose(actions[:, 1], number / 1000, atol=1e-6)


def test_health_is_answered_while_the_policy_computes_and_fails_when_it_hangs() -> None:
    policy = target("EchoPolicy", pause=3.0)
    with served(policy, request=1.0) as server, client(server.url) as connection:
        page = f"http://127.0.0.1:{server.port}"
        connection.send(encode(observation(), "openpi"))
        time.sleep(0.1)
        started = time.perf_counter()
        for path, text in (("healthz", b"OK\n"), ("health", b'{"status": "ok"}')):
            with urllib.request.urlopen(f"{page}/{path}") as answer:
                assert answer.read() == text
        assert time.perf_counter() - started < 0.8
        assert connection.recv(5) == "policy 'echo' did not answer within 1 s."
        time.sleep(0.2)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{page}/healthz")


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("raise", "failed with KeyError"),
        ("exit", "failed with SystemExit"),
        ("nan", "returned NaN"),
    ],
)
def test_a_policy_that_fails_one_client_serves_the_others(how: str, sentence: str) -> None:
    policy = target("EchoPolicy", fails_at=0.5, how=how)
    with served(policy) as server, client(server.url) as good, client(server.url) as bad:
        assert ask(good, observation(0.25))[0, 1] == np.float32(0.01)
        assert sentence in refused(bad, encode(observation(0.5), "openpi"))
        assert ask(good, observation(0.25))[0, 1] == np.float32(0.02)


GARBAGE: dict[str, tuple[bytes | str, str]] = {
    "text": ("hello", "text frame"),
    "bytes": (b"\xc1\x00\xff", "not msgpack"),
    "no entries": (encode({"pixels": 1}, "openpi"), "neither 'observation/image' nor"),
    "nan": (encode(observation(np.nan), "openpi"), "NaN or infinity"),
    "float picture": (
        encode(observation() | {"observation/image": FRAME.astype(np.float32)}, "openpi"),
        "uint8 .h, w, 3",
    ),
    "short state": (
        encode(observation() | {"observation/state": np.zeros(3)}, "openpi"),
        "must be 10 numbers; it is float64",
    ),
    "object": (
        encode(observation(), "openpi").replace(b"<f4", b"|O8"),
        "has dtype '|O8'",
    ),
    "reset": (encode(observation(reset=3), "openpi"), "'reset'"),
    "seed": (encode(observation(seed=-1), "openpi"), "'seed'"),
    "prompt": (encode(observation(prompt=3), "openpi"), "'prompt' must be a text"),
}


def test_garbage_is_refused_in_a_sentence_and_others_are_not_disturbed() -> None:
    with served(target("EchoPolicy")) as server, client(server.url) as good:
        for number, (name, (frame, sentence)) in enumerate(GARBAGE.items(), start=1):
            with client(server.url) as bad:
                assert sentence.replace(".h", "(h") in refused(bad, frame), name
            assert np.isclose(ask(good, observation(0.25))[0, 1], number / 100)
        assert "Traceback" not in "".join(server.log)


def test_a_frame_that_is_too_large_ends_its_connection() -> None:
    with served(target("EchoPolicy"), megabytes=1) as server:
        with client(server.url) as bad:
            with contextlib.suppress(ConnectionClosed):  # before all of it is sent, or after
                bad.send(bytes(3 * 2**20))
            with pytest.raises(ConnectionClosed, match="1009"):
                bad.recv(10)
        with client(server.url) as good:
            ask(good, observation())


def test_clients_that_die_or_idle_leave_nothing_behind() -> None:
    with served(target("EchoPolicy", pause=0.2), idle=1.0) as server:
        with client(server.url) as dying:
            dying.send(encode(observation(), "openpi"))
            dying.socket.shutdown(socket.SHUT_RDWR)
        half = socket.create_connection(("127.0.0.1", server.port))
        half.sendall(b"GET / HTTP/1.1\r\n")
        noise = socket.create_connection(("127.0.0.1", server.port))
        noise.sendall(b"\x16\x03\x01 not http at all\r\n\r\n")
        with client(server.url) as silent:
            with client(server.url) as good:
                for _ in range(4):
                    ask(good, observation())
            with pytest.raises(ConnectionClosed, match="idle for too long"):
                silent.recv(10)
        deadline = time.monotonic() + 5
        while len(server.log) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sorted(line.split(") ")[1].split(";")[0] for line in server.log) == [
            "died",
            "left",
            "was idle for 1 s",
        ]
        half.close()
        noise.close()


def test_a_full_server_says_so_and_a_browser_is_turned_away() -> None:
    with served(target("EchoPolicy"), clients=1) as server:
        page = Origin("http://example.org")
        with pytest.raises(InvalidStatus, match="403"), connect(server.url, origin=page):
            pass
        with client(server.url), connect(server.url, proxy=None) as second:
            assert second.recv(5) == "the server has its 1 clients."


def test_a_policy_that_hangs_delays_nobody_beyond_the_limit() -> None:
    policy = target("EchoPolicy", fails_at=0.5, how="hang")
    with (
        served(policy, request=0.5) as server,
        client(server.url) as bad,
        client(server.url) as waiting,
    ):
        for connection, number in ((bad, 0.5), (waiting, 0.1)):
            answer = refused(connection, encode(observation(number), "openpi"))
            assert answer == "policy 'echo' did not answer within 0.5 s."


def test_the_command_names_what_is_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for setting, sentence in (
            (f"port={port}", f"port={port} is in use on 127.0.0.1"),
            ("port=70000", "port=70000 must lie between"),
            ("host=not-a-host.invalid", "host=not-a-host.invalid port=8000 cannot be served at"),
            ("limits.clients=0", "limits.clients=0 must be more than 0"),
            ("limits.request=soon", "limits.request=soon must be a number"),
            ("checkpoint=runs/none", "checkpoint=runs/none means nothing"),
            ("keys.picture=rgb", "unknown setting 'keys.picture'"),
        ):
            with pytest.raises(UserError, match=sentence):
                run("policy=random", setting)
