"""Messages in a folder: each is taken once, whole, in order."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty

import pytest
from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError

from tests.helpers.service import service_settings
from worker.app import RUN_JOB, JobQueue, create_celery
from worker.transport import FolderChannel, clear_messages


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    made = create_celery(service_settings(tmp_path))
    yield made
    made.close()


@pytest.fixture
def connection(app: Celery) -> Iterator[Connection]:
    with app.connection_for_read() as opened:
        yield opened


def take(channel: FolderChannel, queue: str) -> str:
    message = channel._get(queue)
    assert message["headers"]["task"] == RUN_JOB
    return str(message["headers"]["argsrepr"])


def test_messages_come_in_order_and_by_queue(app: Celery, connection: Connection) -> None:
    queue = JobQueue(app)
    for name in ("job_1", "job_2"):
        assert queue.send(name, "bounds")
    assert queue.send("job_3", "exact")
    channel = connection.default_channel
    assert [channel._size(name) for name in ("bounds", "exact")] == [2, 1]
    assert "job_1" in take(channel, "bounds")
    assert "job_2" in take(channel, "bounds")
    with pytest.raises(Empty):
        channel._get("bounds")
    assert "job_3" in take(channel, "exact")


def test_each_message_is_taken_by_one(app: Celery, connection: Connection) -> None:
    channel = connection.default_channel
    for number in range(40):
        channel._put("bounds", {"number": number})

    def take_all(_: int) -> list[int]:
        taken = []
        while True:
            try:
                taken.append(channel._get("bounds")["number"])
            except Empty:
                return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [number for numbers in pool.map(take_all, range(4)) for number in numbers]
    assert sorted(taken) == list(range(40))


def test_half_written_messages_are_not_seen(
    tmp_path: Path, app: Celery, connection: Connection
) -> None:
    channel = connection.default_channel
    channel._put("bounds", {"number": 1})
    messages = tmp_path / "broker" / "messages"
    (messages / "0.partial").write_text('{"half')
    assert channel._get("bounds") == {"number": 1}
    with pytest.raises(Empty):
        channel._get("bounds")
    channel._put("bounds", {"number": 2})
    clear_messages(tmp_path / "broker")
    assert list(messages.iterdir()) == []
    clear_messages(tmp_path / "no such folder")


def test_a_broker_that_is_away_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = service_settings(tmp_path, broker_url="redis://127.0.0.1:9/0")
    queue = JobQueue(create_celery(settings))
    assert not queue.send("job_1", "bounds")
    assert "job_1 is not announced yet" in caplog.text
    with pytest.raises(OperationalError, match="refused"):
        queue.ping()
    queue.close()


def test_the_folder_always_answers(app: Celery) -> None:
    JobQueue(app).ping()


def test_only_json_is_spoken(app: Celery) -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
    assert app.conf.task_acks_late
    assert app.conf.worker_prefetch_multiplier == 1


def test_workers_that_start_together_all_find_their_queues(connection: Connection) -> None:
    channel = connection.default_channel
    names = [f"queue-{number}" for number in range(8)]

    def bind_all(_: int) -> set[str]:
        for name in names:
            channel._queue_bind("", name, None, name)
            assert name in {row.queue for row in channel.get_table("")}
        return {row.routing_key for row in channel.get_table("")}

    with ThreadPoolExecutor(4) as pool:
        assert all(found == set(names) for found in pool.map(bind_all, range(4)))
    assert channel.get_table("another") == []
