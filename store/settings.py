"""Settings of the service's processes: one class, read once per process from the environment."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.errors import StoreError

__all__ = ["PREFIX", "Settings", "SettingsError", "get_settings", "refuse_unknown"]

PREFIX = "TIGHTROPE_"

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(gt=0)]


def _networks(text: str) -> str:
    """Return addresses and networks, separated by commas, as they came.

    Raises:
        ValueError: One of them is neither.
    """
    for name in filter(None, text.split(",")):
        ipaddress.ip_network(name.strip())
    return text


class SettingsError(StoreError):
    """A setting is unknown or has a value that cannot be used."""


class Settings(BaseSettings):
    """Every setting; each is read from `TIGHTROPE_` and its name in capitals.

    Attributes:
        data_dir: Folder of everything that has no server of its own.
        database_url: SQLAlchemy URL; unset means SQLite inside `data_dir`.
        broker_url: Celery broker; unset means files inside `data_dir`.
        allow_unauthenticated: Serve addresses that others can reach although nobody logs in.
        require_keys: Whether every request needs an API key; unset means: as soon as one was made.
        login_seconds: How long a login in a browser lasts.
        key_cache_seconds: For how long a key that was good is taken for good without asking the
            database, and thus how long one may be used that another process revokes; 0 to ask for
            every request.
        requests_per_minute, request_burst: Of one key, on average and at once after a pause.
        refusals_per_minute: From one address, with keys that are worth nothing.
        queued_jobs: Of one key, waiting at the same time.
        inputs_per_job: That one job of a key certifies.
        trusted_proxies: Whose `X-Forwarded-For` and `-Proto` are believed: addresses and networks,
            separated by commas.
        allowed_hosts: Names under which the service may be asked, separated by commas; unset means
            any, where keys are needed, and this machine's own where they are not.
        log_level: Least severe level that is logged.
        log_format: `text` for people, `json` with one object a line for programs.
        otlp_endpoint: Where traces go, over OTLP and HTTP; unset means that there are none.
        webhook_hosts: Where webhooks may go, separated by commas: names, `*.` and a domain, each
            with its port where it is not 80 or 443; empty means nowhere.
        webhook_private: Webhooks may go to addresses that are not public.
        webhook_secret: What webhooks are signed with, at least 32 characters.
        webhook_seconds: For one delivery.
        webhook_attempts: A delivery that failed so often is given up.
        max_upload_bytes: Largest network or data set.
        max_body_bytes: Largest JSON body.
        inspection_memory_bytes: Memory that reading one uploaded file may add.
        inspection_seconds: Time, wall and processor, for reading one uploaded file.
        device: Where workers compute: `auto`, `cpu` or `cuda`.
        worker_niceness: How far computing steps back behind the rest of the machine, from 0 to 19.
        worker_threads: Threads for arithmetic in one worker; unset means its share of the cores
            allowed, which the workers of one machine divide among themselves.
        worker_memory_bytes: Address space that one worker's computing may add to what loading it
            takes; unset means no limit of its own.
        stop_seconds: Computing that does not stop so long after it was told to is ended.
        queues: What a worker takes, separated by commas.
        poll_seconds: How often the file broker is looked at.
        cancel_poll_seconds: How often a running job looks for its own cancellation.
        lease_seconds: Work whose worker is silent for so long is taken again.
        heartbeat_seconds: How often a worker extends its lease.
        sweep_seconds: How often workers look for lost jobs.
        resend_seconds: A queued job is announced again after so long, then ever more rarely.
        max_training_parameters, max_training_inputs, max_training_epochs: Largest training.
        metrics_seconds: How often a training tells how it goes.
        events_poll_seconds: How often the API looks for news while somebody waits for some.
        events_heartbeat_seconds: How often a stream says that it is still there.
        events_longest_seconds: After so long a stream ends, and its client has to come back.
        report_seconds: How often a worker says that it lives, and adds to the figures.
        events_kept_seconds: How long the events of finished jobs are kept.
        max_attempts: A training that took down so many workers fails.
        visibility_timeout_seconds: When Redis hands out an unacknowledged message again. Work may
            last longer: who gets the message then finds the work taken.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Path("tightrope-data")
    database_url: SecretStr | None = None
    broker_url: SecretStr | None = None
    allow_unauthenticated: bool = False
    require_keys: bool | None = None
    login_seconds: Seconds = 12 * 3600.0
    key_cache_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0
    requests_per_minute: Annotated[int, Field(ge=1)] = 6000
    request_burst: Annotated[int, Field(ge=1)] = 1000
    refusals_per_minute: Annotated[int, Field(ge=1)] = 60
    queued_jobs: Annotated[int, Field(ge=1)] = 1000
    inputs_per_job: Annotated[int, Field(ge=1)] = 100_000
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    allowed_hosts: Annotated[str, Field(pattern=r"^[^\s/:*]*$")] = ""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    otlp_endpoint: str | None = None
    webhook_hosts: str = ""
    webhook_private: bool = False
    webhook_secret: Annotated[SecretStr, Field(min_length=32)] | None = None
    webhook_seconds: Seconds = 10.0
    webhook_attempts: Annotated[int, Field(ge=1)] = 8
    max_upload_bytes: Bytes = 512 * 2**20
    max_body_bytes: Bytes = 4 * 2**20
    inspection_memory_bytes: Bytes = 8 * 2**30
    inspection_seconds: Seconds = 120.0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    worker_niceness: Annotated[int, Field(ge=0, le=19)] = 10
    worker_threads: Annotated[int, Field(ge=1)] | None = None
    worker_memory_bytes: Bytes | None = None
    stop_seconds: Seconds = 10.0
    queues: Annotated[str, Field(pattern="^(bounds|exact)(,(bounds|exact))*$")] = "bounds,exact"
    poll_seconds: Seconds = 0.1
    cancel_poll_seconds: Seconds = 0.5
    lease_seconds: Seconds = 60.0
    heartbeat_seconds: Seconds = 10.0
    sweep_seconds: Seconds = 5.0
    resend_seconds: Seconds = 60.0
    max_attempts: Annotated[int, Field(ge=1)] = 5
    max_training_parameters: Annotated[int, Field(ge=1)] = 50_000_000
    max_training_inputs: Annotated[int, Field(ge=1)] = 1_000_000
    max_training_epochs: Annotated[int, Field(ge=1)] = 10_000
    metrics_seconds: Seconds = 0.5
    events_poll_seconds: Seconds = 0.1
    events_heartbeat_seconds: Seconds = 15.0
    events_longest_seconds: Seconds = 3600.0
    report_seconds: Seconds = 5.0
    events_kept_seconds: Seconds = 7 * 86_400.0
    visibility_timeout_seconds: Annotated[int, Field(gt=0)] = 6 * 3600

    @property
    def database(self) -> str:
        """URL of the database, password and all."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir.resolve() / 'tightrope.sqlite3'}"

    @property
    def broker(self) -> str | None:
        """URL of the broker, password and all; None for files inside `data_dir`."""
        return None if self.broker_url is None else self.broker_url.get_secret_value()

    @property
    def blob_dir(self) -> Path:
        """Folder of uploaded files."""
        return self.data_dir / "blobs"

    @property
    def checkpoint_dir(self) -> Path:
        """Folder of what unfinished trainings go on from."""
        return self.data_dir / "checkpoints"

    @property
    def broker_dir(self) -> Path:
        """Folder of the file broker."""
        return self.data_dir / "broker"

    @property
    def embedded(self) -> bool:
        """Whether this data folder holds database and broker, so that one process owns both."""
        return self.database_url is None and self.broker_url is None


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Check that every `TIGHTROPE_` variable is a setting, so that a misspelt one is noticed.

    Raises:
        SettingsError: One is not; the message lists them and every setting there is.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise SettingsError(
            f"unknown settings in the environment: {', '.join(unknown)}; "
            f"known are {', '.join(sorted(known))}"
        )


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return this process's settings, read from the environment on the first call.

    Raises:
        SettingsError: A variable is unknown or its value cannot be used.
    """
    refuse_unknown(os.environ)
    try:
        return Settings()
    except ValueError as error:
        raise SettingsError(f"the settings in the environment cannot be used: {error}") from error
