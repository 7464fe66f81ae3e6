"""Compare `policies.serve` and `policy=remote` with the packages whose protocols they speak.

`python -m tests.interop.check_serving --openpi PYTHON --vla-eval PYTHON` in this project's
environment with the extra `serve`. The interpreters are of two others, Python 3.12, with
`openpi-client==0.1.2` and `typing_extensions`, which it forgets to ask for, and with
`vla-eval==0.8.0`. Prints a line a check; ends with an error at the first that fails.
"""

import argparse
import subprocess
from pathlib import Path

from envs.rollout import run_episode
from experiment.settings import build, compose, plain
from policies.evaluation.protocol import Protocol, episodes
from policies.remote import RemotePolicy
from tests.envs.toy import ToyEnv
from tests.policies.serving.toys import served, target

HERE = Path(__file__).parent
CLIENTS, REQUESTS, LIMIT = 32, 20, 120


def ask(python: str, script: str, *arguments: int) -> None:
    """Run a script of clients; its prints are this one's."""
    command = [python, str(HERE / script), *map(str, arguments)]
    subprocess.run(command, check=True, timeout=LIMIT)


def be_asked(python: str) -> None:
    """Evaluate a server that packs with openpi's code in two episodes of the toy world."""
    command = [python, str(HERE / "openpi_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = f"ws://127.0.0.1:{int(process.stdout.readline())}"
            settings = plain(compose("eval", ["policy=remote", f"policy.url={url}"]))
            policy = build(settings["policy"], RemotePolicy)
            chosen = episodes(Protocol(), "toy", 2)
            records = [run_episode(ToyEnv(), policy, episode) for episode in chosen]
            policy.close()
        finally:
            process.kill()
    print(f"policy=remote: {len(records)} episodes, {sum(r.calls for r in records)} answers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--openpi", required=True, help="interpreter with openpi-client")
    parser.add_argument("--vla-eval", required=True, help="interpreter with vla-eval")
    given = parser.parse_args()
    with served(target("EchoPolicy", pause=0.001), idle=60) as server:
        print("openpi-client")
        ask(given.openpi, "ask_openpi.py", server.port, CLIENTS, REQUESTS)
        be_asked(given.openpi)
        print("vla-eval")
        ask(given.vla_eval, "ask_vla_eval.py", server.port, CLIENTS)
        print("the server's records:")
        print(*server.log[:2], "...", *server.log[-2:], sep="\n")


if __name__ == "__main__":
    main()
