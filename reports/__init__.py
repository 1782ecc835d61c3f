"""Reports: from plain JSON data to summaries, tables and pages.

Pure: mappings in, text out; nothing of the other layers is imported, so that the command line
and the service say the same things in the same words.
"""

from __future__ import annotations

from reports.comparison import comparison_of, comparison_report
from reports.comparison_page import comparison_html
from reports.csv import items_csv
from reports.html import certification_html
from reports.numbers import dump_json, strict
from reports.radius import accuracy_curve, radius_html, radius_report
from reports.report import certification_report
from reports.summary import summarize

__all__ = [
    "accuracy_curve",
    "certification_html",
    "certification_report",
    "comparison_html",
    "comparison_of",
    "comparison_report",
    "dump_json",
    "items_csv",
    "radius_html",
    "radius_report",
    "strict",
    "summarize",
]
