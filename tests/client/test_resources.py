"""Every operation against the service's own application, by both clients."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from store.settings import Settings as StoreSettings
from tests.client.conftest import KINDS, Either, Fake, Operation, perform
from tests.helpers.service import (
    JUDGEMENT,
    REPLAY,
    FakeInspector,
    FakeQueue,
    World,
    item,
    service_settings,
    serving,
)
from tightrope_client import (
    AsyncClient,
    Client,
    ConfigurationError,
    ConflictError,
    CounterexampleReplay,
    InvalidRequestError,
    KeyRequest,
    NotFoundError,
    ProofCheck,
    Question,
    TrainingRequest,
    access,
    jobs,
    resources,
    uploads,
)
from worker.inspector import RejectedFileError


@dataclass(frozen=True)
class Service:
    """A service whose jobs nobody takes, for one kind of client."""

    kind: str
    url: str
    world: World
    inspector: FakeInspector

    def do(self, operation: Operation) -> Either:
        """Return what an operation of a client comes to."""
        if self.kind == "sync":
            with Client(self.url) as client:
                found = operation(client)
                return list(found) if inspect.isgenerator(found) else found

        async def act() -> Either:
            async with AsyncClient(self.url) as client:
                found = operation(client)
                if inspect.isasyncgen(found):
                    return [entry async for entry in found]
                return await found

        return asyncio.run(act())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World, FakeInspector]]:
    settings = service_settings(tmp_path_factory.mktemp("service"), require_keys=False)
    world, inspector = World(settings), FakeInspector()
    with serving(create_app(settings, inspector=inspector, queue=FakeQueue())) as client:
        yield str(client.base_url), world, inspector
    world.close()


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest, running: tuple[str, World, FakeInspector]) -> Service:
    url, world, inspector = running
    world.reset()
    inspector.reset()
    return Service(request.param, url, world, inspector)


def test_a_file_is_sent_once(served: Service, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"content" * 100_000)
    made = served.do(lambda client: client.networks.upload(file))
    assert (made.name, made.size_bytes) == ("net.onnx", 700_000)
    again = served.do(lambda client: client.networks.upload(str(file)))
    copied = served.do(lambda client: client.networks.upload(file.read_bytes()))
    assert made == again == copied
    assert len(served.inspector.seen) == 1
    named = served.do(lambda client: client.networks.upload(file, name="other"))
    assert (named.name, named.sha256) == ("other", made.sha256)
    assert named.id != made.id
    target = tmp_path / "back.onnx"
    served.do(lambda client: client.networks.download(made.id, target))
    assert target.read_bytes() == file.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.onnx", "net.onnx"]
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    listed = served.do(lambda client: client.networks.list(sha256=sha256))
    assert [entry.id for entry in listed] == [named.id, made.id]
    assert served.do(lambda client: client.networks.get(made.id)) == made
    served.do(lambda client: client.networks.delete(made.id))
    with pytest.raises(NotFoundError):
        served.do(lambda client: client.networks.get(made.id))


def test_a_file_that_is_refused_or_missing(served: Service, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="node 'a' is odd") as caught:
        served.do(lambda client: client.networks.upload(b"BAD", name="bad.onnx"))
    assert caught.value.kind == "unsupported-operator"
    with pytest.raises(ConfigurationError, match="there is no file"):
        served.do(lambda client: client.datasets.upload(tmp_path / "none.npz"))
    target = tmp_path / "target"
    with pytest.raises(NotFoundError):
        served.do(lambda client: client.networks.download("net_1", target))
    assert not target.exists()


def test_a_certification(served: Service) -> None:
    question = Question(dataset_id=served.world.dataset, epsilon=0.1, methods=["crown"], count=2)
    network = served.world.network
    made = served.do(lambda client: client.certifications.create(network, question))
    assert (made.state, made.settings.indices) == ("queued", [0, 1])
    assert served.do(lambda client: client.jobs.get(made.id)).url.endswith(made.id)
    listed = served.do(lambda client: client.certifications.list(state="queued", network=network))
    assert listed == [made]
    assert [job.id for job in served.do(lambda client: client.jobs.list())] == [made.id]
    with pytest.raises(ConflictError):
        served.do(lambda client: client.certifications.junit(made.id))
    cancelled = served.do(lambda client: client.certifications.cancel(made.id))
    assert cancelled.state == "cancelled"
    assert served.do(lambda client: client.certifications.wait(made.id)) == cancelled
    served.do(lambda client: client.certifications.delete(made.id))
    assert served.do(lambda client: client.certifications.list()) == []


def test_the_same_key_is_the_same_job(served: Service) -> None:
    question = Question(dataset_id=served.world.dataset, epsilon=0.1)
    ids = {
        served.do(
            lambda client: client.certifications.create(
                served.world.network, question, idempotency_key="build-1"
            )
        ).id
        for _ in range(2)
    }
    assert len(ids) == 1


def test_what_a_certification_found(served: Service) -> None:
    job = served.world.finish()
    items = served.do(lambda client: client.certifications.items(job))
    assert [item.index for item in items] == [0, 1, 2]
    assert served.do(lambda client: client.certifications.items(job, verdict="unknown")) == []
    assert served.do(lambda client: client.certifications.get(job)).summary.verified_accuracy == 1
    assert served.do(lambda client: client.certifications.report(job))["summary"]["count"] == 3
    starts = {"csv": "index,label", "html": "<!", "junit": "<?xml", "sarif": "{"}
    for name, start in starts.items():
        found = served.do(lambda client, name=name: getattr(client.certifications, name)(job))
        assert found.startswith(start), name
    place = served.do(lambda client: client.certifications.sarif(job, uri="a/b.onnx"))
    assert '"uri": "a/b.onnx"' in place


def test_pages_follow_each_other(served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (access, jobs, resources, uploads):
        monkeypatch.setattr(module, "PAGE_ENTRIES", 2)
    job = served.world.finish((0, 1, 2, 3, 4))
    items = served.do(lambda client: client.certifications.items(job))
    assert [item.index for item in items] == [0, 1, 2, 3, 4]


def test_a_comparison(served: Service) -> None:
    other = served.do(lambda client: client.networks.upload(b"other", name="o.onnx"))
    question = Question(dataset_id=served.world.dataset, epsilon=0.1)
    network = served.world.network
    made = served.do(lambda client: client.comparisons.create(network, [other.id], question))
    assert (made.baseline.id, [entry.id for entry in made.candidates]) == (network, [other.id])
    assert served.do(lambda client: client.comparisons.items(made.id, network=other.id)) == []
    assert served.do(lambda client: client.comparisons.list(network=other.id)) == [made]
    served.do(lambda client: client.comparisons.cancel(made.id))
    assert "tests" in served.do(lambda client: client.comparisons.junit(made.id))


def test_a_training(served: Service) -> None:
    asked = TrainingRequest(
        dataset_id=served.world.dataset, architecture="mlp:8", epsilon=0.05, epochs=2,
        optimiser={"learning_rate": 0.01},
    )  # fmt: skip
    made = served.do(lambda client: client.trainings.create(asked))
    assert made.settings["optimiser"]["learning_rate"] == 0.01
    assert served.do(lambda client: client.trainings.metrics(made.id)) == []
    assert served.do(lambda client: client.trainings.artifacts(made.id)) == []
    assert served.do(lambda client: client.trainings.csv(made.id)).startswith("arm,step")
    served.do(lambda client: client.trainings.cancel(made.id))
    assert "skipped" in served.do(lambda client: client.trainings.junit(made.id))


def with_evidence(served: Service) -> str:
    """Return a certification with a proof of input 0 and a counterexample to input 1."""
    world = served.world
    asked = Question(dataset_id=world.dataset, epsilon=0.1, methods=["crown"], count=2, proofs=True)
    made = served.do(lambda client: client.certifications.create(world.network, asked))
    assert made.settings.proof_timeout_seconds == 60
    assert world.jobs.claim(made.id, "w")
    proof = b64encode(b"a proof").decode()
    found = {"x": [0.1, 0.2, 0.3, 0.4], "y": [0.0, 1.0, 0.0]}
    world.certifications.add_item(made.id, "w", item(0, proof_file=proof))
    world.certifications.add_item(made.id, "w", item(1, "falsified", counterexample=found))
    identifier: str = made.id
    return identifier


def test_proofs_and_counterexamples_are_downloaded(served: Service, tmp_path: Path) -> None:
    made, target = with_evidence(served), tmp_path / "target"
    served.do(lambda client: client.certifications.proof(made, 0, target))
    assert target.read_bytes() == b"a proof"
    served.do(lambda client: client.certifications.counterexample(made, 1, target))
    assert target.read_bytes().startswith(b"PK")
    with pytest.raises(NotFoundError):
        served.do(lambda client: client.certifications.proof(made, 1, target))


def test_proofs_are_checked_by_the_server(served: Service) -> None:
    made = with_evidence(served)
    checked = served.do(lambda client: client.certifications.check_proof(made, 0))
    assert checked == ProofCheck(**JUDGEMENT)
    assert [(one.index, one.settings["epsilon"]) for one in served.inspector.judged] == [(0, 0.1)]
    refused = {**JUDGEMENT, "accepted": False, "reason": "leaf 3 proves nothing", "margin": None}
    served.inspector.judgement = refused
    told = served.do(lambda client: client.certifications.check_proof(made, 0))
    assert (told.accepted, told.reason) == (False, "leaf 3 proves nothing")
    with pytest.raises(NotFoundError, match="proof of input"):
        served.do(lambda client: client.certifications.check_proof(made, 1))
    served.inspector.judgement = RejectedFileError("ResourceLimitError", "checking was stopped")
    with pytest.raises(InvalidRequestError, match="checking was stopped"):
        served.do(lambda client: client.certifications.check_proof(made, 0))


def test_counterexamples_are_run_again_by_the_server(served: Service) -> None:
    made = with_evidence(served)
    found = served.do(lambda client: client.certifications.replay_counterexample(made, 1))
    assert found == CounterexampleReplay(**REPLAY)
    assert [one.x for one in served.inspector.replayed] == [[0.1, 0.2, 0.3, 0.4]]
    nothing = dict.fromkeys(("answer", "margin", "difference"))
    served.inspector.replay_found = {
        **REPLAY, **nothing, "confirmed": False, "reason": "it lies outside",
    }  # fmt: skip
    told = served.do(lambda client: client.certifications.replay_counterexample(made, 1))
    assert (told.confirmed, told.reason, told.margin) == (False, "it lies outside", None)
    with pytest.raises(NotFoundError, match="counterexample to input"):
        served.do(lambda client: client.certifications.replay_counterexample(made, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_is_waited_for_longer_than_other_answers(kind: str) -> None:
    server = Fake(httpx.Response(200, json=JUDGEMENT))
    perform(kind, server, lambda client: client.certifications.check_proof("cer_1", 0))
    (request,) = server.requests
    assert request.url.path == "/v1/certifications/cer_1/items/0/proof/check"
    given = request.extensions["timeout"]
    assert given["read"] >= given["connect"] + 2 * StoreSettings().inspection_seconds


def test_operations_are_described() -> None:
    for kind in (uploads.Networks, resources.Certifications, resources.Trainings):
        for name in ("get", "list", "delete"):
            assert getattr(kind, name).__doc__
    with Client("http://server.test") as client:
        assert client.networks.upload.__doc__
        assert client.networks.upload.__name__ == "upload"


def test_keys_are_made_shown_once_listed_and_revoked(served: Service) -> None:
    asked = KeyRequest(name="ci", scopes=("read",), valid_days=30)
    made = served.do(lambda client: client.keys.create(asked))
    assert made.key.startswith(f"trk_{made.id.removeprefix('key_')}_")
    assert made.key not in repr(made)
    assert made.scopes == ["read"]
    assert made.expires_at is not None
    kept = served.do(lambda client: client.keys.get(made.id))
    assert not hasattr(kept, "key")
    other = served.do(lambda client: client.keys.create(KeyRequest(name="other")))
    assert other.scopes == ["read", "submit"]
    listed = served.do(lambda client: client.keys.list())
    assert [key.id for key in listed] == [other.id, made.id]
    for _ in range(2):
        assert served.do(lambda client: client.keys.revoke(made.id)).revoked_at is not None
    with pytest.raises(NotFoundError, match="key"):
        served.do(lambda client: client.keys.get("key_nowhere"))


def test_webhooks_tell_how_it_went_and_what_they_are_signed_with(served: Service) -> None:
    job = served.world.certify()
    assert served.do(lambda client: client.jobs.deliveries(job.id)) == []
    with pytest.raises(NotFoundError, match="secret"):
        served.do(lambda client: client.webhooks.secret())
