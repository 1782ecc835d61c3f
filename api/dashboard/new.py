"""The forms of new jobs: what they say at first, what is wrong with them, and sending them.

A form that is sent goes through the function that the interface has for it: what it checks, counts
and writes down holds for pages too. The same form asked for by `GET` is only looked at: links fill
it in, and its commands are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.authentication import keys_needed
from api.certifying import new_certification
from api.comparing import new_comparison
from api.dashboard.commands import Commands, Names, commands_of
from api.dashboard.fields import (
    Field,
    Filled,
    Form,
    fill,
    initial_texts,
    texts_of,
)
from api.dashboard.job_forms import CERTIFICATION, COMPARISON, TRAINING
from api.dashboard.posting import PostedForm, refusal_of, texts_in
from api.dashboard.texts import Texts
from api.dashboard.visiting import Visit, VisitDependency
from api.principal import Scope, needs, needs_form
from api.problems import ApiError
from api.routes.certifications import create_certification
from api.routes.comparisons import create_comparison
from api.routes.trainings import create_training
from api.schemas.jobs import JobBase
from api.services import Services
from api.training import new_training
from store.choices import Choice, choices_of
from store.errors import StoreError
from store.identifiers import new_identifier
from store.tables import CertificationRow, ComparisonRow
from store.uploads import DATASETS, NETWORKS

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_SOURCES = {"networks": NETWORKS, "datasets": DATASETS}
_LISTED = 200
_ONCE = "once"
_SENT = "sent"
_LONGEST_ID = 40


@dataclass(frozen=True)
class _Kind:
    """A kind of job to ask for.

    Attributes:
        form: Its fields.
        scope: That it takes.
        lead: What it is, in a sentence.
        check: Looks at a body as sending it would, and keeps nothing.
        create: What the interface does.
        body_of: The body that would ask for the same as a job of this kind.
    """

    form: Form[Any]
    scope: Scope
    lead: str
    check: Callable[[Any, Services], object]
    create: Callable[[Any, Response, Services, str | None], JobBase]
    body_of: Callable[[Services, str], Mapping[str, Any]]


def _question_of(row: CertificationRow | ComparisonRow) -> dict[str, Any]:
    """Return what is asked of networks, for a form: the first inputs as their number."""
    body = {**row.settings, "dataset_id": row.dataset_id, "priority": row.job.priority}
    indices = body.pop("indices")
    if indices == list(range(len(indices))):
        return {**body, "count": len(indices), "reuse": True}
    return {**body, "indices": indices, "reuse": True}


def _certification_body(services: Services, job_id: str) -> Mapping[str, Any]:
    row = services.certifications.get(job_id)
    seconds = row.settings.get("proof_timeout_seconds")
    return {
        "proof_timeout_seconds": CERTIFICATION.model.model_fields["proof_timeout_seconds"].default,
        **_question_of(row),
        "network_id": row.network_id,
        "proofs": seconds is not None,
    }


def _comparison_body(services: Services, job_id: str) -> Mapping[str, Any]:
    row = services.comparisons.get(job_id)
    baseline, *candidates = (entry.network_id for entry in row.networks)
    return {**_question_of(row), "baseline_id": baseline, "candidate_ids": candidates}


def _training_body(services: Services, job_id: str) -> Mapping[str, Any]:
    row = services.trainings.get(job_id)
    return {
        **row.settings,
        "network_id": row.network_id,
        "dataset_id": row.dataset_id,
        "validation_id": row.validation_id,
        "priority": row.job.priority,
    }


_KINDS = (
    _Kind(
        CERTIFICATION, Scope.SUBMIT,
        "Within ε of each of these inputs, can the network's answer change?",
        new_certification, create_certification, _certification_body,
    ),
    _Kind(
        COMPARISON, Scope.SUBMIT,
        "Do these networks withstand more than the baseline, on the same inputs?",
        new_comparison, create_comparison, _comparison_body,
    ),
    _Kind(
        TRAINING, Scope.TRAIN,
        "A network made so that it can be certified, from an architecture or from another network.",
        new_training, create_training, _training_body,
    ),
)  # fmt: skip

Source = Annotated[str | None, Query(alias="from", max_length=_LONGEST_ID)]


def _add(kind: _Kind) -> None:
    """Add the page and the form of a kind; in the audit log they read as those of the interface."""
    name = kind.form.kind

    @router.get(f"/new/{name}", response_class=HTMLResponse, dependencies=[needs(Scope.READ)])
    def ask(visit: VisitDependency, source: Source = None) -> HTMLResponse:
        given = texts_in(kind.form, visit.request.query_params)
        fresh = _SENT not in visit.request.query_params
        if fresh:
            made = (
                {} if source is None else texts_of(kind.form, kind.body_of(visit.services, source))
            )
            given = initial_texts(kind.form, {**made, **given})
        listings = _listings(visit.services, kind.form, given)
        texts = _with_only(kind.form, given, listings) if fresh else given
        filled = _looked_at(kind, fill(kind.form, texts), visit.services)
        if fresh:
            # What is missing in a form that nobody has filled in yet is nobody's mistake.
            filled = Filled(filled.texts, {}, None if filled.problems else filled.create)
        return _page(visit, kind, filled, listings)

    @router.post(f"/new/{name}", name=f"create_{name}", dependencies=[needs_form(kind.scope)])
    def send(visit: VisitDependency, form: PostedForm) -> Response:
        status, filled = 422, fill(kind.form, texts_in(kind.form, form))
        if filled.create is not None:
            once = str(form.get(_ONCE) or "") or None
            try:
                job = kind.create(filled.create, Response(), visit.services, once)
            except (ApiError, StoreError) as error:
                status, problems = refusal_of(kind.form, error)
                filled = Filled(filled.texts, problems, filled.create)
            else:
                return RedirectResponse(f"/{name}s/{job.id}", status_code=303)
        listings = _listings(visit.services, kind.form, filled.texts)
        return _page(visit, kind, filled, listings, status=status)


for _kind in _KINDS:
    _add(_kind)


def _looked_at(kind: _Kind, filled: Filled[Any], services: Services) -> Filled[Any]:
    """Return a form with everything that sending it would find wrong."""
    if filled.create is None:
        return filled
    try:
        kind.check(filled.create, services)
    except (ApiError, StoreError) as error:
        return Filled(filled.texts, refusal_of(kind.form, error)[1], filled.create)
    return filled


@dataclass(frozen=True)
class _Listing:
    """Files to choose from.

    Attributes:
        files: The newest, and those that a form names.
        more: Whether there are others, too old to be listed.
        words: Tells one from another.
    """

    files: Sequence[Choice]
    more: bool
    words: Callable[[str, str, int], str]

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Ids, with what there is to say of them."""
        return [(one.id, self.words(one.name, _shape(one), one.amount)) for one in self.files]


_Listings = Mapping[str, _Listing]


def _listings(services: Services, form: Form[Any], texts: Texts) -> _Listings:
    return {source: _listing(services, form, texts, source) for source in _SOURCES}


def _listing(services: Services, form: Form[Any], texts: Texts, source: str) -> _Listing:
    fields = [field for field in form.fields if field.source == source]
    named = {text for field in fields for text in texts.get(field.name, ()) if text}
    kind = _SOURCES[source]
    files = choices_of(services.database, kind, limit=_LISTED + 1, named=named)
    return _Listing(files, more=len(files) > _LISTED, words=_WORDS[source])


_WORDS: Mapping[str, Callable[[str, str, int], str]] = {
    "networks": "{0} (takes {1}, {2} outputs)".format,
    "datasets": "{0} ({2} inputs of {1})".format,
}


def _shape(file: Choice) -> str:
    return " × ".join(str(size) for size in file.input_shape)


def _with_only(form: Form[Any], texts: Texts, listings: _Listings) -> Texts:
    """Return texts where a file is chosen if there is one alone."""
    chosen = dict(texts)
    for field in form.fields:
        listed = listings[field.source].files if field.source else ()
        if form.needs(field) and len(listed) == 1 and not chosen[field.name]:
            chosen[field.name] = [listed[0].id]
    return chosen


def _page(
    visit: Visit, kind: _Kind, filled: Filled[Any], listings: _Listings, *, status: int = 200
) -> HTMLResponse:
    groups: dict[str, list[Field]] = {}
    for field in kind.form.fields:
        groups.setdefault(field.group, []).append(field)
    first = groups.pop("")
    return visit.show(
        "new.html",
        status=status,
        kind=kind.form.kind,
        lead=kind.lead,
        first=first,
        groups=groups,
        opened=any(name in filled.problems for name in _names(groups)),
        filled=filled,
        form=kind.form,
        listings=listings,
        commands=_commands(visit.request, filled, listings, visit.services),
        scope=kind.scope.value,
        once=new_identifier("once"),
    )


def _names(groups: Mapping[str, Sequence[Field]]) -> set[str]:
    return {field.name for fields in groups.values() for field in fields}


def _commands(
    request: Request, filled: Filled[Any], listings: _Listings, services: Services
) -> Commands | None:
    if filled.create is None:
        return None
    files = [*listings["networks"].files, *listings["datasets"].files]
    names = Names(
        {one.id: one.name for one in files},
        {one.id: one.amount for one in listings["datasets"].files},
    )
    base = str(request.base_url).rstrip("/")
    return commands_of(filled.create, names, base, key=keys_needed(services))
