"""Jobs that train networks: one arm after the other, each going on from its checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import PurePath

from models.errors import TightropeError
from reports.training import metrics_csv
from store.comparisons import Comparisons, NewComparison
from store.database import Database
from store.idempotency import Replay
from store.tables import TrainingRow
from store.tenancy import Tenant
from store.trainings import KIND, NewArtifact, Trainings
from store.uploads import NETWORKS, Uploads
from worker.lease import Lease, StopReason
from worker.recorder import Recorder
from worker.work import BASELINE, CANDIDATE, ArmOutcome, TrainingEngine, TrainingWork
from worker.workplace import Workplace, json_object

__all__ = ["TrainingHandler"]

logger = logging.getLogger(__name__)

_BINARY = "application/octet-stream"
_LONGEST_NAME = 180


class TrainingHandler:
    """Trains.

    Args:
        place: The worker.
        engine: What computes.
    """

    def __init__(self, place: Workplace, engine: TrainingEngine) -> None:
        self._place = place
        self._engine = engine
        self._trainings = Trainings(place.database, place.blobs, place.settings.checkpoint_dir)

    def compute(self, job_id: str, lease: Lease) -> None:
        """Train the arms that are missing, until done or told to stop."""
        row = self._trainings.get(job_id)
        for arm in _arms(row):
            if arm in row.arms:
                continue
            outcome = self._train(row, arm, lease)
            if outcome.cancelled and lease.stop_reason is not StopReason.CANCELLED:
                return  # the next worker goes on from the checkpoint
            if outcome.result["best_epoch"] or not outcome.cancelled:
                self._keep(row, arm, outcome)
            if outcome.cancelled:
                self._trainings.forget_checkpoint(job_id)
                return

    def complete(self, job_id: str) -> bool:
        """End the job once every arm is trained; two arms end in a comparison."""
        row = self._trainings.get(job_id)
        if any(arm not in row.arms for arm in _arms(row)):
            return False
        comparison = self._compare(row) if BASELINE in row.arms else None
        self._trainings.succeed(job_id, self._place.owner, comparison_id=comparison)
        self._trainings.forget_checkpoint(job_id)
        return True

    def _train(self, row: TrainingRow, arm: str, lease: Lease) -> ArmOutcome:
        arms = _arms(row)
        recorder = Recorder(
            self._trainings,
            row.id,
            self._place.owner,
            arm=arm,
            before=arms.index(arm),
            arms=len(arms),
            seconds=self._place.settings.metrics_seconds,
        )
        logger.info("training the %s", arm)
        try:
            outcome = self._engine(self._work(row, arm), lease.cancelled, recorder)
        except (TightropeError, MemoryError):
            recorder.flush()
            self._trainings.forget_checkpoint(row.id)  # it would fail again
            raise
        recorder.flush()
        return outcome

    def _work(self, row: TrainingRow, arm: str) -> TrainingWork:
        path = self._place.blobs.path
        return TrainingWork(
            network=None if row.network is None else path(row.network.sha256),
            network_name="" if row.network is None else row.network.name,
            dataset=path(row.dataset.sha256),
            dataset_name=row.dataset.name,
            validation=None if row.validation is None else path(row.validation.sha256),
            validation_name="" if row.validation is None else row.validation.name,
            settings=row.settings,
            arm=arm,
            checkpoint=self._trainings.checkpoint(row.id) / arm,
            device=self._place.settings.device,
            max_parameters=self._place.settings.max_training_parameters,
        )

    def _keep(self, row: TrainingRow, arm: str, outcome: ArmOutcome) -> None:
        """Store the network of an arm among all networks, and its files."""
        name = _network_name(row, arm)
        with self._place.blobs.receive() as incoming:
            incoming.write(outcome.onnx)
            networks = Uploads(self._home(row), self._place.blobs, NETWORKS)
            network, _ = networks.add(incoming, name=name, details=outcome.details)
        result = json_object(
            {
                **outcome.result,
                "network_id": network.id,
                "validation_indices": outcome.validation_indices,
            }
        )
        self._trainings.finish_arm(
            row.id,
            self._place.owner,
            arm=arm,
            result=result,
            artifacts=self._artifacts(row, arm, outcome),
        )

    def _artifacts(self, row: TrainingRow, arm: str, outcome: ArmOutcome) -> Iterator[NewArtifact]:
        prefix = "" if arm == CANDIDATE else f"{arm}-"
        table = metrics_csv(self._trainings.metrics(row.id, arm=arm))
        record = json_object(outcome.result["record"])
        yield NewArtifact(f"{prefix}network.onnx", _BINARY, outcome.onnx)
        yield NewArtifact(f"{prefix}metrics.csv", "text/csv", table.encode())
        yield NewArtifact(
            f"{prefix}settings.json", "application/json", json.dumps(record, indent=2).encode()
        )
        if outcome.checkpoint is not None:
            yield NewArtifact(f"{prefix}checkpoint.safetensors", _BINARY, outcome.checkpoint)

    def _compare(self, row: TrainingRow) -> str:
        """Ask for the comparison of both arms; return its id, the same however often."""
        settings, asked = row.settings, row.settings["comparison"]
        dataset = row.dataset if row.validation is None else row.validation
        known = row.arms[CANDIDATE]["validation_indices"]
        indices = list(range(dataset.details["count"])) if known is None else known
        indices = indices[: asked["count"]]
        methods = asked["methods"]
        new = NewComparison(
            network_ids=[row.arms[arm]["network_id"] for arm in (BASELINE, CANDIDATE)],
            dataset_id=dataset.id,
            settings={
                "epsilon": settings["epsilon"],
                "norm": "inf",
                "methods": methods,
                "timeout_seconds": asked["timeout_seconds"],
                "valid_range": settings["valid_range"],
                "targets": None,
                "normalization": _outside(row),
                "seed": settings["seed"],
                "indices": indices,
            },
            indices=indices,
            queue="exact" if "exact" in methods else "bounds",
            version=version("tightrope"),
        )
        comparisons = Comparisons(self._home(row))
        comparison, _ = comparisons.create(new, replay=Replay(row.id, KIND, row.id))
        return comparison.id

    def _home(self, row: TrainingRow) -> Database:
        """Return the database as the training's project sees it: what it makes belongs there."""
        return self._place.database.of(Tenant(row.job.project_id, key_id=row.job.key_id))


def _arms(row: TrainingRow) -> tuple[str, ...]:
    return (CANDIDATE, BASELINE) if row.settings["baseline"] else (CANDIDATE,)


def _outside(row: TrainingRow) -> object:
    """Return the normalisation that the trained files expect; an architecture has it inside."""
    return None if row.network_id is None else row.settings["normalization"]


def _network_name(row: TrainingRow, arm: str) -> str:
    """Return the name of a trained network, with the suffix of ONNX files."""
    given: str | None = row.settings["name"]
    base = row.settings["architecture"] or PurePath(row.network.name if row.network else "").stem
    stem = f"{base}-{row.settings['method']}" if given is None else given.removesuffix(".onnx")
    tail = f"-{arm}" if arm == BASELINE else ""
    return f"{stem[:_LONGEST_NAME]}{tail}.onnx"
