"""`python -m tightrope_client.gate`."""

from __future__ import annotations

import sys

from tightrope_client.gate.main import command

sys.exit(command())
