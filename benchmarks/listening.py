"""What a policy hears of other words: how often they become the words that were meant.

    python -m benchmarks.listening policies/checkpoints/google_robot --list

Prints Markdown: for each wording (`configs/wording`) and each way to listen (`policies.listening`)
the share of the instructions of the checkpoint's demonstrations that, said in those words, are
heard as their own again. Instructions that a wording has no rule for are left out.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from omegaconf import OmegaConf

from envs.wording import Rule, Wording
from experiment.errors import UserError
from experiment.settings import ROOT
from policies.listening import Listen, hearing
from worldmodel.training.checkpoint import checkpoint_folder, read_config


def reworded(name: str, instructions: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield instructions and what is said instead, of those that the wording `name` changes."""
    rules = OmegaConf.load(ROOT / "configs" / "wording" / f"{name}.yaml").rules
    wording = Wording(name, [Rule(rule.find, rule.say) for rule in rules])
    for instruction in instructions:
        try:
            yield instruction, wording(instruction)
        except UserError:  # no rule fits
            continue


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--wordings", nargs="+", default=["polite", "synonyms", "spoken"])
    parser.add_argument("--list", action="store_true", help="what was heard instead")
    given = parser.parse_args()
    folder = checkpoint_folder(str(given.checkpoint))
    sections = read_config(folder)
    ways = {way: hearing(way, sections, folder) for way in get_args(Listen)}
    print(f"| wording | instructions | {' | '.join(ways)} |\n" + "|---" * (2 + len(ways)) + "|")
    lines = []
    for name in given.wordings:
        pairs = list(reworded(name, sections["instructions"]))
        cells = []
        for way, hear in ways.items():
            heard = [(own, said, hear(said)) for own, said in pairs]
            cells.append(f"{sum(own == now for own, _, now in heard)}")
            lines += [f"{name}, {way}: '{s}' -> '{n}'" for own, s, n in heard if n != own]
        print(f"| {name} | {len(pairs)} | {' | '.join(cells)} |")
    if given.list:
        print("", *lines, sep="\n")


if __name__ == "__main__":
    main()
