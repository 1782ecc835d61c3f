"""What all pages share: how templates are filled in, and how numbers read."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports.numbers import finite

__all__ = ["MISSING", "duration", "number", "percent", "render"]

MISSING = "–"


def render(template: str, **values: object) -> str:
    """Return a page: HTML5 that stands alone, every value escaped.

    Args:
        template: Its file.
        values: What the template names; one that is missing is an error.
    """
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def number(value: object, digits: int = 4) -> str:
    """Return a number for people, or a dash."""
    known = finite(value)
    return MISSING if known is None else f"{known:.{digits}g}".replace("-", "\u2212")


def percent(value: object) -> str:
    """Return a share in percent, or a dash."""
    share = finite(value)
    return MISSING if share is None else f"{100 * share:.1f}\u202f%"


def duration(value: object) -> str:
    """Return seconds for people."""
    seconds = finite(value)
    if seconds is None:
        return MISSING
    if seconds < 1:
        return f"{1000 * seconds:.0f}\u202fms"
    if seconds < 120:
        return f"{seconds:.1f}\u202fs"
    return f"{seconds / 60:.1f}\u202fmin"
