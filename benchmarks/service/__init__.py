"""Figures of the service: `python -m benchmarks.service SECTION`."""
