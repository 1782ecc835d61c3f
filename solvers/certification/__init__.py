"""Certification of labelled data."""

from solvers.certification.certifier import certify_items
from solvers.certification.item import ItemResult
from solvers.certification.options import CertifyOptions
from solvers.certification.progress import CertifyStage

__all__ = ["CertifyOptions", "CertifyStage", "ItemResult", "certify_items"]
