"""Tests of Tightrope; the folders mirror the packages."""
