"""Tests of data sets: every format, whole and malformed."""
