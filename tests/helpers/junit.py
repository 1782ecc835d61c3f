"""The structure of JUnit XML as its readers (Jenkins, GitLab, GitHub's actions) take it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

TEXT = r"[\s\S]*"
COUNT = r"\d+"
SECONDS = r"\d+\.\d{3}"
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"


@dataclass(frozen=True)
class Element:
    """What may be in an element: attributes with the form of their values, children in order."""

    required: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    children: tuple[str, ...] = ()


_COUNTS = {"tests": COUNT, "failures": COUNT, "errors": COUNT}
SCHEMA: Mapping[str, Element] = {
    "testsuites": Element({"name": TEXT, **_COUNTS}, {"time": SECONDS}, ("testsuite",)),
    "testsuite": Element(
        {"name": TEXT, **_COUNTS},
        {"skipped": COUNT, "time": SECONDS, "timestamp": MOMENT},
        ("properties", "testcase"),
    ),
    "properties": Element(children=("property",)),
    "property": Element({"name": TEXT, "value": TEXT}),
    "testcase": Element(
        {"classname": TEXT, "name": TEXT},
        {"time": SECONDS},
        ("skipped", "error", "failure", "system-out"),
    ),
    "skipped": Element(optional={"message": TEXT}),
    "error": Element({"message": TEXT, "type": TEXT}),
    "failure": Element({"message": TEXT, "type": TEXT}),
    "system-out": Element(),
}


def check_junit(text: str) -> ElementTree.Element:
    """Check a document against the schema and its own counts; return its root."""
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ElementTree.fromstring(text.encode("utf-8"))  # noqa: S314 (our own)
    assert root.tag == "testsuites"
    _check(root)
    for suite in [root, *root.iter("testsuite")]:
        cases = list(suite.iter("testcase"))
        assert suite.get("tests") == str(len(cases))
        for attribute, tag in (("failures", "failure"), ("errors", "error")):
            assert suite.get(attribute) == str(len(list(suite.iter(tag))))
        if suite.tag == "testsuite":
            assert suite.get("skipped") == str(len(list(suite.iter("skipped"))))
            names = [(case.get("classname"), case.get("name")) for case in cases]
            assert len(names) == len(set(names)), "a reader tells tests apart by their names"
    for case in root.iter("testcase"):
        assert len([child for child in case if child.tag != "system-out"]) <= 1
    return root


def outcomes(root: ElementTree.Element) -> dict[str, str]:
    """Return what became of each test, by its name: `passed` or the tag of its outcome."""
    return {
        str(case.get("name")): next(
            (child.tag for child in case if child.tag != "system-out"), "passed"
        )
        for case in root.iter("testcase")
    }


def _check(element: ElementTree.Element) -> None:
    known = SCHEMA[element.tag]
    assert set(known.required) <= set(element.attrib), element.tag
    for name, value in element.attrib.items():
        form = {**known.required, **known.optional}[name]
        assert re.fullmatch(form, value), f"{element.tag} {name}={value!r}"
    order = [known.children.index(child.tag) for child in element]
    assert order == sorted(order), f"children of {element.tag} are out of order"
    for child in element:
        _check(child)
