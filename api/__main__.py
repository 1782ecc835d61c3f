"""The API alone, for deployments that run workers on their own: `python -m api`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import uvicorn

from api.app import create_app
from api.serving import check_address, server_options
from store.blobs import BlobStore
from store.errors import StoreError
from store.settings import get_settings
from worker.collecting import collect_rarely, loading
from worker.logs import configure

__all__ = ["main"]

# Uploads that an API in the same folder may have begun this very moment.
_SPARE_SECONDS = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve with the settings of the environment; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parsed = parser.parse_args(arguments)
    try:
        settings = get_settings()
        configure(settings.log_level, settings.log_format)
        check_address(parsed.host, settings)
        BlobStore(settings.blob_dir).clear_incoming(spare_seconds=_SPARE_SECONDS)
        with loading():
            app = create_app(settings)
    except StoreError as error:
        logging.getLogger(__name__).error("%s", error)
        return 2
    collect_rarely()
    uvicorn.run(app, host=parsed.host, port=parsed.port, **server_options())
    return 0


if __name__ == "__main__":
    sys.exit(main())
