"""Options: what is read, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from cli import options


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (options.EPSILON, "0", 0.0),
        (options.EPSILON, "3e-2", 0.03),
        (options.SECONDS, "0.5", 0.5),
        (options.NUMBERS, "0.49, 0.48,0.45", (0.49, 0.48, 0.45)),
        (options.TARGETS, "3,7", (3, 7)),
        (options.METHODS, "crown, ibp,crown", ("crown", "ibp")),
        (options.VALID_RANGE, "-1,1", (-1.0, 1.0)),
        (options.VALID_RANGE, "none", None),
        (options.OUTPUT_FILE, "-", Path("-")),
    ],
)
def test_good_texts(kind: click.ParamType[object], text: str, value: object) -> None:
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (options.EPSILON, "-0.1", "0 or more"),
        (options.EPSILON, "nan", "0 or more"),
        (options.EPSILON, "inf", "0 or more"),
        (options.EPSILON, "small", "not a number"),
        (options.SECONDS, "0", "above 0"),
        (options.SECONDS, "-3", "above 0"),
        (options.NUMBERS, "0.5,x", "separated by commas"),
        (options.TARGETS, "1.5", "separated by commas"),
        (options.METHODS, "crown,magic", "no method 'magic'; the methods are ibp, crown-ibp"),
        (options.METHODS, ",", "at least one"),
        (options.VALID_RANGE, "0", "LOW,HIGH"),
        (options.VALID_RANGE, "1,0", "LOW < HIGH"),
        (options.VALID_RANGE, "0,inf", "LOW < HIGH"),
        (options.OUTPUT_FILE, "/", "is a folder"),
        (options.OUTPUT_FILE, "/no/such/folder/out.json", "does not exist; create it"),
    ],
)
def test_bad_texts_are_refused_with_what_would_do(
    kind: click.ParamType[object], text: str, words: str
) -> None:
    with pytest.raises(click.BadParameter, match=words):
        kind.convert(text, None, None)


def test_an_output_folder_without_room_is_found_out_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(click.BadParameter, match="Read-only file system"):
        options.OUTPUT_FILE.convert(str(tmp_path / "out.json"), None, None)
