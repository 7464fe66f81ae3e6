"""Entry point: play in the dream, the world model's picture beside the simulator's.

    python -m policies.play                                       the shipped policy and world model
    python -m policies.play task=move_near checkpoint=runs/finetune world=runs/world port=8010

Opens a page at http://127.0.0.1:8010: keys or buttons move the gripper, or the policy drives.
Ctrl-C ends it. See docs/playing.md.
"""

from pathlib import Path

from omegaconf import DictConfig

from experiment.address import Address
from experiment.command import command
from experiment.errors import UserError
from experiment.settings import build, plain
from policies.checkpoint import (
    check_robot,
    fitting_camera,
    load_policy,
    shipped,
    shipped_world,
)
from policies.playing.server import PlayServer
from policies.playing.session import Session
from worldmodel.device import Compute
from worldmodel.imagination.dream import load_dreamer
from worldmodel.sampler import Sampling
from worldmodel.training.checkpoint import checkpoint_folder, read_config, run_name


@command("play", __doc__)
def main(config: DictConfig) -> None:
    address = Address(str(config.host), int(config.port))
    task = str(config.task.name)
    folder = shipped(task) if config.checkpoint is None else checkpoint_folder(config.checkpoint)
    if config.world is not None:
        world = checkpoint_folder(config.world, "world")
    else:
        world = shipped_world(folder) if config.checkpoint is None else folder
    if read_config(world).get("kind") != "video_action":
        raise UserError(f"{world} has no world model that actions drive: give another as world=.")
    for each in (folder, world):
        check_robot(each, [task])
    compute = Compute.of(config.device, config.precision, "")
    dreamer = load_dreamer(world, Sampling(steps=int(config.steps)), compute)
    policy = load_policy(str(folder), config.device, config.precision)
    environment = plain(config.env) | {"task": task}
    environment["resolution"] = fitting_camera(environment["resolution"], folder)
    session = Session(build(environment), dreamer, policy, int(config.seed))
    about = {
        "task": task,
        "checkpoint": run_name(folder),
        "world": run_name(world),
        "euler_steps": int(config.steps),
    }
    server = PlayServer(session, about, Path(str(config.out)).expanduser())

    def ready(port: int) -> None:
        print("play at", address.url("http", port), "(Ctrl-C ends it)", flush=True)

    try:
        server.run(address, ready)
    finally:
        session.close()


run = main.run


if __name__ == "__main__":
    main()
