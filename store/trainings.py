"""Trainings: what was asked, how they go, and the files they leave."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from store.blobs import BlobStore
from store.contents import is_kept
from store.database import Database
from store.errors import NotFoundError
from store.events import note_metrics
from store.job_parts import JobParts, delete_with_job
from store.job_rows import add_job, finish_job, guarded_update, hold_job
from store.job_tables import JobRow
from store.states import JobState, Origin
from store.tables import ArtifactRow, MetricRow, TrainingRow
from store.uploads import DATASETS, NETWORKS, get_upload

__all__ = ["KIND", "Metric", "NewArtifact", "NewTraining", "Trainings"]

KIND = "training"


@dataclass(frozen=True)
class NewTraining:
    """A request for a training, checked.

    Attributes:
        network_id: What to fine-tune; None for an architecture, which the settings name.
        dataset_id: What to train on.
        validation_id: For choosing the best epoch; None keeps a share of the data.
        settings: How, with every default filled in.
        steps: Expected in all; a worker that counts otherwise says so.
        queue: Where workers look for it.
        origin: Where the request came from.
        priority: From -10 to 10; the highest goes first.
    """

    network_id: str | None
    dataset_id: str
    validation_id: str | None
    settings: Mapping[str, Any]
    steps: int
    queue: str = "bounds"
    origin: Origin | None = None
    priority: int = 0


@dataclass(frozen=True)
class Metric:
    """A step or an epoch of a training.

    Attributes:
        arm: Which of the networks that are trained.
        position: Grows along an arm.
        payload: As clients see it, without its index.
    """

    arm: str
    position: int
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class NewArtifact:
    """A file that a training leaves."""

    name: str
    media_type: str
    content: bytes


class Trainings(JobParts[TrainingRow, NewTraining]):
    """All trainings.

    Args:
        database: Where the rows are.
        blobs: Where artifacts are.
        checkpoints: Folder of what unfinished trainings go on from, one folder for each.
    """

    _kind = KIND
    _table = TrainingRow

    def __init__(self, database: Database, blobs: BlobStore, checkpoints: Path) -> None:
        super().__init__(database)
        self._blobs = blobs
        self._checkpoints = checkpoints

    def checkpoint(self, training_id: str) -> Path:
        """Return the folder of what an unfinished training goes on from."""
        return self._checkpoints / training_id

    def forget_checkpoint(self, training_id: str) -> None:
        """Remove that folder, if it is there."""
        shutil.rmtree(self.checkpoint(training_id), ignore_errors=True)

    def metrics(
        self,
        training_id: str,
        *,
        after: int = -1,
        limit: int | None = None,
        arm: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return steps and epochs with an index above `after`, in the order of the index.

        Raises:
            NotFoundError: There is no such training.
        """
        query = (
            select(MetricRow.index, MetricRow.payload)
            .where(MetricRow.training_id == training_id, MetricRow.index > after)
            .order_by(MetricRow.index)
            .limit(limit)
        )
        if arm is not None:
            query = query.where(MetricRow.arm == arm)
        with self._database.read() as session:
            self._find(session, training_id)
            return [{"index": index, **payload} for index, payload in session.execute(query)]

    def position(self, training_id: str, arm: str) -> int:
        """Return the last position of an arm that is stored; −1 where there is none."""
        query = select(func.max(MetricRow.position)).where(
            MetricRow.training_id == training_id, MetricRow.arm == arm
        )
        with self._database.read() as session:
            last = session.scalar(query)
            return -1 if last is None else last

    def note(
        self,
        training_id: str,
        owner: str,
        metrics: Sequence[Metric] = (),
        *,
        done: int,
        total: int,
    ) -> None:
        """Store metrics and how far the training is.

        Args:
            training_id: Whose.
            owner: The worker that trains.
            metrics: In their order; each of a position beyond what is stored of its arm.
            done: Steps of all arms so far.
            total: Steps of all arms.

        Raises:
            LeaseLostError: The job is no longer that worker's; nothing was stored.
        """
        with self._database.write() as session:
            hold_job(session, training_id, owner)
            guarded_update(session, JobRow.id == training_id, done=done, total=total)
            last = session.scalar(
                select(func.max(MetricRow.index)).where(MetricRow.training_id == training_id)
            )
            first = 0 if last is None else last + 1
            session.add_all(
                MetricRow(
                    training_id=training_id,
                    index=index,
                    arm=metric.arm,
                    position=metric.position,
                    payload=dict(metric.payload),
                )
                for index, metric in enumerate(metrics, first)
            )
            points = [
                {"index": index, **metric.payload} for index, metric in enumerate(metrics, first)
            ]
            note_metrics(session, training_id, points)

    def finish_arm(
        self,
        training_id: str,
        owner: str,
        *,
        arm: str,
        result: Mapping[str, Any],
        artifacts: Iterable[NewArtifact],
    ) -> None:
        """Store what an arm came to, and its files; a file of an earlier try is replaced.

        Raises:
            LeaseLostError: The job is no longer that worker's; nothing was stored.
            StoreFullError: The disk is full; nothing was stored.
        """
        with ExitStack() as stack:
            received = []
            for artifact in artifacts:
                incoming = stack.enter_context(self._blobs.receive())
                incoming.write(artifact.content)
                received.append((artifact, incoming))
            stack.enter_context(self._blobs.lock())
            session = stack.enter_context(self._database.write())
            hold_job(session, training_id, owner)
            row = self._find(session, training_id)
            row.arms = {**row.arms, arm: dict(result)}
            for artifact, incoming in received:
                session.merge(
                    ArtifactRow(
                        training_id=training_id,
                        name=artifact.name,
                        media_type=artifact.media_type,
                        sha256=incoming.sha256,
                        size_bytes=incoming.size_bytes,
                    )
                )
                session.flush()
                incoming.keep()

    def artifacts(self, training_id: str) -> list[ArtifactRow]:
        """Return the files that a training left, by name.

        Raises:
            NotFoundError: There is no such training.
        """
        query = (
            select(ArtifactRow)
            .where(ArtifactRow.training_id == training_id)
            .order_by(ArtifactRow.name)
        )
        with self._database.read() as session:
            self._find(session, training_id)
            return list(session.scalars(query))

    def artifact(self, training_id: str, name: str) -> tuple[ArtifactRow, Path]:
        """Return one file and where it is.

        Raises:
            NotFoundError: There is no such training, or it left no such file.
        """
        with self._database.read() as session:
            self._find(session, training_id)
            row = session.get(ArtifactRow, (training_id, name))
        if row is None:
            raise NotFoundError(f"artifact of training {training_id}", name)
        return row, self._blobs.path(row.sha256)

    def succeed(self, training_id: str, owner: str, *, comparison_id: str | None = None) -> None:
        """End the job well, with the comparison of its arms where there is one.

        Raises:
            LeaseLostError: The job is no longer that worker's.
        """
        with self._database.write() as session:
            # One that stopped early has made fewer steps than expected.
            guarded_update(session, JobRow.id == training_id, done=JobRow.total)
            finish_job(session, training_id, owner, JobState.SUCCEEDED)
            self._find(session, training_id).comparison_id = comparison_id

    def delete(self, identifier: str) -> None:
        """Remove one with its job, metrics and files; the networks that it made stay.

        Raises:
            NotFoundError: There is none with that id.
            ConflictError: It is queued or running.
        """
        with self._blobs.lock():
            with self._database.write() as session:
                row = self._find(session, identifier)
                named = select(ArtifactRow.sha256).where(ArtifactRow.training_id == identifier)
                contents = set(session.scalars(named))
                delete_with_job(session, row)
                gone = [content for content in contents if not is_kept(session, content)]
            for content in gone:
                self._blobs.delete(content)
        self.forget_checkpoint(identifier)

    def _add(self, session: Session, new: NewTraining) -> TrainingRow:
        if new.network_id is not None:
            get_upload(session, NETWORKS, new.network_id)
        for dataset_id in (new.dataset_id, new.validation_id):
            if dataset_id is not None:
                get_upload(session, DATASETS, dataset_id)
        job = add_job(
            session,
            kind=KIND,
            queue=new.queue,
            total=new.steps,
            origin=new.origin,
            priority=new.priority,
        )
        row = TrainingRow(
            id=job.id,
            network_id=new.network_id,
            dataset_id=new.dataset_id,
            validation_id=new.validation_id,
            settings=dict(new.settings),
            arms={},
        )
        session.add(row)
        session.flush()
        session.refresh(row)
        return row

    def _asks_about(self, network_id: str) -> ColumnElement[bool]:
        return TrainingRow.network_id == network_id
