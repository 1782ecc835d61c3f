"""Networks and data sets on the server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from tightrope_client.calls import (
    PAGE_ENTRIES,
    Call,
    Page,
    Paging,
    delete,
    download,
    get,
    page_of,
    post,
    reads,
)
from tightrope_client.errors import ConfigurationError
from tightrope_client.flows import Flow, content_hash
from tightrope_client.models import Dataset, Network, Upload
from tightrope_client.operations import R, Resource, operation, paged

__all__ = ["Datasets", "Networks"]

U = TypeVar("U", bound=Upload)


def _path_of(file: str | Path) -> Path:
    path = Path(file)
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}")
    return path


class _Uploads(Resource[R], Generic[R, U]):
    """Files of one kind."""

    path: ClassVar[str]
    _kind: ClassVar[type[Upload]]

    @operation
    def upload(self, file: str | Path | bytes, *, name: str | None = None) -> Flow[U]:
        """Return the resource of a file; it is sent only if the server does not have it.

        Args:
            file: Path, or the content itself.
            name: For people; the file's own if absent, and then any name it has on the server
                will do.

        Raises:
            ConfigurationError: There is no such file.
            InvalidRequestError: The server cannot use it, and says why.
        """
        content = file if isinstance(file, bytes) else _path_of(file)
        own = name or (content.name if isinstance(content, Path) else None)
        sha256 = yield from content_hash(content)
        found = yield from self._ask(self._page(None, sha256=sha256))
        named = [entry for entry in found.items if entry.name == own]
        known = named or ([] if name else found.items)
        if known:
            return known[0]
        call = post(self.path, reads(self._model()), upload=content, parameters={"name": own})
        return (yield from self._ask(call))

    @operation
    def get(self, identifier: str) -> Flow[U]:
        """Return one."""
        return self._ask(get(f"{self.path}/{identifier}", reads(self._model())))

    @paged
    def list(self, *, sha256: str | None = None) -> Paging[U]:
        """Iterate over all, newest first; with `sha256`, over those of one content."""
        return partial(self._page, sha256=sha256)

    @operation
    def download(self, identifier: str, target: str | Path) -> Flow[None]:
        """Write the file as it was uploaded."""
        return self._ask(download(f"{self.path}/{identifier}/file", target))

    @operation
    def delete(self, identifier: str) -> Flow[None]:
        """Delete one that no job uses."""
        return self._ask(delete(f"{self.path}/{identifier}"))

    def _page(self, cursor: str | None, *, sha256: str | None) -> Call[Page[U]]:
        read = page_of(self._model())
        return get(self.path, read, sha256=sha256, cursor=cursor, limit=PAGE_ENTRIES)

    def _model(self) -> type[U]:
        return self._kind  # type: ignore[return-value]


class Networks(_Uploads[R, Network]):
    """ONNX networks."""

    path = "v1/networks"
    _kind = Network


class Datasets(_Uploads[R, Dataset]):
    """Labelled inputs, as npz files."""

    path = "v1/datasets"
    _kind = Dataset
