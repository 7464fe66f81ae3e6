"""Run by `check_serving` with openpi-client's interpreter: `ask_openpi.py PORT CLIENTS REQUESTS`.

Every client must get its own answers (`EchoPolicy`: state, calls), and errors in a sentence.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy

PORT, CLIENTS, REQUESTS = map(int, sys.argv[1:])


def observation(number: float) -> dict[str, Any]:
    return {
        "observation/image": np.full((128, 160, 3), 7, np.uint8),
        "observation/state": np.full(10, number, np.float32),
        "prompt": "open top drawer",
    }


def connected() -> WebsocketClientPolicy:
    return WebsocketClientPolicy("127.0.0.1", PORT, api_key="ignored")


def work(number: int) -> int:
    policy = connected()
    start.wait(60)
    for call in range(1, REQUESTS + 1):
        answer = policy.infer(observation(number / 100))
        assert answer["actions"].shape == (2, 7)
        assert answer["actions"].dtype == np.float32
        assert np.allclose(answer["actions"][:, :2], [number / 100, call / 100])
        assert answer["server_timing"]["infer_ms"] >= 0
    return REQUESTS


start = threading.Barrier(CLIENTS)
with ThreadPoolExecutor(CLIENTS) as pool:
    answered = sum(pool.map(work, range(CLIENTS)))
print(f"{CLIENTS} clients at once: {answered} of {CLIENTS * REQUESTS} answers, all their own")

policy = connected()
accepted = policy.get_server_metadata()["accepts"]
policy.infer(observation(0.1))
policy.infer(observation(0.1))
again = policy.infer({**observation(0.1), "reset": True, "seed": 3})["actions"]
assert np.allclose(again[0, :3], [0.1, 0.01, 0.03])
print(f"reset and seed arrive; the metadata accepts {', '.join(accepted)}")

broker = ActionChunkBroker(connected(), action_horizon=2)
steps = [broker.infer(observation(0.2))["actions"] for _ in range(4)]
assert np.allclose([step[1] for step in steps], [0.01, 0.01, 0.02, 0.02])
print("openpi's chunk broker executes two actions an answer")

wrong = {
    "NaN": observation(np.nan),
    "float picture": observation(0) | {"observation/image": np.zeros((8, 8, 3))},
    "other robot": observation(0) | {"observation/state": np.zeros(14)},
    "other entries": {"pixels": np.zeros((8, 8, 3), np.uint8)},
}
for name, message in wrong.items():
    try:
        connected().infer(message)
    except RuntimeError as error:
        print(f"{name}: {str(error).splitlines()[-1]}")
    else:
        raise AssertionError(f"{name} was not refused")
