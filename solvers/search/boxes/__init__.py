"""Exact search by input splitting: boxes are bisected until each is proved or falsified."""

from solvers.search.boxes.options import BoxSearchOptions, LeafRecorder
from solvers.search.boxes.search import search_boxes
from solvers.search.boxes.suits import suits_boxes

__all__ = ["BoxSearchOptions", "LeafRecorder", "search_boxes", "suits_boxes"]
