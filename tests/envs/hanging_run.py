"""A run whose episodes never end; prints the process ids of its workers."""

import multiprocessing
import threading

from envs.episode import Episode
from envs.workers import Workers
from experiment.errors import exit_on_user_error


@exit_on_user_error
def main() -> None:
    """Entry point."""
    policy = {"_target_": "tests.envs.toy.BrokenPolicy", "how": "hang"}
    episodes = [Episode(task="toy", index=index, seed=index) for index in range(2)]

    def report() -> None:
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)

    with Workers({"_target_": "tests.envs.toy.ToyEnv"}, policy, count=2) as workers:
        threading.Timer(4.0, report).start()
        list(workers.run(episodes))


if __name__ == "__main__":
    main()
