"""The resources of the server and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from tightrope_client.calls import (
    Call,
    Page,
    Paging,
    Request,
    delete,
    document,
    get,
    page_of,
    post,
    read_nothing,
    reads,
)
from tightrope_client.errors import ConfigurationError
from tightrope_client.flows import LONGEST_HOLD_SECONDS, Flow, content_hash, wait
from tightrope_client.models import (
    Artifact,
    ArtifactList,
    Certification,
    Comparison,
    Dataset,
    Item,
    Job,
    JobBase,
    Metric,
    MetricPage,
    Network,
    Question,
    Training,
    TrainingRequest,
    Upload,
)
from tightrope_client.operations import R, Resource, operation, paged

__all__ = ["Certifications", "Comparisons", "Datasets", "Jobs", "Networks", "Trainings"]

U = TypeVar("U", bound=Upload)
J = TypeVar("J", bound=JobBase)
PAGE_ENTRIES = 200
_REPORT = reads(dict[str, Any])


def _path_of(file: str | Path) -> Path:
    path = Path(file)
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}")
    return path


class _Uploads(Resource[R], Generic[R, U]):
    """Files of one kind."""

    path: ClassVar[str]
    _kind: ClassVar[type[Upload]]

    @operation
    def upload(self, file: str | Path | bytes, *, name: str | None = None) -> Flow[U]:
        """Return the resource of a file; it is sent only if the server does not have it.

        Args:
            file: Path, or the content itself.
            name: For people; the file's own if absent, and then any name it has on the server
                will do.

        Raises:
            ConfigurationError: There is no such file.
            InvalidRequestError: The server cannot use it, and says why.
        """
        content = file if isinstance(file, bytes) else _path_of(file)
        own = name or (content.name if isinstance(content, Path) else None)
        sha256 = yield from content_hash(content)
        found = yield from self._ask(self._page(None, sha256=sha256))
        named = [entry for entry in found.items if entry.name == own]
        known = named or ([] if name else found.items)
        if known:
            return known[0]
        call = post(self.path, reads(self._model()), upload=content, parameters={"name": own})
        return (yield from self._ask(call))

    @operation
    def get(self, identifier: str) -> Flow[U]:
        """Return one."""
        return self._ask(get(f"{self.path}/{identifier}", reads(self._model())))

    @paged
    def list(self, *, sha256: str | None = None) -> Paging[U]:
        """Iterate over all, newest first; with `sha256`, over those of one content."""
        return partial(self._page, sha256=sha256)

    @operation
    def download(self, identifier: str, target: str | Path) -> Flow[None]:
        """Write the file as it was uploaded."""
        request = Request("GET", f"{self.path}/{identifier}/file", into=Path(target))
        return self._ask(Call(request, read_nothing))

    @operation
    def delete(self, identifier: str) -> Flow[None]:
        """Delete one that no job uses."""
        return self._ask(delete(f"{self.path}/{identifier}"))

    def _page(self, cursor: str | None, *, sha256: str | None) -> Call[Page[U]]:
        read = page_of(self._model())
        return get(self.path, read, sha256=sha256, cursor=cursor, limit=PAGE_ENTRIES)

    def _model(self) -> type[U]:
        return self._kind  # type: ignore[return-value]


class Networks(_Uploads[R, Network]):
    """ONNX networks."""

    path = "v1/networks"
    _kind = Network


class Datasets(_Uploads[R, Dataset]):
    """Labelled inputs, as npz files."""

    path = "v1/datasets"
    _kind = Dataset


class _Jobs(Resource[R], Generic[R, J]):
    """Jobs of one kind, or of every kind."""

    path: ClassVar[str]
    _kind: ClassVar[type[JobBase]]

    @operation
    def get(self, identifier: str) -> Flow[J]:
        """Return one as it is now."""
        return self._ask(self._one(identifier, 0.0))

    @operation
    def cancel(self, identifier: str) -> Flow[J]:
        """Cancel a queued one at once, or ask a running one to stop."""
        return self._ask(post(f"{self.path}/{identifier}/cancel", reads(self._model())))

    @operation
    def wait(
        self,
        identifier: str,
        *,
        timeout_seconds: float | None = None,
        poll_seconds: float = LONGEST_HOLD_SECONDS,
        progress: Callable[[J], object] | None = None,
    ) -> Flow[J]:
        """Return one once it is final, whatever came out; see `require_success`.

        Args:
            identifier: Of the job.
            timeout_seconds: To wait in all; None for ever.
            poll_seconds: How often `progress` is told at least; the server answers at once when
                the state changes.
            progress: Told of the job as it goes.

        Raises:
            WaitTimeoutError: It is not final by then.
        """
        return wait(
            partial(self._one, identifier),
            self._runner.retry,
            timeout_seconds=timeout_seconds,
            poll_seconds=poll_seconds,
            progress=progress,
        )

    def _one(self, identifier: str, held_seconds: float) -> Call[J]:
        path = f"{self.path}/{identifier}"
        parameters = {"wait": round(held_seconds, 3)} if held_seconds else {}
        request = Request("GET", path, parameters, held_seconds=held_seconds)
        return Call(request, reads(self._model()))

    def _pages(self, **filters: str | None) -> Paging[J]:
        read = page_of(self._model())
        return lambda cursor: get(self.path, read, cursor=cursor, limit=PAGE_ENTRIES, **filters)

    def _model(self) -> type[J]:
        return self._kind  # type: ignore[return-value]


class Jobs(_Jobs[R, Job]):
    """Work of every kind."""

    path = "v1/jobs"
    _kind = Job

    @paged
    def list(self, *, state: str | None = None) -> Paging[Job]:
        """Iterate over all, newest first; with `state`, over those in it."""
        return self._pages(state=state)


class _Results(_Jobs[R, J]):
    """Jobs with something to show."""

    @paged
    def list(self, *, state: str | None = None, network: str | None = None) -> Paging[J]:
        """Iterate over all, newest first; only in a state, or only of a network."""
        return self._pages(state=state, network=network)

    @operation
    def delete(self, identifier: str) -> Flow[None]:
        """Delete a finished one with its results."""
        return self._ask(delete(f"{self.path}/{identifier}"))

    @operation
    def report(self, identifier: str) -> Flow[dict[str, Any]]:
        """Return the whole report of a finished one, as `--json` of the command line writes it."""
        return self._ask(get(f"{self.path}/{identifier}/report", _REPORT))

    @operation
    def html(self, identifier: str) -> Flow[str]:
        """Return the report of a finished one as a page that stands alone."""
        return self._ask(document(f"{self.path}/{identifier}/report.html"))

    @operation
    def junit(self, identifier: str) -> Flow[str]:
        """Return what came out of a finished one as JUnit XML."""
        return self._ask(document(f"{self.path}/{identifier}/junit.xml"))


class _Certifying(_Results[R, J]):
    """Jobs that answer for inputs."""

    @operation
    def csv(self, identifier: str) -> Flow[str]:
        """Return the answers so far as a table."""
        return self._ask(document(f"{self.path}/{identifier}/items.csv"))

    @operation
    def sarif(self, identifier: str, *, uri: str | None = None) -> Flow[str]:
        """Return what a finished one found as SARIF 2.1.0.

        Args:
            identifier: Of the job.
            uri: Path of the network in its repository, where code scanning shows the results.
        """
        return self._ask(document(f"{self.path}/{identifier}/sarif.json", uri=uri))

    def _items(self, identifier: str, **filters: str | None) -> Paging[Item]:
        path, read = f"{self.path}/{identifier}/items", page_of(Item)
        return lambda cursor: get(path, read, cursor=cursor, limit=PAGE_ENTRIES, **filters)


class Certifications(_Certifying[R, Certification]):
    """Questions about a network, and their answers input by input."""

    path = "v1/certifications"
    _kind = Certification

    @operation
    def create(
        self, network_id: str, question: Question, *, idempotency_key: str | None = None
    ) -> Flow[Certification]:
        """Ask; the answer is there at once if the same was asked before."""
        body = {"network_id": network_id, **question.body()}
        return self._ask(post(self.path, reads(Certification), body=body, key=idempotency_key))

    @paged
    def items(self, identifier: str, *, verdict: str | None = None) -> Paging[Item]:
        """Iterate over the answers so far, in the order of the data set."""
        return self._items(identifier, verdict=verdict)

    @operation
    def proof(self, identifier: str, index: int, target: str | Path) -> Flow[None]:
        """Write the proof of a verified input, for `tightrope check`."""
        path = f"{self.path}/{identifier}/items/{index}/proof"
        return self._ask(Call(Request("GET", path, into=Path(target)), read_nothing))

    @operation
    def counterexample(self, identifier: str, index: int, target: str | Path) -> Flow[None]:
        """Write the counterexample to a falsified input as `.npz`, for `tightrope check`."""
        path = f"{self.path}/{identifier}/items/{index}/counterexample"
        return self._ask(Call(Request("GET", path, into=Path(target)), read_nothing))


class Comparisons(_Certifying[R, Comparison]):
    """Networks beside a baseline, on the same inputs."""

    path = "v1/comparisons"
    _kind = Comparison

    @operation
    def create(
        self,
        baseline_id: str,
        candidate_ids: Sequence[str],
        question: Question,
        *,
        idempotency_key: str | None = None,
    ) -> Flow[Comparison]:
        """Ask the same of all networks; answers that are there already are taken over."""
        body = {
            "baseline_id": baseline_id,
            "candidate_ids": [*candidate_ids],
            **question.body(),
        }
        return self._ask(post(self.path, reads(Comparison), body=body, key=idempotency_key))

    @paged
    def items(
        self, identifier: str, *, network: str | None = None, verdict: str | None = None
    ) -> Paging[Item]:
        """Iterate over the answers for one of the networks; for the baseline if none is named."""
        return self._items(identifier, network=network, verdict=verdict)


class Trainings(_Results[R, Training]):
    """Networks made so that they can be certified."""

    path = "v1/trainings"
    _kind = Training

    @operation
    def create(
        self, asked: TrainingRequest, *, idempotency_key: str | None = None
    ) -> Flow[Training]:
        """Start a training."""
        call = post(self.path, reads(Training), body=asked.body(), key=idempotency_key)
        return self._ask(call)

    @paged
    def metrics(
        self, identifier: str, *, after: int = -1, arm: str | None = None
    ) -> Paging[Metric]:
        """Iterate over steps and epochs so far; with `after`, over those of a larger index."""
        path, read = f"{self.path}/{identifier}/metrics", reads(MetricPage)

        def call(cursor: str | None) -> Call[Page[Metric]]:
            def page(response: Any) -> Page[Metric]:  # noqa: ANN401 (httpx's response)
                found = read(response)
                more = len(found.items) == PAGE_ENTRIES
                return Page(found.items, str(found.next_after) if more else None)

            return get(path, page, after=cursor or after, arm=arm, limit=PAGE_ENTRIES)

        return call

    @operation
    def csv(self, identifier: str) -> Flow[str]:
        """Return the metrics so far as a table."""
        return self._ask(document(f"{self.path}/{identifier}/metrics.csv"))

    @operation
    def artifacts(self, identifier: str) -> Flow[list[Artifact]]:
        """Return the files that it left."""
        found = yield from self._ask(
            get(f"{self.path}/{identifier}/artifacts", reads(ArtifactList))
        )
        return found.items

    @operation
    def download(self, identifier: str, artifact: str, target: str | Path) -> Flow[None]:
        """Write one of its files."""
        path = f"{self.path}/{identifier}/artifacts/{artifact}"
        return self._ask(Call(Request("GET", path, into=Path(target)), read_nothing))
