"""What `certify` and `compare` found, in the formats of continuous integration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.arguments import CertifyArguments, CompareArguments
from cli.options import version
from reports import (
    certification_junit,
    certification_sarif,
    comparison_junit,
    comparison_sarif,
)
from reports.findings import Side
from reports.sarif import Origin
from tightrope_client.gate.documents import repository_path

__all__ = ["certification_files", "comparison_files"]


def certification_files(
    report: Mapping[str, Any], arguments: CertifyArguments, data_sha256: str
) -> dict[Path, str]:
    """Return the files of a certification that were asked for, by path.

    Args:
        report: As `certification_report` returns it.
        arguments: What was asked.
        data_sha256: What tells the data set from others.
    """
    texts: dict[Path, str] = {}
    if arguments.junit is not None:
        texts[arguments.junit] = certification_junit(report)
    if arguments.sarif is not None:
        origin = Origin(version(), repository_path(arguments.network), data_sha256)
        texts[arguments.sarif] = certification_sarif(report, origin)
    return texts


def comparison_files(
    sides: Sequence[Mapping[str, Any]],
    region: Mapping[str, Any],
    arguments: CompareArguments,
    *,
    data_sha256: str,
) -> dict[Path, str]:
    """Return the files of a comparison that were asked for, by path.

    Args:
        sides: The baseline, then the candidates, each with `name`, `sha256` and `items`.
        region: `norm`, `epsilon`.
        arguments: What was asked.
        data_sha256: What tells the data set from others.
    """
    known = [Side(side, side["items"]) for side in sides]
    texts: dict[Path, str] = {}
    if arguments.junit is not None:
        texts[arguments.junit] = comparison_junit(known, region)
    if arguments.sarif is not None:
        paths = [repository_path(path) for path in arguments.candidate]
        # Results of several networks are told apart by their names.
        origin = Origin(version(), paths[0] if len(paths) == 1 else None, data_sha256)
        texts[arguments.sarif] = comparison_sarif(known, region, origin)
    return texts
