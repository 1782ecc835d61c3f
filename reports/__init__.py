"""Reports: from plain JSON data to summaries, tables and pages.

Pure: mappings in, text out; nothing of the other layers is imported, so that the command line
and the service say the same things in the same words.
"""

from __future__ import annotations

from reports.comparison import comparison_of, comparison_report
from reports.comparison_page import comparison_html
from reports.csv import items_csv
from reports.html import certification_html
from reports.junit import certification_junit, comparison_junit, training_junit
from reports.numbers import dump_json, strict
from reports.radius import accuracy_curve, radius_html, radius_report
from reports.report import certification_report
from reports.sarif import certification_sarif, comparison_sarif
from reports.summary import summarize

__all__ = [
    "accuracy_curve",
    "certification_html",
    "certification_junit",
    "certification_report",
    "certification_sarif",
    "comparison_html",
    "comparison_junit",
    "comparison_of",
    "comparison_report",
    "comparison_sarif",
    "dump_json",
    "items_csv",
    "radius_html",
    "radius_report",
    "strict",
    "summarize",
    "training_junit",
]
