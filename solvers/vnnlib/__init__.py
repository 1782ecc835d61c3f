"""Specifications in VNN-LIB 1.0."""

from solvers.vnnlib.limits import VnnlibLimits
from solvers.vnnlib.reader import fit_problem, read_vnnlib

__all__ = ["VnnlibLimits", "fit_problem", "read_vnnlib"]
