"""The report of a certification: what was asked of which network, and every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.numbers import strict
from reports.summary import summarize

__all__ = ["certification_report"]


def certification_report(
    *,
    network: Mapping[str, Any],
    region: Mapping[str, Any],
    settings: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what `certify --json` writes, ready for strict JSON.

    Args:
        network: `name`, `sha256` and whatever else identifies it.
        region: `norm`, `epsilon`, `valid_range`.
        settings: `methods`, in the order to report them, and how they were run.
        items: One mapping per input, see `summarize`.

    Returns:
        `{network, region, settings, summary, items}`; numbers that are not finite are None.
    """
    methods = [str(method) for method in settings.get("methods", ())]
    report = {
        "network": network,
        "region": region,
        "settings": settings,
        "summary": summarize(items, methods),
        "items": items,
    }
    return {part: strict(content) for part, content in report.items()}
