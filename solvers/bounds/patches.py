"""Coefficients of convolutional nodes kept as small windows.

A value of a convolutional layer depends on a window of the layers before it. Its coefficients are
therefore kept as that window alone, with the place where it lies, until the window has grown to
most of the map. Windows lie on a grid: row and column of the value they started from, times a
stride, plus an offset, both the same for all rows; so they may hang over the edge of the map,
where coefficients mean nothing and are read as zero.

Source: the idea of patches in Xu et al. 2020 (auto_LiRPA), section 3; laid out afresh here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Grid", "Patches", "is_map", "unit_patches"]

Pair = tuple[int, int]

_DENSE_SHARE = 0.6
"""Windows that cover more of the map than this are cheaper as whole maps."""


@dataclass(frozen=True)
class Grid:
    """Where windows lie: at place · stride + offset, for places below `extent`.

    Attributes:
        extent: Rows and columns of the node that the windows started from.
        stride, offset: Of the windows' upper left corners, in values of the present node.
    """

    extent: Pair
    stride: Pair = (1, 1)
    offset: Pair = (0, 0)

    def through(self, stride: Pair, padding: Pair) -> Grid:
        """Return the grid in the input of a convolution."""
        return Grid(
            self.extent,
            (self.stride[0] * stride[0], self.stride[1] * stride[1]),
            (self.offset[0] * stride[0] - padding[0], self.offset[1] * stride[1] - padding[1]),
        )

    def last(self, axis: int) -> int:
        """Return the largest corner along an axis."""
        return (self.extent[axis] - 1) * self.stride[axis] + self.offset[axis]


@dataclass(frozen=True)
class Patches:
    """Windows of coefficients of one node of shape `(1, channels, height, width)`.

    Attributes:
        values: Shape `(batch, rows, channels, window height, window width)`.
        places: Grid row and column of every row, two tensors of shape `(batch, rows)`.
        grid: Where the windows lie.
        map_shape: Height and width of the node.
    """

    values: Tensor
    places: tuple[Tensor, Tensor]
    grid: Grid
    map_shape: Pair

    @property
    def window(self) -> Pair:
        """Height and width of the windows."""
        return (int(self.values.shape[3]), int(self.values.shape[4]))

    @property
    def is_wide(self) -> bool:
        """Whether whole maps would be cheaper."""
        height, width = self.window
        return height * width > _DENSE_SHARE * self.map_shape[0] * self.map_shape[1]

    def with_values(self, values: Tensor) -> Patches:
        """Return the same windows with other coefficients."""
        return replace(self, values=values)

    def mirrored(self) -> Patches:
        """Append every row negated."""
        rows, columns = self.places
        return replace(
            self,
            values=torch.cat([self.values, -self.values], dim=1),
            places=(torch.cat([rows, rows], dim=1), torch.cat([columns, columns], dim=1)),
        )

    def read(self, field: Tensor) -> Tensor:
        """Read a map through every window; beyond its edge it is zero.

        Args:
            field: Shape `(batch, rows or 1, channels, height, width)`.

        Returns:
            Shape `(batch, rows, channels, window height, window width)`.
        """
        batch, rows = self.places[0].shape
        own = field.shape[1] > 1
        views = self._views(field.flatten(0, 1))
        # One table row per window of the grid, so that selecting copies memory in one piece.
        maps, channels, down, across = views.shape[:4]
        table = views.permute(0, 2, 3, 1, 4, 5).reshape(maps * down * across, -1)
        first = torch.arange(maps, device=field.device).reshape(batch, -1)
        if not own:
            first = first.expand(batch, rows)
        index = (first * down + self.places[0]) * across + self.places[1]
        picked = table.index_select(0, index.reshape(-1))
        return picked.reshape(batch, rows, channels, *self.window)

    def inside(self) -> Patches:
        """Return the windows with zeros beyond the edge of the map."""
        if self._overhang(0) == (0, 0) and self._overhang(1) == (0, 0):
            return self
        ones = self.values.new_ones(self.values.shape[0], 1, 1, *self.map_shape)
        return self.with_values(self.values * self.read(ones))

    def dense(self) -> Tensor:
        """Return whole maps, shape `(batch, rows, 1, channels, height, width)`."""
        batch, rows, channels = self.values.shape[:3]
        height, width = self.map_shape
        down, across = self._reach(0).unsqueeze(-1), self._reach(1).unsqueeze(-2)
        outside = (down < 0) | (down >= height) | (across < 0) | (across >= width)
        # What hangs over the edge goes to one extra cell, which is cut off again.
        index = torch.where(outside, height * width, down * width + across).flatten(2).unsqueeze(2)
        canvas = self.values.new_zeros(batch, rows, channels, height * width + 1)
        spread = index.expand(batch, rows, channels, index.shape[-1])
        canvas = canvas.scatter(3, spread, self.values.flatten(3))[..., :-1]
        return canvas.reshape(batch, rows, 1, channels, height, width)

    def summed(self) -> Tensor:
        """Return the sum of all windows of each example, shape `(batch, 1, channels, h, w)`."""
        batch, _, channels = self.values.shape[:3]
        height, width = self.map_shape
        down, across = self._reach(0).unsqueeze(-1), self._reach(1).unsqueeze(-2)
        outside = (down < 0) | (down >= height) | (across < 0) | (across >= width)
        index = torch.where(outside, height * width, down * width + across).reshape(batch, 1, -1)
        canvas = self.values.new_zeros(batch, channels, height * width + 1)
        moved = self.values.permute(0, 2, 1, 3, 4).reshape(batch, channels, -1)
        canvas = canvas.scatter_add(2, index.expand(batch, channels, -1), moved)[..., :-1]
        return canvas.reshape(batch, 1, channels, height, width)

    def plus(self, other: Patches) -> Patches | None:
        """Return the sum with windows of the same node, or None if the grids do not match."""
        if self.grid.stride != other.grid.stride:
            return None
        offset = (
            min(self.grid.offset[0], other.grid.offset[0]),
            min(self.grid.offset[1], other.grid.offset[1]),
        )
        ends = [max(p.grid.offset[axis] + p.window[axis] for p in (self, other)) for axis in (0, 1)]
        window = (ends[0] - offset[0], ends[1] - offset[1])
        values = self._framed(offset, window) + other._framed(offset, window)
        return replace(self, values=values, grid=replace(self.grid, offset=offset))

    def _framed(self, offset: Pair, window: Pair) -> Tensor:
        top, left = self.grid.offset[0] - offset[0], self.grid.offset[1] - offset[1]
        bottom = window[0] - top - self.window[0]
        right = window[1] - left - self.window[1]
        return functional.pad(self.values, (left, right, top, bottom))

    def _overhang(self, axis: int) -> Pair:
        """Return how far windows reach beyond the map at either end of an axis."""
        before = max(0, -self.grid.offset[axis])
        after = max(0, self.grid.last(axis) + self.window[axis] - self.map_shape[axis])
        return before, after

    def _reach(self, axis: int) -> Tensor:
        """Return the coordinates that windows cover, shape `(batch, rows, window)`."""
        corner = self.places[axis] * self.grid.stride[axis] + self.grid.offset[axis]
        return corner.unsqueeze(-1) + torch.arange(self.window[axis], device=corner.device)

    def _views(self, maps: Tensor) -> Tensor:
        """Return all windows of maps, shape `(maps, channels, down, across, height, width)`."""
        (top, bottom), (left, right) = self._overhang(0), self._overhang(1)
        if top or bottom or left or right:
            maps = functional.pad(maps, (left, right, top, bottom))
        maps = maps[..., max(0, self.grid.offset[0]) :, max(0, self.grid.offset[1]) :]
        views = maps.unfold(2, self.window[0], self.grid.stride[0])
        return views.unfold(3, self.window[1], self.grid.stride[1])


def is_map(shape: tuple[int, ...]) -> bool:
    """Return whether a node of that shape is a map of channels that windows can be cut from."""
    return len(shape) == 4 and shape[0] == 1 and shape[2] * shape[3] > 1


def unit_patches(indices: Tensor, shape: tuple[int, ...], like: Tensor) -> Patches:
    """Return windows of a single coefficient 1 that read single values of a node.

    Args:
        indices: Flat indices into the node, shape `(batch, rows)`.
        shape: Of the node, `(1, channels, height, width)`.
        like: Gives dtype and device.
    """
    _, channels, height, width = shape
    channel = indices // (height * width)
    within = indices % (height * width)
    values = like.new_zeros(*indices.shape, channels)
    values.scatter_(2, channel.unsqueeze(-1), 1.0)
    places = (within // width, within % width)
    return Patches(values[..., None, None], places, Grid((height, width)), (height, width))
