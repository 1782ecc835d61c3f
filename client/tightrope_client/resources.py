"""What the server is asked: certifications, comparisons and trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tightrope_client.calls import (
    PAGE_ENTRIES,
    Call,
    M,
    Page,
    Paging,
    document,
    download,
    get,
    post,
    reads,
)
from tightrope_client.flows import Flow
from tightrope_client.jobs import Certifying, Results
from tightrope_client.models import (
    Artifact,
    ArtifactList,
    Certification,
    Comparison,
    CounterexampleReplay,
    Item,
    Metric,
    MetricPage,
    ProofCheck,
    Question,
    Training,
    TrainingRequest,
)
from tightrope_client.operations import R, operation, paged

__all__ = ["Certifications", "Comparisons", "Trainings"]

_JUDGED_SECONDS = 240.0
"""Twice what a server allows by default for judging evidence: others may have come before."""


class Certifications(Certifying[R, Certification]):
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
        return self._ask(download(f"{self.path}/{identifier}/items/{index}/proof", target))

    @operation
    def check_proof(self, identifier: str, index: int) -> Flow[ProofCheck]:
        """Have the server's checker judge the proof of a verified input once more.

        To trust no server, download the proof and give it to `tightrope check`.
        """
        return self._ask(self._judged(identifier, f"items/{index}/proof/check", ProofCheck))

    @operation
    def counterexample(self, identifier: str, index: int, target: str | Path) -> Flow[None]:
        """Write the counterexample to a falsified input as `.npz`, for `tightrope check`."""
        return self._ask(download(f"{self.path}/{identifier}/items/{index}/counterexample", target))

    @operation
    def replay_counterexample(self, identifier: str, index: int) -> Flow[CounterexampleReplay]:
        """Have the server run the counterexample to a falsified input once more."""
        path = f"items/{index}/counterexample/replay"
        return self._ask(self._judged(identifier, path, CounterexampleReplay))

    def _judged(self, identifier: str, path: str, kind: type[M]) -> Call[M]:
        whole = f"{self.path}/{identifier}/{path}"
        return post(whole, reads(kind), held_seconds=_JUDGED_SECONDS)


class Comparisons(Certifying[R, Comparison]):
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


class Trainings(Results[R, Training]):
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
        return self._ask(download(f"{self.path}/{identifier}/artifacts/{artifact}", target))
