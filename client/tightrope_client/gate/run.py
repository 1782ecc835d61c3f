"""The gate's work: upload what is not there, ask, follow, judge, write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from tightrope_client.client import Client
from tightrope_client.errors import (
    ClientError,
    ConfigurationError,
    JobFailedError,
    WaitTimeoutError,
)
from tightrope_client.flows import LONGEST_HOLD_SECONDS
from tightrope_client.gate.arguments import GateArguments
from tightrope_client.gate.console import Console, write_all
from tightrope_client.gate.documents import failed_junit, gate_junit, gate_sarif, repository_path
from tightrope_client.gate.outcome import Outcome, judge
from tightrope_client.gate.table import markdown, plain
from tightrope_client.models import Certification, Comparison, Dataset, Network
from tightrope_client.resources import Certifications, Comparisons
from tightrope_client.runners import SyncRunner
from tightrope_client.settings import RetryPolicy
from tightrope_client.uploads import Datasets, Networks

__all__ = ["Connect", "run"]

Connect = Callable[[RetryPolicy], Client]
Answered = Certification | Comparison
Ask = Callable[[Client], Answered]

_IDENTIFIER = re.compile(r"(net|dat)_[0-9a-z]{26}")
_SECONDS_BETWEEN_PROGRESS = 1.0
# Whoever interrupts does not want to wait; the server forgets nothing if this fails.
_CANCELLING = RetryPolicy(patience_seconds=3.0)


def run(arguments: GateArguments, console: Console, connect: Connect) -> bool:
    """Return whether the gate is passed.

    Args:
        arguments: What is asked.
        console: For the table and for progress.
        connect: Opens a client that has so much patience.

    Raises:
        ClientError: There is no verdict; a file for JUnit XML says so too.
        KeyboardInterrupt: Somebody interrupted; the job is cancelled unless it is to be left.
    """
    with connect(RetryPolicy(patience_seconds=arguments.patience)) as client:
        try:
            job = _finished(client, arguments, console, connect)
        except (JobFailedError, WaitTimeoutError) as error:
            if arguments.junit is not None:
                write_all({arguments.junit: failed_junit(str(error))})
            raise
        resource = _resource(client, job)
        url = f"{client.settings.server.rstrip('/')}/{resource.path}/{job.id}/report.html"
        outcome = judge(job, arguments, url=url)
        _write(outcome, arguments, resource)
    console.result(plain(outcome) if not arguments.quiet else f"{_line(outcome)}\n")
    return outcome.passed


def _finished(
    client: Client, arguments: GateArguments, console: Console, connect: Connect
) -> Answered:
    """Return the job that answers, once it has succeeded."""
    ask = _question(client, arguments, console)
    job: Answered | None = None
    try:
        job = ask(client)
        console.progress(job)
        poll = _SECONDS_BETWEEN_PROGRESS if console.shows_progress else LONGEST_HOLD_SECONDS
        done = _resource(client, job).wait(
            job.id,
            timeout_seconds=arguments.deadline,
            poll_seconds=poll,
            progress=console.progress,
        )
    except (KeyboardInterrupt, WaitTimeoutError):
        if arguments.detach:
            name = "the job" if job is None else job.id
            console.warn(f"{name} goes on; the same command takes over what it finds")
        else:
            _cancel(job, ask, console, connect)
        raise
    return done.require_success()


def _question(client: Client, arguments: GateArguments, console: Console) -> Ask:
    """Return what asks, with everything uploaded that the answer needs.

    Asking again does not make a second job, so that one can be found again whose id was lost.
    """
    console.note(f"looking for {arguments.network} on {client.settings.server}")
    network = _network(client.networks, arguments.network, "--network")
    question = arguments.about(_dataset(client.datasets, arguments.data).id)
    key = uuid4().hex
    if arguments.baseline is None:
        return lambda to: to.certifications.create(network.id, question, idempotency_key=key)
    baseline = _network(client.networks, arguments.baseline, "--baseline")
    return lambda to: to.comparisons.create(
        baseline.id, [network.id], question, idempotency_key=key
    )


def _network(networks: Networks[SyncRunner], given: str, option: str) -> Network:
    if Path(given).is_file():
        return networks.upload(given)
    return networks.get(_identifier(given, option, "an ONNX file"))


def _dataset(datasets: Datasets[SyncRunner], given: str) -> Dataset:
    if Path(given).is_file():
        return datasets.upload(given)
    return datasets.get(_identifier(given, "--data", "an .npz file with x and y"))


def _identifier(given: str, option: str, wanted: str) -> str:
    if not _IDENTIFIER.fullmatch(given):
        raise ConfigurationError(
            f"{option}: there is no file {given}; give {wanted}, or the id of one on the server"
        )
    return given


def _resource(
    client: Client, job: Answered
) -> Certifications[SyncRunner] | Comparisons[SyncRunner]:
    """Return where a job is."""
    return client.comparisons if isinstance(job, Comparison) else client.certifications


def _cancel(job: Answered | None, ask: Ask, console: Console, connect: Connect) -> None:
    """Cancel a job that nobody waits for any more; also one that was just being asked for."""
    name = "the job" if job is None else job.id
    try:
        with connect(_CANCELLING) as client:
            name = (job or ask(client)).id
            client.jobs.cancel(name)
    except (ClientError, KeyboardInterrupt) as error:
        console.warn(f"{name} could not be cancelled and may go on: {error}")
    else:
        console.warn(f"{name} was cancelled")


def _write(
    outcome: Outcome,
    arguments: GateArguments,
    resource: Certifications[SyncRunner] | Comparisons[SyncRunner],
) -> None:
    """Write the files that were asked for."""
    texts: dict[Path, str] = {}
    job_id = outcome.job.id
    if arguments.junit is not None:
        texts[arguments.junit] = gate_junit(outcome.checks, resource.junit(job_id))
    if arguments.sarif is not None:
        path = Path(arguments.network)
        uri = repository_path(path) if path.is_file() else None
        inputs = resource.sarif(job_id, uri=uri)
        texts[arguments.sarif] = gate_sarif(outcome.checks, inputs)
    if arguments.html is not None:
        texts[arguments.html] = resource.html(job_id)
    if arguments.json is not None:
        texts[arguments.json] = json.dumps(outcome.to_json(), indent=2, ensure_ascii=False) + "\n"
    if arguments.markdown is not None:
        before = ""
        with suppress(FileNotFoundError):
            before = arguments.markdown.read_text(encoding="utf-8", errors="replace")
        texts[arguments.markdown] = before + markdown(outcome)
    write_all(texts)


def _line(outcome: Outcome) -> str:
    failed = [check.words for check in outcome.checks if not check.passed]
    return "gate passed" if outcome.passed else f"gate failed: {'; '.join(failed)}"
