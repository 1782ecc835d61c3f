"""Jobs on the server: what those of every kind can be asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from tightrope_client.calls import (
    PAGE_ENTRIES,
    Call,
    Paging,
    Request,
    delete,
    document,
    get,
    page_of,
    post,
    reads,
)
from tightrope_client.flows import LONGEST_HOLD_SECONDS, Flow, wait
from tightrope_client.models import Delivery, DeliveryList, Item, Job, JobBase
from tightrope_client.operations import R, Resource, operation, paged

__all__ = ["Certifying", "Jobs", "JobsOfKind", "Results"]

J = TypeVar("J", bound=JobBase)
_REPORT = reads(dict[str, Any])


class JobsOfKind(Resource[R], Generic[R, J]):
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


class Jobs(JobsOfKind[R, Job]):
    """Work of every kind."""

    path = "v1/jobs"
    _kind = Job

    @operation
    def deliveries(self, identifier: str) -> Flow[list[Delivery]]:
        """Return what was or will be sent to the webhook of one; nothing before its end."""
        path = f"{self.path}/{identifier}/deliveries"
        found = yield from self._ask(get(path, reads(DeliveryList)))
        return found.items

    @paged
    def list(self, *, state: str | None = None) -> Paging[Job]:
        """Iterate over all, newest first; with `state`, over those in it."""
        return self._pages(state=state)


class Results(JobsOfKind[R, J]):
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

    @operation
    def sarif(self, identifier: str, *, uri: str | None = None) -> Flow[str]:
        """Return what a finished one found as SARIF 2.1.0.

        Args:
            identifier: Of the job.
            uri: Path of the network in its repository, where code scanning shows the results.
        """
        return self._ask(document(f"{self.path}/{identifier}/sarif.json", uri=uri))


class Certifying(Results[R, J]):
    """Jobs that answer for inputs."""

    @operation
    def csv(self, identifier: str) -> Flow[str]:
        """Return the answers so far as a table."""
        return self._ask(document(f"{self.path}/{identifier}/items.csv"))

    def _items(self, identifier: str, **filters: str | None) -> Paging[Item]:
        path, read = f"{self.path}/{identifier}/items", page_of(Item)
        return lambda cursor: get(path, read, cursor=cursor, limit=PAGE_ENTRIES, **filters)
