"""Fields of forms: how they stand in a page, how their texts become values, and what was wrong.

A field is a place in a body of the interface. What is sent is checked by the body's own type, which
also has the words that explain a field and what it is unless somebody says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from api.dashboard.texts import READERS, Kind, Texts, written
from api.schemas.base import Wire

__all__ = [
    "Field",
    "Filled",
    "Form",
    "fill",
    "initial_texts",
    "place_of",
    "texts_of",
]

Create = TypeVar("Create", bound=Wire)


@dataclass(frozen=True)
class Field:
    """A field of a form.

    Attributes:
        name: Its place in the body, groups before a dot.
        label: For people.
        kind: How it stands and is read.
        hint: In place of the words of the body's type.
        unit: Of a number.
        choices: Words to choose from, with their labels; `source` names those to look up.
        source: `networks` or `datasets`.
        initial: What a fresh form says, where that differs from what holds if nothing is said.
        unless: Another field; where that is filled in from the start, this one stays empty.
        group: Under which heading of what is not needed at first; empty for what is.
    """

    name: str
    label: str
    kind: Kind = Kind.NUMBER
    hint: str = ""
    unit: str = ""
    choices: Sequence[tuple[str, str]] = ()
    source: str = ""
    initial: object = None
    unless: str = ""
    group: str = ""


@dataclass(frozen=True)
class Form(Generic[Create]):
    """What a page asks for.

    Attributes:
        kind: Of the job.
        model: Of the body.
        fields: In their order.
    """

    kind: str
    model: type[Create]
    fields: Sequence[Field]

    def id(self, field: Field) -> str:
        """Return what a field is called in its page, where other forms may be."""
        return f"{self.kind}-{field.name}".replace("_", "-").replace(".", "-")

    def hint(self, field: Field) -> str:
        """Return what a field is, in words."""
        return field.hint or str(place_of(self.model, field.name)[0].description or "")

    def needs(self, field: Field) -> bool:
        """Return whether a form without it says too little; groups may be left out as a whole."""
        return "." not in field.name and place_of(self.model, field.name)[0].is_required()

    def named(self, name: str) -> Field:
        """Return the field of that name."""
        return next(field for field in self.fields if field.name == name)


@dataclass(frozen=True)
class Filled(Generic[Create]):
    """A form as somebody filled it in.

    Attributes:
        texts: Of every field, as they stand in the page.
        problems: What is wrong, by the name of the field; that of the whole form under "".
        create: The body; None where something is wrong.
    """

    texts: Texts
    problems: Mapping[str, str]
    create: Create | None = None


def place_of(model: type[BaseModel], name: str) -> tuple[FieldInfo, object]:
    """Return what a body's type says of a place, and what holds there if nothing is said.

    Args:
        model: Of the body.
        name: Of the place, groups before a dot.
    """
    first, _, rest = name.partition(".")
    info = model.model_fields[first]
    if not rest:
        default = None if info.is_required() else info.get_default(call_default_factory=True)
        return info, default
    (group,) = [kind for kind in _kinds(info) if issubclass(kind, BaseModel)]
    inner, default = place_of(group, rest)
    return inner, default


def initial_texts(form: Form[Any], given: Texts) -> dict[str, list[str]]:
    """Return the texts of a fresh form, those that a link gives filled in.

    Args:
        form: Which.
        given: By field; others are passed over.
    """
    texts = {}
    for field in form.fields:
        if field.name in given:
            texts[field.name] = list(given[field.name])
        elif field.unless and field.unless in given:
            texts[field.name] = []
        else:
            _, default = place_of(form.model, field.name)
            texts[field.name] = written(default if field.initial is None else field.initial)
    return texts


def texts_of(form: Form[Any], body: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the texts that say what a body says, of every field."""
    return {field.name: written(_at(body, field.name)) for field in form.fields}


def fill(form: Form[Create], sent: Texts) -> Filled[Create]:
    """Return what a page sent, checked by the type of the body.

    Args:
        form: Which.
        sent: Texts by field; of boxes, only those that are ticked.
    """
    texts = {field.name: list(sent.get(field.name, ())) for field in form.fields}
    body: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in form.fields:
        info, default = place_of(form.model, field.name)
        try:
            value = READERS[field.kind](texts[field.name])
        except ValueError as error:
            problems[field.name] = str(error)
            continue
        if value is not None:
            _put(body, field.name, value)
        elif default is not None and type(None) in get_args(info.annotation):
            # Nothing is an answer of its own here, and not the one that holds if nothing is said.
            _put(body, field.name, None)
    try:
        create = form.model.model_validate(body)
    except ValidationError as error:
        for detail in error.errors():
            name = _field_at(form, detail["loc"])
            problems.setdefault(name, _words(detail))
        order = ["", *(field.name for field in form.fields)]
        return Filled(texts, {name: problems[name] for name in order if name in problems})
    return Filled(texts, problems, None if problems else create)


def _kinds(info: FieldInfo) -> list[type]:
    found = get_args(info.annotation) or (info.annotation,)
    return [kind for kind in found if isinstance(kind, type)]


def _at(body: Mapping[str, Any], name: str) -> object:
    """Return what a body says at a place; None where it says nothing."""
    value: object = body
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _put(body: dict[str, Any], name: str, value: object) -> None:
    *groups, last = name.split(".")
    for group in groups:
        body = body.setdefault(group, {})
    body[last] = value


def _field_at(form: Form[Any], place: Sequence[int | str]) -> str:
    """Return the field that stands for a place of the body; "" for the whole form."""
    names = [field.name for field in form.fields]
    path = ".".join(str(step) for step in place)
    exact = [name for name in names if path == name or path.startswith(f"{name}.")]
    beside = [name for name in names if path and name.startswith(f"{path}.")]
    return next(iter([*exact, *beside]), "")


def _words(detail: ErrorDetails) -> str:
    """Return what is wrong, in words for somebody who looks at the field."""
    known = _MESSAGES.get(detail["type"])
    if known is not None:
        return known.format(**detail.get("ctx", {}))
    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "This should")
    return message[:1].upper() + message[1:]


_MESSAGES = {
    "missing": "This is needed",
    "too_short": "Give at least {min_length}",
    "too_long": "Give at most {max_length}",
    "string_pattern_mismatch": "This is not one of those that there are",
    "finite_number": "This takes a finite number",
}
