"""The gate's own JUnit XML and SARIF: the server's, with the gate's verdict in front.

The server's documents speak of inputs. A gate tolerates some of them, so in its JUnit XML inputs
that are not verified are skipped, and the document fails exactly if the gate does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tightrope_client.errors import UnexpectedResponseError
from tightrope_client.gate.outcome import Check

__all__ = ["failed_junit", "gate_junit", "gate_sarif", "repository_path"]

SUITE = "tightrope gate"
_TOLERATED = ("failure", "error")
_HELP: Mapping[str, str] = {
    "certified-accuracy": "The share of inputs that are proved to withstand every perturbation of "
    "the region is below the limit. Train the network to be certified, or lower the limit.",
    "clean-accuracy": "The share of inputs that are classified right is below the limit. Train "
    "the network, or lower the limit.",
    "drop": "The network is proved to withstand less than its baseline. See which inputs were "
    "lost, or accept the loss by replacing the baseline.",
}


def gate_junit(checks: Sequence[Check], inputs: str) -> str:
    """Return a test per condition, then the server's tests of inputs, none of which fails.

    Args:
        checks: The conditions.
        inputs: JUnit XML of the job, from the server.

    Raises:
        UnexpectedResponseError: That is none.
    """
    try:
        # From the server that was asked; expat itself bounds how entities grow.
        root = ElementTree.fromstring(inputs)  # noqa: S314
    except ElementTree.ParseError as error:
        raise UnexpectedResponseError(f"the server's JUnit XML cannot be read: {error}") from error
    for case in root.iter("testcase"):
        for outcome in [child for child in case if child.tag in _TOLERATED]:
            case.remove(outcome)
            ElementTree.SubElement(case, "skipped", {"message": outcome.get("message", "")})
    suite = ElementTree.Element("testsuite", {"name": SUITE})
    for check in checks:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": SUITE, "name": check.name, "time": "0.000"}
        )
        if check.passed:
            ElementTree.SubElement(case, "system-out").text = check.words
        else:
            kind = {"message": check.words, "type": check.name}
            ElementTree.SubElement(case, "failure", kind).text = _HELP[check.name]
    root.insert(0, suite)
    return _text(root)


def failed_junit(message: str) -> str:
    """Return the document of a gate that came to no verdict: one error.

    Args:
        message: Why.
    """
    root = ElementTree.Element("testsuites", {"name": SUITE})
    suite = ElementTree.SubElement(root, "testsuite", {"name": SUITE})
    named = {"classname": SUITE, "name": "job", "time": "0.000"}
    case = ElementTree.SubElement(suite, "testcase", named)
    ElementTree.SubElement(case, "error", {"message": message, "type": "job"})
    return _text(root)


def gate_sarif(checks: Sequence[Check], inputs: str) -> str:
    """Return the server's results with one for each condition that does not hold.

    Args:
        checks: The conditions.
        inputs: SARIF of the job, from the server.

    Raises:
        UnexpectedResponseError: That is none.
    """
    try:
        log = json.loads(inputs)
        (run,) = log["runs"]
        driver, place = run["tool"]["driver"], run["artifacts"][0]["location"]
        results = [
            _result(check, len(driver["rules"]) + index, place)
            for index, check in enumerate(checks)
            if not check.passed
        ]
        driver["rules"] += [_rule(check.name) for check in checks]
        run["results"] = results + run["results"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UnexpectedResponseError(f"the server's SARIF cannot be read: {error!r}") from error
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def repository_path(network: Path) -> str:
    """Return where a network is, seen from the working folder, which is the repository's."""
    with suppress(ValueError):
        return network.resolve().relative_to(Path.cwd()).as_posix()
    return network.name


def _rule(name: str) -> dict[str, Any]:
    words = name.replace("-", " ")
    return {
        "id": f"gate-{name}",
        "name": "Gate" + "".join(word.capitalize() for word in name.split("-")),
        "shortDescription": {"text": f"The gate on {words}."},
        "fullDescription": {"text": _HELP[name]},
        "help": {"text": _HELP[name]},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["robustness"]},
    }


def _result(check: Check, index: int, place: Mapping[str, str]) -> dict[str, Any]:
    fingerprint = hashlib.sha256(f"gate\0{check.name}\0{place['uri']}".encode()).hexdigest()[:16]
    return {
        "ruleId": f"gate-{check.name}",
        "ruleIndex": index,
        "level": "error",
        "message": {"text": f"The gate failed: {check.words}."},
        "locations": [
            {"physicalLocation": {"artifactLocation": dict(place), "region": {"startLine": 1}}}
        ],
        "partialFingerprints": {"primaryLocationLineHash": f"{fingerprint}:1"},
    }


def _text(root: ElementTree.Element) -> str:
    """Return a document with its counts put right."""
    for element in [root, *root.iter("testsuite")]:
        cases = list(element.iter("testcase"))
        element.set("tests", str(len(cases)))
        counted = {"failures": "failure", "errors": "error"}
        if element.tag == "testsuite":
            counted["skipped"] = "skipped"
        for attribute, tag in counted.items():
            element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
