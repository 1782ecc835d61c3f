"""Convex programs over whole networks: linear programs and cuts of tightened relaxations."""
