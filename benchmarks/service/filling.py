"""A database with much in it, written without certifying anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

from api.schemas.trainings import TrainingCreate
from api.training import stored_settings
from reports.summary import summarize
from store.answers import answer_values
from store.database import Database
from store.identifiers import new_identifier
from store.job_tables import JobRow
from store.migrate import migrate
from store.tables import (
    CertificationRow,
    ComparedNetworkRow,
    ComparisonRow,
    DatasetRow,
    ItemRow,
    NetworkRow,
    TrainingRow,
)
from store.tenancy import Tenant

__all__ = ["METHODS", "Filled", "fill"]

METHODS = ("ibp", "crown", "alpha-crown", "exact")
_SIDE = 28
_CLASSES = 10
_NETWORKS = 40
_BATCH = 1000
_LOOSENESS = {"ibp": 6.0, "crown": 1.5, "alpha-crown": 0.7}
_SECONDS = {"attack": 0.05, "ibp": 0.002, "crown": 0.01, "alpha-crown": 0.3, "exact": 2.0}


@dataclass(frozen=True)
class Filled:
    """What is in the database.

    Attributes:
        network: A network that was certified often.
        certification: The large certification.
        falsified: An input of it with a counterexample.
        comparison, training: Some of many.
    """

    network: str
    certification: str
    falsified: int
    comparison: str
    training: str


def fill(data_dir: Path, *, jobs: int, inputs: int) -> Filled:
    """Write so many jobs, and a certification of so many inputs, into a data folder.

    Args:
        data_dir: Of the service; its database may be there already.
        jobs: Finished ones; most are certifications, the others comparisons and trainings.
        inputs: Of the large certification.
    """
    database = Database(f"sqlite:///{data_dir / 'tightrope.sqlite3'}")
    migrate(database)
    try:
        return _Filler(database.of(Tenant())).fill(jobs, inputs)
    finally:
        database.close()


class _Filler:
    """Writes rows as the service would have left them.

    Args:
        database: Migrated.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now = datetime.now(UTC)
        self._networks = [new_identifier("net") for _ in range(_NETWORKS)]
        self._dataset = new_identifier("dat")
        self._few = [_answer(index) for index in range(100)]

    def fill(self, jobs: int, inputs: int) -> Filled:
        """Write everything."""
        with self._database.write() as session:
            session.add_all(self._uploads())
        kinds = {"certification": self._certify, "comparison": self._compare,
                 "training": self._train}  # fmt: skip
        made = dict.fromkeys(kinds, "")
        with self._database.write() as session:
            for number in range(jobs):
                kind = (
                    ("comparison", "training")[number % 2] if number % 10 < 2 else "certification"
                )
                made[kind] = new_identifier("job")
                job = self._job(made[kind], kind, len(self._few), age=jobs - number)
                for row in (job, *kinds[kind](made[kind], number)):
                    session.add(row)
                    session.flush()
        large = self._large(inputs)
        falsified = next(one["index"] for one in self._few if one["verdict"] == "falsified")
        return Filled(self._networks[0], large, falsified, made["comparison"], made["training"])

    def _uploads(self) -> Iterator[NetworkRow | DatasetRow]:
        shape = [1, 1, _SIDE, _SIDE]
        details = {
            "input_shape": shape, "output_shape": [1, _CLASSES], "outputs": _CLASSES,
            "parameters": 166_406, "nodes": 9, "notes": [],
            "operators": {"Conv": 2, "Relu": 3, "Reshape": 1, "Linear": 2},
        }  # fmt: skip
        for number, name in enumerate(self._networks):
            yield NetworkRow(
                id=name, name=f"network-{number}.onnx", sha256=f"{number:064x}",
                size_bytes=700_000, created_at=self._now, details=details,
            )  # fmt: skip
        yield DatasetRow(
            id=self._dataset, name="images.npz", sha256="f" * 64, size_bytes=31_000_000,
            created_at=self._now,
            details={"count": 10_000, "input_shape": shape[1:], "classes": _CLASSES,
                     "minimum": 0.0, "maximum": 1.0},
        )  # fmt: skip

    def _job(self, name: str, kind: str, total: int, *, age: int = 0) -> JobRow:
        ended = self._now - timedelta(hours=age)
        failed = {"type": "MemoryLimitError", "message": "it took more memory than it may"}
        return JobRow(
            id=name, kind=kind, queue="bounds", total=total, done=total,
            state="succeeded" if kind == "certification" else "failed",
            error=None if kind == "certification" else failed,
            created_at=ended - timedelta(minutes=9), started_at=ended - timedelta(minutes=8),
            finished_at=ended,
        )  # fmt: skip

    def _certify(self, name: str, number: int) -> list[Any]:
        settings = {
            "epsilon": 0.01 * (1 + number % 5), "norm": "inf", "methods": list(METHODS),
            "timeout_seconds": 60.0, "valid_range": [0.0, 1.0], "targets": None,
            "normalization": None, "seed": 0, "indices": list(range(len(self._few))),
        }  # fmt: skip
        return [self._row(name, number, settings, summarize(self._few, METHODS))]

    def _row(
        self, name: str, number: int, settings: Mapping[str, Any], summary: Mapping[str, Any]
    ) -> CertificationRow:
        return CertificationRow(
            id=name, network_id=self._networks[number % _NETWORKS], dataset_id=self._dataset,
            settings=dict(settings), fingerprint=name, question=name, summary=dict(summary),
        )  # fmt: skip

    def _compare(self, name: str, number: int) -> list[Any]:
        (asked,) = self._certify(name, number)
        row = ComparisonRow(
            id=name,
            dataset_id=self._dataset,
            settings=asked.settings,
            fingerprint=name,
            result=None,
        )
        networks = [
            ComparedNetworkRow(
                comparison_id=name, position=position, network_id=self._networks[position],
                fingerprint=name, question=name,
            )
            for position in range(2)
        ]  # fmt: skip
        return [row, *networks]

    def _train(self, name: str, number: int) -> list[Any]:
        asked = {"architecture": "mlp:8", "dataset_id": self._dataset, "epsilon": 0.05,
                 "epochs": 20, "name": f"trained-{number}"}  # fmt: skip
        settings = stored_settings(TrainingCreate.model_validate(asked))
        return [TrainingRow(id=name, dataset_id=self._dataset, settings=settings, arms={})]

    def _large(self, inputs: int) -> str:
        """Write the large certification."""
        name = new_identifier("job")
        answers = [_answer(index) for index in range(inputs)]
        (row,) = self._certify(name, 0)
        row.settings["indices"] = list(range(inputs))
        row.summary = summarize(answers, METHODS)
        with self._database.write() as session:
            session.add(self._job(name, "certification", inputs))
            session.flush()
            session.add(row)
            session.flush()
            for start in range(0, inputs, _BATCH):
                rows = [
                    {"certification_id": name, "input": one.get("input"), **answer_values(one)}
                    for one in answers[start : start + _BATCH]
                ]
                session.execute(insert(ItemRow), rows)
        return name


def _answer(index: int) -> dict[str, Any]:
    """Return what could have been found out about an input, with a picture where it is refuted."""
    generator = np.random.default_rng(index)
    margin = float(generator.normal(1.2, 1.0))
    verdict = "falsified" if margin < 0 else "unknown" if margin < 0.15 else "verified"
    lower = {
        method: margin - scale * generator.uniform(0.3, 1) for method, scale in _LOOSENESS.items()
    }
    answer: dict[str, Any] = {
        "index": index, "label": index % _CLASSES, "predicted": index % _CLASSES,
        "verdict": verdict,
        "evidence": {"falsified": "checked", "unknown": "none"}.get(verdict, "solver"),
        "lower": lower, "upper": margin,
        "exact": [margin - 0.4, margin] if verdict == "unknown" else [margin, margin],
        "gap": {method: margin - bound for method, bound in lower.items()},
        "seconds": {name: usual * generator.uniform(0.5, 2) for name, usual in _SECONDS.items()},
        "counterexample": None, "reason": "timeout" if verdict == "unknown" else None,
        "status": {"exact": "timeout"} if verdict == "unknown" else {}, "reasons": {},
    }  # fmt: skip
    if verdict == "falsified":
        picture = generator.uniform(size=_SIDE * _SIDE).round(4)
        moved = np.clip(picture + 0.03, 0, 1).tolist()
        outputs = generator.normal(size=_CLASSES).tolist()
        answer |= {"input": picture.tolist(), "counterexample": {"x": moved, "y": outputs}}
    return answer
