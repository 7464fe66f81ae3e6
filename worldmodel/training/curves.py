"""Training curves: `log.jsonl` -> `curves.png`."""

import io
from pathlib import Path

from experiment.files import read_records, write_bytes

_NOT_DRAWN = ("step", "seconds", "tokens")


def draw(log: Path, picture: Path) -> None:
    """Draw one panel for each number in the log, against the step."""
    # Takes seconds to load, and is first needed when a state is saved.
    import matplotlib
    from matplotlib.figure import Figure

    records = read_records(log)
    names = list(dict.fromkeys(name for record in records for name in record))
    names = [name for name in names if name not in _NOT_DRAWN]
    if not names:
        return
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(4 * columns, 2.4 * rows))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        figure.subplots_adjust(hspace=0.45, left=0.06, right=0.98)
        for axis, name in zip(axes, names, strict=False):
            points = [(r["step"], r[name]) for r in records if r.get(name) is not None]
            # A line through one point would not be seen.
            axis.plot(*zip(*points, strict=True), "." if len(points) == 1 else "-", linewidth=1)
            axis.set_title(name)
            axis.grid(alpha=0.3)
        for axis in axes[len(names) :]:
            axis.axis("off")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100)
    write_bytes(picture, buffer.getvalue())
