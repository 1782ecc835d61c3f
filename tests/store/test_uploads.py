"""Networks and data sets: one row per content and name, one file per content."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from store.errors import (
    ConflictError,
    IdempotencyMismatchError,
    NotFoundError,
    StoreFullError,
)
from store.idempotency import Replay
from tests.helpers.service import NETWORK_DETAILS, World
from tests.store.test_blobs import files


def test_the_same_content_and_name_is_stored_once(world: World) -> None:
    again = world.upload(world.networks, b"network", "n.onnx", {})
    assert again == world.network
    other = world.upload(world.networks, b"network", "m.onnx", NETWORK_DETAILS)
    assert other != again
    assert len(files(world.settings.blob_dir)) == 2
    assert [row.id for row in world.networks.page(limit=9)] == [other, world.network]
    assert [row.id for row in world.networks.page(limit=9, before=other)] == [world.network]


def test_details_are_found_by_content(world: World) -> None:
    row = world.networks.get(world.network)
    assert world.networks.details_of(row.sha256) == NETWORK_DETAILS
    assert world.datasets.details_of(row.sha256) is None


def test_a_file_stays_as_long_as_somebody_has_it(world: World) -> None:
    other = world.upload(world.networks, b"network", "m.onnx", {})
    path = world.networks.path(world.networks.get(other))
    world.networks.delete(world.network)
    assert path.read_bytes() == b"network"
    world.networks.delete(other)
    assert not path.exists()
    with pytest.raises(NotFoundError, match=other):
        world.networks.get(other)


def test_what_a_certification_uses_stays(world: World) -> None:
    certification = world.finish()
    for uploads, identifier in ((world.networks, world.network), (world.datasets, world.dataset)):
        with pytest.raises(ConflictError, match=certification):
            uploads.delete(identifier)
    world.certifications.delete(certification)
    world.networks.delete(world.network)
    world.datasets.delete(world.dataset)
    assert files(world.settings.blob_dir) == []


def test_a_full_disk_leaves_neither_row_nor_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(world.settings.blob_dir)

    def full(_self: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreFullError):
        world.upload(world.networks, b"new", "new.onnx", {})
    monkeypatch.undo()
    assert [row.id for row in world.networks.page(limit=9)] == [world.network]
    assert files(world.settings.blob_dir) == before


def test_a_key_belongs_to_one_file(world: World) -> None:
    replay = Replay("key", "POST /v1/networks", "one")

    def upload(content: bytes, replay: Replay) -> tuple[str, bool]:
        with world.blobs.receive() as incoming:
            incoming.write(content)
            row, new = world.networks.add(incoming, name="x", details={}, replay=replay)
            return row.id, new

    first, new = upload(b"one", replay)
    assert new
    assert upload(b"one", replay) == (first, False)
    with pytest.raises(IdempotencyMismatchError):
        upload(b"two", Replay("key", "POST /v1/networks", "two"))
    world.networks.delete(first)
    assert upload(b"two", Replay("key", "POST /v1/networks", "two"))[1]
