"""Settings of a pretrained model: `init=` makes them the defaults."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from experiment.errors import UserError
from experiment.settings import shown
from worldmodel.model_config import ModelConfig
from worldmodel.training.checkpoint import CONFIG, checkpoint_folder, read_config, restored_encoders


def with_initial(arguments: Sequence[str]) -> list[str]:
    """Return arguments that set model, tokenizer and text as the checkpoint of `init=` has them,
    and what it remembers of an episode.

    They come before the given ones, which win; a group that is chosen by name is left as chosen.
    What then differs from the checkpoint is refused where its weights are loaded.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    init = given.get("init", "null")
    if init in ("", "null"):
        return list(arguments)
    folder = checkpoint_folder(init, "init")
    sections = read_config(folder)
    tokenizer, text = restored_encoders(sections, folder)
    defaults: list[str] = []
    model = sections.get("model")
    if "model" not in given and isinstance(model, dict):
        # The head's size follows from the objective it was made for.
        names = [f.name for f in fields(ModelConfig) if f.name in model and f.name != "projected"]
        defaults += [_argument(folder, f"model.{name}", model[name]) for name in names]
    for section, encoder in (("tokenizer", tokenizer), ("text", text)):
        if section not in given:
            settings = encoder.config()
            defaults.append(f"{section}={settings.pop('kind')}")
            defaults += [
                _argument(folder, f"{section}.{n}", value) for n, value in settings.items()
            ]
    windows = sections.get("windows")
    if isinstance(windows, dict):
        remembered = [name for name in ("start", "grip") if windows.get(name) is True]
        defaults += [f"data.use.windows.{name}=true" for name in remembered]
        past = windows.get("past")
        if isinstance(past, list) and all(isinstance(step, int) for step in past) and past:
            defaults.append(f"data.use.windows.past={past}".replace(" ", ""))
    return [*defaults, *arguments]


def _argument(folder: Path, key: str, value: object) -> str:
    # A file from elsewhere must not have anything looked up, such as ${oc.env:NAME}.
    if "${" in str(value) or isinstance(value, dict | list):
        raise UserError(f"{folder / CONFIG}: {key}={value} is not a plain value.")
    return f"{key}={shown(value)}"
