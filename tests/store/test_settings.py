"""Settings come from the environment, and misspelt ones are noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from store.settings import Settings, SettingsError, get_settings, refuse_unknown


@pytest.fixture(autouse=True)
def _read_afresh() -> Iterator[None]:
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_the_defaults_need_no_server(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.embedded
    assert settings.database == f"sqlite:///{tmp_path / 'tightrope.sqlite3'}"
    assert settings.broker is None
    assert settings.heartbeat_seconds * 3 <= settings.lease_seconds
    assert settings.blob_dir.is_relative_to(tmp_path)
    assert settings.broker_dir.is_relative_to(tmp_path)


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIGHTROPE_BROKER_URL", "redis://:pa55word@host/0")
    monkeypatch.setenv("TIGHTROPE_WORKER_THREADS", "3")
    settings = get_settings()
    assert settings.broker == "redis://:pa55word@host/0"
    assert settings.worker_threads == 3
    assert not settings.embedded
    assert "pa55word" not in repr(settings)
    assert get_settings() is settings


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TIGHTROPE_LEASE_SECOND", "3", "TIGHTROPE_LEASE_SECOND;.*TIGHTROPE_LEASE_SECONDS"),
        ("TIGHTROPE_LEASE_SECONDS", "-1", "lease_seconds"),
        ("TIGHTROPE_QUEUES", "bounds,other", "queues"),
        ("TIGHTROPE_LOG_LEVEL", "LOUD", "log_level"),
    ],
)
def test_what_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=words):
        get_settings()


def test_variables_of_others_are_none_of_our_business() -> None:
    refuse_unknown({"PATH": "/bin", "TIGHT": "1", "TIGHTROPE_DEVICE": "cpu"})


def test_unknown_names_are_refused_in_code_too() -> None:
    with pytest.raises(ValidationError, match="lease"):
        Settings.model_validate({"lease": 3})
