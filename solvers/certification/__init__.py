"""Certification of labelled data."""

from solvers.certification.certifier import certify_items
from solvers.certification.item import ItemResult
from solvers.certification.options import CertifyOptions

__all__ = ["CertifyOptions", "ItemResult", "certify_items"]
