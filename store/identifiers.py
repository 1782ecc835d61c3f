"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import re
import secrets
import time

__all__ = ["IDENTIFIER_PATTERN", "is_identifier", "new_identifier"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26
_RANDOM_BITS = 76
IDENTIFIER_PATTERN = r"^[a-z]{2,4}_[0-9a-hjkmnp-tv-z]{26}$"
_MATCHER = re.compile(IDENTIFIER_PATTERN)


def new_identifier(prefix: str) -> str:
    """Return a new identifier such as `net_01hv…`: microseconds since 1970, then random bits.

    Args:
        prefix: Two to four lower-case letters that tell people what the identifier names.
    """
    number = (time.time_ns() // 1000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    digits = [_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH))]
    return f"{prefix}_{''.join(digits)}"


def is_identifier(text: str) -> bool:
    """Return whether `text` could be an identifier; anything else cannot name a resource."""
    return _MATCHER.fullmatch(text) is not None
