"""Files are stored whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.blobs import BlobStore, IncomingBlob
from store.errors import NotFoundError, StoreFullError


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]


@given(pieces=st.lists(st.binary(max_size=50), max_size=5))
def test_a_file_is_found_by_its_hash(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    blobs = BlobStore(folder)
    with blobs.receive() as incoming:
        for piece in pieces:
            incoming.write(piece)
        sha256 = incoming.keep()
    whole = b"".join(pieces)
    assert sha256 == hashlib.sha256(whole).hexdigest()
    assert blobs.path(sha256).read_bytes() == whole
    assert incoming.size_bytes == len(whole)
    assert files(folder) == [blobs.path(sha256)]


def test_storing_the_same_content_twice_stores_it_once(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    assert blobs.put(b"same") == blobs.put(b"same")
    assert len(files(tmp_path)) == 1


def test_what_is_not_kept_is_gone(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    with blobs.receive() as incoming:
        incoming.write(b"half")
        incoming.flush()
        assert incoming.path.read_bytes() == b"half"
    assert files(tmp_path) == []


def test_an_error_while_receiving_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="client"), BlobStore(tmp_path).receive() as incoming:
        incoming.write(b"half")
        raise RuntimeError("client went away")
    assert files(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], full)
    with pytest.raises(StoreFullError, match="disk is full"):
        BlobStore(tmp_path).put(b"too much")
    assert files(tmp_path) == []


def test_a_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    """Linux has a device that is always full; writing there is the real error."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full on this system")
    incoming = IncomingBlob(tmp_path)
    with incoming, Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), incoming._file.fileno())
        incoming.write(b"x")
        with pytest.raises(StoreFullError, match="free some space"):
            incoming.flush()
    assert files(tmp_path) == []


def test_other_failures_keep_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_handle: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="input/output") as caught:
        BlobStore(tmp_path).put(b"x")
    assert not isinstance(caught.value, StoreFullError)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="abc"):
        BlobStore(tmp_path).path("abc")


def test_delete_and_clear(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    sha256 = blobs.put(b"x")
    blobs.delete(sha256)
    blobs.delete(sha256)
    abandoned = blobs.receive()
    abandoned.write(b"left by a process that was killed")
    abandoned.flush()
    blobs.clear_incoming()
    assert len(files(tmp_path)) == 1  # whoever receives it lives
    abandoned._file.close()  # as the kernel does when it dies
    blobs.clear_incoming(spare_seconds=3600)
    assert len(files(tmp_path)) == 1
    blobs.clear_incoming()
    assert files(tmp_path) == []
    abandoned.__exit__(None, None, None)


def test_check_writes_and_cleans_up(tmp_path: Path) -> None:
    BlobStore(tmp_path).check()
    assert files(tmp_path) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        BlobStore(tmp_path / "file").check()
