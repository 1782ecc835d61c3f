"""`python -m tests.helpers.slow_service`: `tightrope serve` with the slow engine in its worker."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cli.serve import serve
from tests.helpers.processes import SLOW_WORKER

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--data-dir", type=Path)
    parsed = parser.parse_args()
    sys.exit(serve("127.0.0.1", parsed.port, parsed.data_dir, worker_command=SLOW_WORKER))
