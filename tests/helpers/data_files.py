"""Data sets as they are published, made by hand: idx files, batches, folders of images."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]


def idx(array: Bytes, *, kind: int = 8) -> bytes:
    """Return an idx file."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes((0, 0, kind, array.ndim)) + sizes + array.tobytes()


def images(count: int, side: int = 4, *, seed: int = 0) -> Bytes:
    """Return random images, shape `(count, side, side)`."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side)).astype(np.uint8)


def labels(count: int, classes: int = 3) -> Bytes:
    """Return labels that take turns."""
    return (np.arange(count) % classes).astype(np.uint8)


def write_mnist(
    folder: Path, counts: dict[str, int] | None = None, *, packed: bool = False, dot: bool = False
) -> Path:
    """Write a folder of idx files, named as MNIST's are."""
    folder.mkdir(exist_ok=True)
    for part, count in (counts or {"train": 9, "t10k": 6}).items():
        for what, axes, array in (
            ("images", 3, images(count, seed=len(part))),
            ("labels", 1, labels(count)),
        ):
            name = f"{part}-{what}{'.' if dot else '-'}idx{axes}-ubyte"
            content = idx(array)
            if packed:
                name, content = f"{name}.gz", gzip.compress(content)
            (folder / name).write_bytes(content)
    return folder


def cifar_batch(count: int, *, seed: int = 0) -> bytes:
    """Return a batch of CIFAR-10's binary version; labels take turns."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072)).astype(np.uint8)
    return np.column_stack([labels(count, 10), pixels]).tobytes()


def write_cifar(folder: Path, *, train: int = 4, test: int = 3) -> Path:
    """Write a folder of two training batches, the test batch and the names of the classes."""
    folder.mkdir(exist_ok=True)
    for number in (1, 2):
        (folder / f"data_batch_{number}.bin").write_bytes(cifar_batch(train, seed=number))
    (folder / "test_batch.bin").write_bytes(cifar_batch(test))
    (folder / "batches.meta.txt").write_text("\n".join(f"class{i}" for i in range(10)) + "\n\n")
    return folder


def write_images(
    folder: Path,
    classes: dict[str, int],
    *,
    mode: str = "RGB",
    size: tuple[int, int] = (5, 4),
    suffix: str = "png",
) -> Path:
    """Write a folder with a subfolder of random images for each class; `size` is width, height."""
    generator = np.random.default_rng(0)
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
            image = Image.fromarray(pixels).convert(mode)
            image.save(folder / name / f"{number}.{suffix}")
    return folder
