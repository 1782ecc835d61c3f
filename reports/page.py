"""What all pages share: how templates are filled in, and how numbers read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from reports.numbers import finite

__all__ = [
    "MISSING",
    "duration",
    "environment",
    "norm_text",
    "number",
    "percent",
    "region_text",
    "render",
    "setting_rows",
    "whole",
]

MISSING = "–"
_MAX_LISTED = 16


def render(template: str, **values: object) -> str:
    """Return a page: HTML5 that stands alone, every value escaped.

    Args:
        template: Its file.
        values: What the template names; one that is missing is an error.
    """
    return environment().get_template(template).render(**values)


@cache
def environment(*packages: str) -> Environment:
    """Return what fills in templates: every value escaped, one that is missing an error.

    Args:
        packages: Whose templates are found before those of reports.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, "reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def number(value: object, digits: int = 4) -> str:
    """Return a number for people, or a dash."""
    known = finite(value)
    return MISSING if known is None else f"{known:.{digits}g}".replace("-", "\u2212")


def whole(value: float) -> str:
    """Return a count in groups of three digits."""
    return f"{value:,.0f}".replace(",", "\u202f")


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
    if seconds < 7200:
        return f"{seconds / 60:.1f}\u202fmin"
    return f"{seconds / 3600:.1f}\u202fh"


def norm_text(norm: object) -> str:
    """Return a norm as people write it."""
    return {"inf": "L∞", "2": "L2", "1": "L1"}.get(str(norm), str(norm))


def region_text(region: Mapping[str, Any]) -> str:
    """Return the question about each input in words."""
    norm, epsilon = norm_text(region.get("norm")), number(region.get("epsilon"))
    text = f"Every input within {norm} distance ε = {epsilon}"
    valid = region.get("valid_range")
    return text + (f", values kept in [{valid[0]:g}, {valid[1]:g}]" if valid else "")


def setting_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return settings as name and value, without those that were not set."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += [(f"{name} {key}", str(entry)) for key, entry in value.items()]
        elif isinstance(value, list | tuple):
            rows.append((name.replace("_", " "), _listed(value)))
        else:
            rows.append((name.replace("_", " "), "" if value is None else str(value)))
    return [(name, value) for name, value in rows if value]


def _listed(values: Sequence[object]) -> str:
    """Return values in a line; of many, the first and the last."""
    texts = [str(value) for value in values]
    if len(texts) > _MAX_LISTED:
        return f"{texts[0]}, {texts[1]}, … {texts[-1]} ({len(texts)} values)"
    return ", ".join(texts)
