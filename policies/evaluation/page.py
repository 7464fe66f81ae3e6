"""An evaluation as one self-contained HTML page: rates, where it succeeds, failures first."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from envs.episode import EpisodeRecord
from envs.recorder import video_path
from experiment.files import write_bytes
from policies.evaluation import report
from policies.evaluation.published import Reference
from policies.evaluation.tables import grouped_by
from policies.pages import environment

MOST_VIDEO_BYTES = 24_000_000
"""Of all videos in a page together; failures come first."""
_MOST_DREAM_BYTES = 12_000_000
_MAP, _MARGIN = 300, 24
_SHAPES = {
    "circle": "M{0},{1} m-5,0 a5,5 0 1,0 10,0 a5,5 0 1,0 -10,0",
    "square": "M{0},{1} m-5,-5 h10 v10 h-10 z",
    "triangle": "M{0},{1} m0,-6 l6,11 h-12 z",
    "diamond": "M{0},{1} m0,-7 l7,7 l-7,7 l-7,-7 z",
}


@dataclass(frozen=True)
class Mark:
    """An episode on a map: an SVG path in the colour of its outcome."""

    path: str
    outcome: str
    title: str


@dataclass(frozen=True)
class Map:
    """Where a task's object stood at the start of each episode, from above."""

    task: str
    marks: Sequence[Mark]
    extent: str
    legend: str
    size: int = _MAP


@dataclass(frozen=True)
class Card:
    """An episode in words, with its video and its dreams (a picture) as data URIs."""

    title: str
    detail: str
    outcome: str
    video: str | None
    dreams: str | None = None


def write_page(
    path: Path,
    records: Sequence[EpisodeRecord],
    protocol: str,
    reference: Reference | None,
    videos: Path,
    settings: str = "",
    dreams: Path | None = None,
) -> None:
    """Write the page; `videos` is the folder of the episodes' videos, `settings` a text to show.

    `dreams`: the folder of what `DreamRecorder` wrote.
    """
    ordered = sorted(records, key=lambda r: (r.success_at_end, r.success_ever, r.task, r.index))
    embedded = Embedded(videos, "mp4", MOST_VIDEO_BYTES)
    pictures = None if dreams is None else Embedded(dreams, "png", _MOST_DREAM_BYTES)
    cards = [(record, card(record, embedded, pictures)) for record in ordered]
    tasks, policies = (sorted({getattr(r, name) for r in records}) for name in ("task", "policy"))
    label = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
    text = (
        environment()
        .get_template("report.html")
        .render(
            title=f"{', '.join(policies)} in {label}",
            lead=f"{len(records)} episodes; protocol {protocol}; success by the task's rule.",
            lines=report.lines(records, protocol),
            published=_published(reference),
            notes=report.notes(records, reference),
            maps=list(maps(records)),
            failures=[shown for record, shown in cards if not record.success_at_end],
            successes=[shown for record, shown in cards if record.success_at_end],
            left_out=embedded.left_out_of_page,
            checklist=list(checklist(records, protocol)),
            settings=settings,
        )
    )
    write_bytes(path, text.encode())


class Embedded:
    """Files of a folder, one an episode, as data URIs: as many as fit in a page."""

    def __init__(self, folder: Path, kind: Literal["mp4", "png"], most_bytes: int) -> None:
        self._folder, self._kind, self._left, self._left_out = folder, kind, most_bytes, 0

    def __call__(self, record: EpisodeRecord) -> str | None:
        path = video_path(self._folder, record.task, record.index).with_suffix(f".{self._kind}")
        if not path.is_file():
            return None
        if path.stat().st_size > self._left:
            self._left_out += 1
            return None
        self._left -= path.stat().st_size
        media = "video" if self._kind == "mp4" else "image"
        content = base64.b64encode(path.read_bytes()).decode()
        return f"data:{media}/{self._kind};base64,{content}"

    @property
    def left_out_of_page(self) -> str:
        """A sentence on the videos that did not fit, empty if all did."""
        if not self._left_out:
            return ""
        return f"{self._left_out} further videos are in the folder {self._folder.name} beside it."


def outcome(record: EpisodeRecord) -> str:
    """Return good, lost (success that did not last) or bad."""
    return "good" if record.success_at_end else "lost" if record.success_ever else "bad"


def card(record: EpisodeRecord, videos: Embedded, dreams: Embedded | None = None) -> Card:
    recorded = record.instruction or record.wording  # wording=empty says nothing
    facts = {
        "robot pose": record.robot_pose,
        "variant": record.variant,
        "seed": record.seed,
        "steps": record.steps,
        "strict": "yes" if record.success_strict else "no",
        "subtask reached": record.subtask,
        "instruction": f"“{record.instruction}”" if recorded else "not recorded",
        **record.statistics,
    }
    detail = "; ".join(f"{name} {_short(value)}" for name, value in facts.items())
    lost = ": success was lost" if outcome(record) == "lost" else ""
    title = f"{record.task} #{record.index}{lost}"
    dreamed = None if dreams is None else dreams(record)
    return Card(title, detail, outcome(record), videos(record), dreamed)


def maps(records: Sequence[EpisodeRecord]) -> Iterator[Map]:
    """Yield a map of each task whose records know where its object stood."""
    for task, group in grouped_by("task", records).items():
        placed = [record for record in group if "object" in record.start]
        if not placed:
            continue
        # World frame: x towards the robot, which is drawn at the bottom, y to its right.
        points = [record.start["object"] for record in placed]
        rows, columns = zip(*((p[0], p[1]) for p in points), strict=True)
        span = max(max(rows) - min(rows), max(columns) - min(columns), 0.05)
        middle = (max(rows) + min(rows)) / 2, (max(columns) + min(columns)) / 2
        scale = (_MAP - 2 * _MARGIN) / span
        poses = sorted({record.robot_pose for record in placed})
        shapes = dict(zip(poses, list(_SHAPES) * len(poses), strict=False))
        marks = []
        for record, (x, y, *_) in zip(placed, points, strict=True):
            across = round(_MAP / 2 + scale * (y - middle[1]), 1)
            down = round(_MAP / 2 + scale * (x - middle[0]), 1)
            path = _SHAPES[shapes[record.robot_pose]].format(across, down)
            title = f"#{record.index}, {record.robot_pose}: {outcome(record)}"
            marks.append(Mark(path, outcome(record), title))
        legend = ", ".join(f"{shapes[pose]} {pose}" for pose in poses) if len(poses) > 1 else ""
        yield Map(task, marks, f"{100 * span:.0f} cm across", legend)


def checklist(records: Sequence[EpisodeRecord], protocol: str) -> Iterator[tuple[str, str]]:
    """Yield what scores of two projects differ by although both say success."""
    steps, calls = (sum(getattr(r, name) for r in records) for name in ("steps", "calls"))
    limits = {task: max(r.steps for r in g) for task, g in grouped_by("task", records).items()}
    drawn = all(set(record.options) <= {"robot_pose"} for record in records)
    missing = sorted({name for record in records for name in record.stand_ins})
    yield "success", "at the end of the episode and, in its own column, at any step"
    yield (
        "strict",
        "at any step: what is placed lies released and at rest, a can is 2 cm up in the grasp",
    )
    yield "actions a look", f"{steps / max(calls, 1):.1f} executed on average"
    yield "steps run", ", ".join(f"{task} {limit}" for task, limit in limits.items())
    yield "placement", "drawn from each episode's seed" if drawn else f"listed by {protocol}"
    words = sorted({record.wording or "the task's own" for record in records})
    yield "instructions", ", ".join(words)
    yield "gripper", "as the policy commands it, no sticky action"
    yield "shapes", ", ".join(sorted({record.assets or "unknown" for record in records}))
    yield "stand-ins", ", ".join(missing) or "none"
    versions = {tuple(sorted(record.versions.items())) for record in records}
    yield "versions", "; ".join(", ".join(f"{n} {v}" for n, v in each) for each in versions)


def _published(reference: Reference | None) -> Mapping[str, str]:
    if reference is None:
        return {}
    return {name: f"{100 * rate:.0f}" for name, rate in reference.rates.items()}


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
