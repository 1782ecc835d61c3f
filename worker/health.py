"""Whether a worker here could work: `python -m worker.health`, for container health checks."""

from __future__ import annotations

import logging
import sys

from kombu.exceptions import KombuError
from sqlalchemy.exc import SQLAlchemyError

from store.database import Database
from store.errors import StoreError
from store.settings import get_settings
from worker.app import JobQueue, create_celery

__all__ = ["main"]

logger = logging.getLogger(__name__)


def main() -> int:
    """Ask database and broker; return 0 when both answer."""
    try:
        settings = get_settings()
        Database(settings.database).ping()
        JobQueue(create_celery(settings)).ping()
    except (StoreError, SQLAlchemyError, KombuError, OSError) as error:
        logger.error("%s: %s", type(error).__name__, error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
