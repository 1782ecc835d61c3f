"""Readers of untrusted input under mutated files: nothing but their documented errors, no hang."""
