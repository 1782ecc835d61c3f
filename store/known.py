"""Answers for single inputs that some earlier job of the same project has found.

They are found by what was asked: the contents of network and data set, the position in it, region,
targets, limits, seed and version, all in one hash that leaves out which inputs and methods a
request lists. Any job counts, also one that still runs, was cancelled or failed: an answer is
stored when it is complete. What was given up after too many attempts is no answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, null, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from store.job_tables import JobRow
from store.narrowing import narrowed
from store.tables import (
    CertificationRow,
    ComparedItemRow,
    ComparedNetworkRow,
    ComparisonRow,
    ItemRow,
)

__all__ = ["KnownAnswer", "known_answers", "question_of"]

_EARLIER_JOBS = 16
"""Of each kind that are looked through: first what computed answers itself, and most of them."""

_NOT_OF_THE_QUESTION = frozenset({"indices", "methods"})


@dataclass(frozen=True)
class KnownAnswer:
    """An answer for one input.

    Attributes:
        payload: The item as reports print it.
        input: The input itself, where it is kept.
    """

    payload: dict[str, Any]
    input: list[float] | None


@dataclass(frozen=True)
class _Source:
    """Answers of one earlier job.

    Attributes:
        answers: Query of their indices, payloads and inputs.
        index: The column of the first of these.
        methods: That the job asked for.
    """

    answers: Select[Any]
    index: InstrumentedAttribute[int]
    methods: Sequence[str]


def question_of(
    network_sha256: str, dataset_sha256: str, settings: Mapping[str, Any], version: str
) -> str:
    """Return a hash that is equal for requests that differ in inputs and methods alone."""
    asked = {name: value for name, value in settings.items() if name not in _NOT_OF_THE_QUESTION}
    text = json.dumps(
        [network_sha256, dataset_sha256, asked, version],
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def known_answers(
    session: Session, question: str, methods: Sequence[str], indices: Collection[int]
) -> dict[int, KnownAnswer]:
    """Return what is known of these inputs, by index.

    Args:
        session: Of the project whose answers count.
        question: From `question_of`.
        methods: That are asked for.
        indices: Of the inputs.
    """
    known: dict[int, KnownAnswer] = {}
    missing = set(indices)
    for source in _sources(session, question):
        if not missing:
            break
        if not set(methods) <= set(source.methods):
            continue
        near = source.answers.where(source.index.between(min(missing), max(missing)))
        for index, payload, kept in session.execute(near):
            answer = narrowed(payload, methods, source.methods) if index in missing else None
            if answer is not None:
                known[index] = KnownAnswer(answer, kept)
        missing -= known.keys()
    return known


def _sources(session: Session, question: str) -> Iterator[_Source]:
    """Yield the answers of earlier jobs that asked the same, certifications first."""
    certified = (
        select(CertificationRow.id, CertificationRow.settings)
        .join(JobRow, JobRow.id == CertificationRow.id)
        .where(CertificationRow.question == question)
        .order_by(JobRow.cached, JobRow.done.desc(), JobRow.id.desc())
        .limit(_EARLIER_JOBS)
    )
    for identifier, settings in session.execute(certified).all():
        columns = select(ItemRow.index, ItemRow.payload, ItemRow.input)
        answers = columns.where(ItemRow.certification_id == identifier)
        yield _Source(answers, ItemRow.index, settings["methods"])
    compared = (
        select(
            ComparedNetworkRow.comparison_id, ComparedNetworkRow.position, ComparisonRow.settings
        )
        .join(ComparisonRow, ComparisonRow.id == ComparedNetworkRow.comparison_id)
        .join(JobRow, JobRow.id == ComparedNetworkRow.comparison_id)
        .where(ComparedNetworkRow.question == question)
        .order_by(JobRow.cached, JobRow.done.desc(), JobRow.id.desc())
        .limit(_EARLIER_JOBS)
    )
    for identifier, position, settings in session.execute(compared).all():
        answers = select(ComparedItemRow.index, ComparedItemRow.payload, null()).where(
            ComparedItemRow.comparison_id == identifier, ComparedItemRow.position == position
        )
        yield _Source(answers, ComparedItemRow.index, settings["methods"])
