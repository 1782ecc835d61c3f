"""Producers of proofs: from what a search found to a file that the checker accepts."""
