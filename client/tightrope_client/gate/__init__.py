"""The gate: lets continuous integration refuse a network that withstands less than it should.

`tightrope-gate` and `tightrope gate` are this same code.
"""

from __future__ import annotations

from tightrope_client.gate.main import main

__all__ = ["main"]
