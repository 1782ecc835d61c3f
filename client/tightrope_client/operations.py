"""Operations of resources: written once as flows, called by one client and awaited by the other."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from tightrope_client.calls import Call, Paging
from tightrope_client.flows import Flow, exchange
from tightrope_client.runners import AsyncRunner, SyncRunner

__all__ = ["Resource", "operation", "paged"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", SyncRunner, AsyncRunner)


class Resource(Generic[R]):
    """A kind of resource on the server.

    Args:
        runner: Of its client; decides whether operations are called or awaited.
    """

    def __init__(self, runner: R) -> None:
        self._runner: R = runner

    def _ask(self, call: Call[T]) -> Flow[T]:
        """Return the flow of one request."""
        return exchange(call, self._runner.retry)


class operation(Generic[P, T]):
    """Make a method that returns a flow one that runs it: at once, or awaited."""

    def __init__(self, method: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Resource[SyncRunner], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, instance: Resource[AsyncRunner], owner: type
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        """Return the method, bound to a resource and its runner."""
        if instance is None:
            return self

        @functools.wraps(self._method)
        def bound(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 (as overloaded)
            return instance._runner.run(self._method(instance, *args, **kwargs))

        return bound


class paged(Generic[P, T]):
    """Make a method that returns calls for pages one that iterates over entries."""

    def __init__(self, method: Callable[Concatenate[Any, P], Paging[T]]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Resource[SyncRunner], owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(
        self, instance: Resource[AsyncRunner], owner: type
    ) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        """Return the method, bound to a resource and its runner."""
        if instance is None:
            return self

        @functools.wraps(self._method)
        def bound(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 (as overloaded)
            return instance._runner.iterate(self._method(instance, *args, **kwargs))

        return bound
