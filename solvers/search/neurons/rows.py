"""Records of tensors that have one row for each domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

__all__ = ["DomainRows"]


@dataclass(frozen=True, eq=False)
class DomainRows:
    """A record of tensors, all of as many rows as there are domains."""

    def __len__(self) -> int:
        """Return the number of domains."""
        return int(getattr(self, fields(self)[0].name).shape[0])

    def __getitem__(self, index: Tensor | slice) -> Self:
        """Return some of the domains."""
        return type(self)(*(getattr(self, f.name)[index] for f in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return domains of equal shapes, one after the other; there must be at least one part."""
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @property
    def bytes_each(self) -> int:
        """Memory of one domain."""
        parts = (getattr(self, f.name) for f in fields(self))
        return sum(part[:1].numel() * part.element_size() for part in parts)
