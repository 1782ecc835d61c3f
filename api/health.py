"""Whether a service is ready: `python -m api.health URL`, for container health checks."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import httpx

__all__ = ["main"]

logger = logging.getLogger(__name__)

_SECONDS = 5.0


def main(arguments: Sequence[str]) -> int:
    """Get the one URL given; return 0 when the answer is a success."""
    try:
        httpx.get(arguments[0], timeout=_SECONDS).raise_for_status()
    except httpx.HTTPError as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
