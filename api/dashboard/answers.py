"""What every method says of one input, as tables show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.numbers import settled
from reports.page import duration, number
from reports.summary import EXACT

__all__ = ["asked_methods", "method_row"]


def asked_methods(item: Mapping[str, Any], methods: Sequence[str]) -> list[str]:
    """Return the stages of an answer in their order: the attack, then what was asked for."""
    return [*(name for name in item.get("seconds") or {} if name not in methods), *methods]


def method_row(item: Mapping[str, Any], method: str) -> dict[str, str]:
    """Return a line of the table of methods."""
    status = (item.get("status") or {}).get(method) or ""
    reason = (item.get("reasons") or {}).get(method) or ""
    exact = item.get("exact") or (None, None)
    lower = exact[0] if method == EXACT else (item.get("lower") or {}).get(method)
    return {
        "method": method,
        "lower": number(lower),
        "gap": number(settled((item.get("gap") or {}).get(method))),
        "seconds": duration((item.get("seconds") or {}).get(method)),
        "status": str(reason or status),
    }
