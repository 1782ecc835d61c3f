"""Merging affine operators, for certification."""

from __future__ import annotations

from models.fold.merge import fold_affine

__all__ = ["fold_affine"]
