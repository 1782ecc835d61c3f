"""How trainings go, as pages show it: with as many queries for a thousand steps as for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from store.database import Database
from store.job_tables import JobRow
from store.tables import DatasetRow, MetricRow, NetworkRow, TrainingRow

__all__ = ["Learning", "TrainingLine"]

_ACCURACIES = ("clean_accuracy", "empirical_accuracy", "certified_accuracy")


@dataclass(frozen=True)
class TrainingLine:
    """A training in a list.

    Attributes:
        job: Its job.
        title: What is trained.
        dataset: On what, by name.
        method: Of the loss.
        epsilon: Radius in training.
        baseline: Whether a twin without regularizers is trained too.
        best: Accuracies of the best epoch of the candidate, by name; None until it is finished.
    """

    job: JobRow
    title: str
    dataset: str
    method: str
    epsilon: float | None
    baseline: bool
    best: Mapping[str, float | None]


class Learning:
    """Reads of trainings and of what they noted.

    Args:
        database: As the one who asks sees it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, *, limit: int, before: str | None = None) -> list[TrainingLine]:
        """Return trainings, the newest first, older than the one with the id `before`.

        Settings and results are not read whole: a result names every input that it trained on.
        """
        settings, arms = TrainingRow.settings, TrainingRow.arms
        query = (
            select(
                JobRow,
                func.coalesce(
                    settings["name"].as_string(),
                    settings["architecture"].as_string(),
                    NetworkRow.name,
                ),
                DatasetRow.name,
                settings["method"].as_string(),
                settings["epsilon"].as_float(),
                settings["baseline"].as_boolean(),
                *(arms[("candidate", "best", name)].as_float() for name in _ACCURACIES),
            )
            .join(TrainingRow, TrainingRow.id == JobRow.id)
            .join(DatasetRow, DatasetRow.id == TrainingRow.dataset_id)
            .outerjoin(NetworkRow, NetworkRow.id == TrainingRow.network_id)
            .order_by(JobRow.id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(JobRow.id < before)
        with self._database.read() as session:
            return [
                TrainingLine(
                    job=job,
                    title=title or job.id,
                    dataset=dataset,
                    method=method,
                    epsilon=epsilon,
                    baseline=bool(baseline),
                    best=dict(zip(_ACCURACIES, best, strict=True)),
                )
                for job, title, dataset, method, epsilon, baseline, *best in session.execute(query)
            ]

    def epochs(self, training_id: str) -> dict[str, list[dict[str, Any]]]:
        """Return the metrics of the finished epochs of each arm, the oldest first."""
        ended = MetricRow.payload[("metrics", "epoch")].as_integer().is_not(None)
        query = (
            select(MetricRow.arm, MetricRow.payload)
            .where(MetricRow.training_id == training_id, ended)
            .order_by(MetricRow.index)
        )
        found: dict[str, list[dict[str, Any]]] = {}
        with self._database.read() as session:
            for arm, payload in session.execute(query):
                found.setdefault(arm, []).append(payload["metrics"])
        return found

    def steps(self, training_id: str, *, most: int) -> dict[str, list[dict[str, Any]]]:
        """Return steps of each arm, the oldest first: about every n-th, and the last one noted.

        Args:
            training_id: Whose.
            most: About so many in all, however long the training is.
        """
        own = MetricRow.training_id == training_id
        with self._database.read() as session:
            last = session.scalar(select(func.max(MetricRow.index)).where(own))
            if last is None:
                return {}
            stride = max(1, -(-(last + 1) // most))
            query = (
                select(MetricRow.arm, MetricRow.payload)
                .where(own, (last - MetricRow.index) % stride == 0)
                .order_by(MetricRow.index)
            )
            found: dict[str, list[dict[str, Any]]] = {}
            for arm, payload in session.execute(query):
                found.setdefault(arm, []).append(payload)
            return found
