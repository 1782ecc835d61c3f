"""Exact search: branch and bound over input boxes and over neurons, sharing one contract."""
