"""Certification of labelled data."""

from solvers.certification.certifier import Certifier, certify_items
from solvers.certification.item import ItemResult
from solvers.certification.options import CertifyOptions
from solvers.certification.progress import CertifyStage

__all__ = ["Certifier", "CertifyOptions", "CertifyStage", "ItemResult", "certify_items"]
