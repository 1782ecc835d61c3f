"""Attacks: inputs of low margin, by screening and projected gradient descent."""

from solvers.attack.options import AttackOptions, AttackResult
from solvers.attack.search import attack

__all__ = ["AttackOptions", "AttackResult", "attack"]
