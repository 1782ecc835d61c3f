"""Tests of `models.fold`."""
