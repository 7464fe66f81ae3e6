"""An object's name in an instruction."""

_SILENT = {"opened", "light", "generated", "modified", "objaverse", "bridge", "baked", "v2"}


def object_name(model: str) -> str:
    """Words of a model's id without those that only tell files apart: `coke can`.

    Sizes such as 3cm are left out too.
    """
    words = model.split("_")
    return " ".join(w for w in words if not w.endswith("cm") and w not in _SILENT)
