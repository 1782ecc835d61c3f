"""Webhooks: signed, told again, and never led astray; against a receiver on a real port."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from store.counters import Counters
from store.deliveries import Deliveries
from store.job_tables import DeliveryRow
from store.states import JobState, Origin
from tests.helpers.imports import ROOT
from tests.helpers.receivers import Receiver, receiving
from tests.helpers.service import World, service_settings, wait_until
from worker.destinations import resolve
from worker.meters import Meters
from worker.reporter import Reporter
from worker.webhooks import Deliverer, project_secret, signature

SECRET = "s" * 40
HOST = "hooks.example.org"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


class Post:
    """A deliverer with a resolver of its own, and what it did."""

    def __init__(
        self, world: World, receiver: Receiver, *, addresses: Sequence[str] = ("127.0.0.1",),
        **changes: object,
    ) -> None:  # fmt: skip
        stated: dict[str, object] = {
            "webhook_hosts": f"{HOST}:{receiver.port}",
            "webhook_secret": SECRET,
            "webhook_private": True,
            "webhook_seconds": 5.0,
        }
        self.settings = service_settings(world.settings.data_dir, **{**stated, **changes})
        self.world = world
        self.asked: list[str] = []
        self.addresses = list(addresses)
        self.meters = Meters()
        self.deliveries = Deliveries(world.database)
        self.deliverer = Deliverer(
            self.deliveries, self.settings, self.meters, resolver=self.resolve
        )

    def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(f"{host}:{port}")
        # A name that leads elsewhere each time it is asked for.
        return [self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]]

    def only(self, job_id: str) -> DeliveryRow:
        (row,) = self.deliveries.of_job(job_id)
        return row

    def hurry(self) -> None:
        with self.world.database.write() as session:
            session.execute(update(DeliveryRow).values(next_attempt_at=datetime.now(UTC)))


def finished(world: World, url: str | None) -> str:
    row = world.certify(origin=Origin(url))
    world.jobs.request_cancel(row.id)
    return row.id


def test_a_delivery_is_signed_and_says_what_happened(world: World, receiver: Receiver) -> None:
    post = Post(world, receiver)
    job = finished(world, receiver.url(HOST))
    assert post.only(job).state == "pending"
    assert post.deliverer.deliver() == 1
    ((headers, body),) = receiver.got
    told = json.loads(body)
    assert told["event"] == "job.finished"
    assert (told["job"]["id"], told["job"]["state"]) == (job, "cancelled")
    assert headers["Tightrope-Delivery"] == told["id"] == post.only(job).id
    assert headers["Host"] == f"{HOST}:{receiver.port}"
    # As the documentation tells receivers to check it.
    secret = project_secret(SECRET, "default")
    signed = headers["Tightrope-Timestamp"].encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["Tightrope-Signature"] == f"v1={expected}"
    row = post.only(job)
    assert (row.state, row.status, row.attempts, row.error) == ("delivered", 200, 1, None)
    assert post.deliverer.deliver() == 0


def test_the_check_in_the_documentation_is_right(world: World, receiver: Receiver) -> None:
    post = Post(world, receiver)
    finished(world, receiver.url(HOST))
    post.deliverer.deliver()
    ((headers, body),) = receiver.got
    text = (ROOT / "docs" / "events.md").read_text()
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)  # noqa: S102 (our own words)
    genuine = names["is_genuine"]
    secret = project_secret(SECRET, "default")
    assert genuine(secret, headers, body)
    assert not genuine(secret, headers, body + b" ")
    assert not genuine(project_secret(SECRET, "other"), headers, body)
    assert not genuine(secret, {**headers, "Tightrope-Timestamp": "1893456000"}, body)


def test_signatures_hold_for_one_body_moment_and_project() -> None:
    secret = project_secret(SECRET, "a")
    plain = signature(secret, 5, b"x")
    assert len({
        plain, signature(secret, 6, b"x"), signature(secret, 5, b"y"),
        signature(project_secret(SECRET, "b"), 5, b"x"),
    }) == 4  # fmt: skip
    assert plain == signature(secret, 5, b"x")


def test_jobs_without_a_webhook_and_jobs_that_go_on_tell_nobody(
    world: World, receiver: Receiver
) -> None:
    post = Post(world, receiver)
    finished(world, None)
    row = world.certify(origin=Origin(receiver.url(HOST)))
    assert world.jobs.claim(row.id, "w")
    assert world.jobs.release(row.id, "w")
    assert post.deliverer.deliver() == 0
    assert world.jobs.claim(row.id, "w")
    world.jobs.finish(row.id, "w", JobState.FAILED, error={"type": "X", "message": "it failed"})
    assert post.deliverer.deliver() == 1
    assert json.loads(receiver.got[0][1])["job"]["error"]["message"] == "it failed"


def test_a_receiver_that_fails_is_told_again_under_the_same_id(
    world: World, receiver: Receiver
) -> None:
    post = Post(world, receiver)
    receiver.answers = [500, 503, 204]
    job = finished(world, receiver.url(HOST))
    post.deliverer.deliver()
    row = post.only(job)
    assert (row.state, row.status, row.attempts) == ("pending", 500, 1)
    assert row.next_attempt_at is not None
    first = (row.next_attempt_at - row.created_at).total_seconds()
    assert first > 7  # not at once
    assert post.deliverer.deliver() == 0
    post.hurry()
    post.deliverer.deliver()
    second = post.only(job).next_attempt_at
    assert second is not None
    assert (second - datetime.now(UTC)).total_seconds() > 25  # ever more rarely
    post.hurry()
    post.deliverer.deliver()
    assert post.only(job).state == "delivered"
    assert len({headers["Tightrope-Delivery"] for headers, _ in receiver.got}) == 1
    counters = Counters(world.database)
    post.meters.flush(counters)
    series = 'tightrope_webhook_attempts_total{outcome="%s"}'
    found = counters.read()
    assert (found[series % "retried"], found[series % "delivered"]) == (2, 1)


def test_attempts_end(world: World, receiver: Receiver) -> None:
    post = Post(world, receiver, webhook_attempts=2)
    receiver.answers = [500]
    job = finished(world, receiver.url(HOST))
    for _ in range(3):
        post.deliverer.deliver()
        if post.only(job).state == "pending":
            post.hurry()
    row = post.only(job)
    assert (row.state, row.attempts, row.next_attempt_at) == ("failed", 2, None)
    assert len(receiver.got) == 2


def test_a_receiver_that_is_gone_is_not_told_again(world: World, receiver: Receiver) -> None:
    post = Post(world, receiver)
    receiver.answers = [410]
    job = finished(world, receiver.url(HOST))
    post.deliverer.deliver()
    assert post.only(job).state == "failed"


def test_a_delivery_whose_deliverer_died_is_taken_again(world: World, receiver: Receiver) -> None:
    post = Post(world, receiver)
    job = finished(world, receiver.url(HOST))
    (taken,) = post.deliveries.take(limit=5, seconds=0.0)
    assert taken.attempt == 1
    post.deliverer.deliver()
    row = post.only(job)
    assert (row.state, row.attempts) == ("delivered", 2)
    post.deliveries.settle(taken, status=None, error="late", again_after=1.0)
    assert post.only(job).state == "delivered"


def test_redirects_are_not_followed(world: World, receiver: Receiver) -> None:
    with receiving() as inside:
        post = Post(world, receiver)
        receiver.answers, receiver.location = [302], inside.url("127.0.0.1")
        job = finished(world, receiver.url(HOST))
        post.deliverer.deliver()
        assert inside.got == []
    row = post.only(job)
    assert (row.status, row.state) == (302, "pending")
    assert "redirects are not followed" in (row.error or "")


def test_a_name_that_leads_inside_is_refused(world: World, receiver: Receiver) -> None:
    post = Post(world, receiver, webhook_private=False)
    job = finished(world, receiver.url(HOST))
    post.deliverer.deliver()
    assert receiver.got == []
    assert "127.0.0.1, which is not a public address" in (post.only(job).error or "")


def test_a_name_that_changes_its_mind_is_asked_once(world: World, receiver: Receiver) -> None:
    """DNS rebinding: public when it is looked at, private when it is connected to."""
    post = Post(world, receiver, addresses=["203.0.113.7", "127.0.0.1"], webhook_seconds=0.5)
    job = finished(world, receiver.url(HOST))
    post.deliverer.deliver()
    assert post.asked == [f"{HOST}:{receiver.port}"]
    assert receiver.got == []
    assert post.only(job).state == "pending"


def test_a_receiver_that_answers_byte_by_byte_is_left(world: World, receiver: Receiver) -> None:
    post = Post(world, receiver, webhook_seconds=0.4)
    receiver.slow_seconds = 0.05
    job = finished(world, receiver.url(HOST))
    post.deliverer.deliver()
    assert post.only(job).error == "no answer within 0.4 s"


def test_a_host_that_is_allowed_no_more_is_not_told(world: World, receiver: Receiver) -> None:
    post = Post(world, receiver, webhook_hosts="other.example")
    job = finished(world, receiver.url(HOST))
    post.deliverer.deliver()
    assert receiver.got == []
    assert "none of the hosts" in (post.only(job).error or "")


def test_a_receiver_that_is_not_there(world: World, receiver: Receiver) -> None:
    post = Post(world, receiver, webhook_hosts=f"{HOST}:9")
    job = finished(world, f"http://{HOST}:9/")
    post.deliverer.deliver()
    assert "ConnectError" in (post.only(job).error or "")


def test_a_worker_delivers(world: World, receiver: Receiver) -> None:
    post = Post(world, receiver, webhook_hosts=f"localhost:{receiver.port}")
    job = finished(world, receiver.url("localhost"))
    assert "127.0.0.1" in resolve("localhost", 80)
    with Reporter(post.settings, name="w"):
        wait_until(lambda: post.only(job).state == "delivered")
