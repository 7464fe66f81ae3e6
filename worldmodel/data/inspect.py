"""Entry point: look at a data set before spending hours on it.

    python -m worldmodel.data.inspect data=fractal data.root=/folder

Prints counts, lengths, rates and the range of every action dimension, and writes to a folder
`actions.png` (histograms), `contact_sheet.png` (random windows with their instruction and actions)
and `statistics.json`.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from experiment.command import command
from experiment.errors import UserError
from experiment.files import write_bytes
from experiment.settings import build
from worldmodel.data import look
from worldmodel.data.batches import DataConfig
from worldmodel.data.reader import StreamReader
from worldmodel.data.stream import Stream
from worldmodel.tokenizer import Tokenizer


@command("inspect", __doc__)
def main(config: DictConfig) -> None:
    """Compose the parts, print and draw."""
    source: object = build(config.data.source, object)
    if not isinstance(source, Stream):
        raise UserError("inspect looks at streamed data sets: data=lerobot or one of Open-X's.")
    use, shown = build(config.data.use, DataConfig), build(config.shown, look.Shown)
    tokenizer = build(config.tokenizer, Tokenizer)  # type: ignore[type-abstract]
    reader = StreamReader(source, use, tokenizer, config.seed)
    found = reader.statistics()
    # A file or a pipe has no width of its own.
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(look.table(reader, found))
    for data, facts in zip(reader.sets, found, strict=True):
        console.print(f"{data.name}: {data.source}", look.ranges(facts), sep="\n", highlight=False)
        for reason in facts.damaged[:5]:
            console.print(f"  not readable: {reason}", highlight=False)
    out = Path(config.out or "runs/inspect")
    names = [data.name for data in reader.sets]
    listed = {name: facts.section() for name, facts in zip(names, found, strict=True)}
    settings = {"windows": asdict(use.windows), "seed": config.seed, "data": source.source}
    write_bytes(out / "statistics.json", json.dumps(settings | {"sets": listed}, indent=1).encode())
    look.histograms(names, found, out / "actions.png")
    look.contact_sheet(reader.windows(shown.windows), use.windows.future, out / "contact_sheet.png")
    console.print(f"{out}: statistics.json, actions.png, contact_sheet.png", highlight=False)


if __name__ == "__main__":
    main()
