"""What pages that take forms share: what was sent, and which field a refusal is about."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.datastructures import FormData, ImmutableMultiDict

from api.dashboard.fields import Form
from api.problems import ApiError, problem_of
from store.errors import StoreError

__all__ = ["PostedForm", "refusal_of", "texts_in"]


async def _posted(request: Request) -> FormData:
    return await request.form()


PostedForm = Annotated[FormData, Depends(_posted)]
"""The form of a request; its token was checked by `needs_form(…)`, which the route has to say."""


def texts_in(form: Form[Any], sent: ImmutableMultiDict[str, Any]) -> dict[str, list[str]]:
    """Return the texts of the fields that were sent; files are none.

    Args:
        form: Which.
        sent: A form, or the query of a link.
    """
    names = {field.name for field in form.fields}
    texts: dict[str, list[str]] = {}
    for name, value in sent.multi_items():
        if name in names and isinstance(value, str):
            texts.setdefault(name, []).append(value)
    return texts


def refusal_of(form: Form[Any], error: ApiError | StoreError) -> tuple[int, dict[str, str]]:
    """Return the status of an error, and what it says of which field; "" for the whole form.

    Args:
        form: Which.
        error: Of what was asked.
    """
    name = error.name if isinstance(error, ApiError) else type(error).__name__
    parts = error.errors if isinstance(error, ApiError) else ()
    problems: dict[str, str] = {}
    for part in parts:
        path = part.location.removeprefix("body.")
        named = (one.name for one in form.fields if f"{path}.".startswith(f"{one.name}."))
        problems[next(named, "")] = part.message
    return problem_of(name, str(error)).status, problems or {"": str(error)}
