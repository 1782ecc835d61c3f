"""Tests of the named architectures."""
