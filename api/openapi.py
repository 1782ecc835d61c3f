"""`python -m api.openapi [FILE]`: the OpenAPI document, always written the same way.

It is kept beside the documentation, where every change of the interface shows; a test compares.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from api.app import create_app
from store.settings import Settings

__all__ = ["document_text"]


def document_text() -> str:
    """Return the document as JSON with its keys in order; it depends on no setting."""
    with tempfile.TemporaryDirectory() as folder:
        # Nothing is opened before it is used.
        app = create_app(Settings.model_validate({"data_dir": folder}))
        document = app.openapi()
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the document to a file, or to standard output."""
    parser = argparse.ArgumentParser(prog="python -m api.openapi", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="else standard output")
    file: Path | None = parser.parse_args().file
    if file is None:
        sys.stdout.write(document_text())
    else:
        file.write_text(document_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
