"""Minimum distortion: the largest radius proved, and the smallest with a counterexample."""

from solvers.radius.item import RadiusItem, RadiusStatus
from solvers.radius.options import RadiusOptions
from solvers.radius.search import radius_items

__all__ = ["RadiusItem", "RadiusOptions", "RadiusStatus", "radius_items"]
