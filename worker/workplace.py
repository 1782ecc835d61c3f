"""What the handlers of jobs share: the store, the files, and the name they work under."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reports.numbers import strict
from store.blobs import BlobStore
from store.chunks import Chunks, Claim
from store.database import Database
from store.jobs import Jobs
from store.settings import Settings
from worker.lease import Lease

__all__ = ["ChunkHandler", "Handler", "Workplace", "json_object"]


@dataclass(frozen=True)
class Workplace:
    """Where one worker works.

    Attributes:
        settings: Of this process.
        database, blobs, jobs, chunks: The store.
        owner: Name of this worker, unlike every other's.
        threads: Returns how many threads for arithmetic are this worker's share of the cores at the
            moment; None where that is left as it is.
    """

    settings: Settings
    database: Database
    blobs: BlobStore
    jobs: Jobs
    chunks: Chunks
    owner: str
    threads: Callable[[], int | None] = lambda: None


class Handler(Protocol):
    """What a worker does with the jobs of one kind."""

    def compute(self, job_id: str, lease: Lease) -> None:
        """Compute and store what is missing, until done or until `lease.cancelled()`."""
        ...

    def complete(self, job_id: str) -> bool:
        """Store the result and end the job; return False where parts of it are missing."""
        ...


class ChunkHandler(Handler, Protocol):
    """What a worker does with jobs of a kind that is cut into chunks.

    `compute` is called for the whole job once its chunks are done or parked.
    """

    def work(self, claim: Claim, lease: Lease) -> Sequence[int]:
        """Compute and store a chunk, until done or until `lease.cancelled()`.

        Returns:
            Inputs to hand back, because the chunk takes longer than it should.
        """
        ...


def json_object(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with numbers that every database can keep."""
    clean = strict(value)
    if not isinstance(clean, dict):
        raise TypeError("a mapping was expected")
    return clean
