"""The pages that people open: reports, comparisons, play."""

from pathlib import Path

import jinja2


def environment() -> jinja2.Environment:
    """Return what fills the templates; all values are escaped."""
    folder = Path(__file__).with_name("templates")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.ChainableUndefined
    )
