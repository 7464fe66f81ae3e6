"""Run by `check_serving` with openpi-client's interpreter: a server that packs with its code.

It prints its port, then answers two small actions to every observation.
"""

import numpy as np
from openpi_client import msgpack_numpy
from websockets.sync.server import ServerConnection, serve


def answer(connection: ServerConnection) -> None:
    packer = msgpack_numpy.Packer()
    connection.send(packer.pack({"config": "somebody's"}))
    for frame in connection:
        observation = msgpack_numpy.unpackb(frame)
        assert set(observation) == {"observation/image", "observation/state", "prompt"}
        assert observation["observation/image"].dtype == np.uint8
        assert observation["observation/state"].shape == (10,)
        actions = np.full((2, 7), 0.01, np.float64)
        connection.send(
            packer.pack({"actions": actions, "policy_timing": {"infer_ms": np.float32(1)}})
        )


with serve(answer, "127.0.0.1", 0, compression=None, max_size=None) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
