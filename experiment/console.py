"""`self-flow COMMAND name=value ...`: every command under one name, from any folder.

self-flow eval task=open_and_place      the same as python -m policies.eval task=open_and_place
self-flow                               lists the commands
self-flow eval --help                   lists the settings of one
"""

import runpy
import sys
from collections.abc import Sequence

from experiment.errors import UserError, exit_on_user_error, nearest

COMMANDS = {
    "eval": ("policies.eval", "evaluate a policy in a task"),
    "compare": ("policies.compare", "compare evaluations of the same episodes"),
    "collect": ("envs.collect", "demonstrations as a LeRobot data set"),
    "branch": ("envs.branch", "what other actions lead to, from the same states"),
    "inspect": ("worldmodel.data.inspect", "look at a data set"),
    "pretrain": ("worldmodel.pretrain", "train a video model"),
    "encode": ("worldmodel.encode", "keep a data set's tokens on disk"),
    "finetune": ("policies.finetune", "train a policy"),
    "imagine": ("worldmodel.imagine", "dreams beside the truth"),
    "play": ("policies.play", "the dream beside the simulator, driven by hand"),
    "probe": ("worldmodel.probe", "what a representation knows"),
    "value": ("policies.value", "how far a demonstration is from its end, for planning"),
    "serve": ("policies.serve", "serve a policy to other programs"),
    "export": ("policies.export", "a checkpoint with a model card"),
    "recipe": ("experiment.recipe", "everything from nothing to a shipped policy"),
    "doctor": ("envs.doctor", "what is missing on this machine"),
}
"""Name -> module and what it does."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the module of the command with the arguments after it; ends as that does."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(__doc__)
        for name, (module, about) in COMMANDS.items():
            print(f"  {name:<10} {about} ({module})")
        return
    exit_on_user_error(_checked)(given[0])
    module, _ = COMMANDS[given[0]]
    sys.argv = [module, *given[1:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _checked(name: str) -> None:
    if name not in COMMANDS:
        raise UserError(f"there is no command '{name}'.{nearest(name, COMMANDS)}")
