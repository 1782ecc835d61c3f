"""Tests of the benchmarks' own parts: what runs for hours must not lose what it found."""
