"""The demonstration from start to end, on one small network and few inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from examples import demo, digits
from examples.demo import percent


def untrained(*_arguments: object) -> dict[str, nn.Sequential]:
    return {"digits-small": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))}


def test_the_demonstration_ends_with_a_table_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(digits, "networks", untrained)
    options = ["--count", "4", "--epsilon", "0.01", "--folder", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["demo", *options])
    assert demo.main() == 0
    printed = capsys.readouterr().out
    for line in ("clean accuracy", "certified, ibp", "certified, exact", "mean gap, crown"):
        assert line in printed
    page = tmp_path / "digits-small.html"
    assert page.as_uri() in printed
    assert "digits-small" in page.read_text(encoding="utf-8")


def test_a_service_that_does_not_start_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "data"
    blocked.write_text("a file where a folder should be")
    with (
        pytest.raises(RuntimeError, match="did not start"),
        demo.running_service(blocked, tmp_path / "log"),
    ):
        pass


@pytest.mark.parametrize(("share", "text"), [(None, "–"), (0.5, "50.0 %"), (1.0, "100.0 %")])
def test_shares_are_percents(share: float | None, text: str) -> None:
    assert percent(share) == text
