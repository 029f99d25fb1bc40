"""Sequences with what a person must know about them, in memory and in HDF5 files."""

from __future__ import annotations

import collections.abc
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqebm.files import check_dataset, get_text, read_hdf5, set_text, write_hdf5

_FORMAT = "seqebm-sequences"
_TEXTS = ("name", "unit", "split")
_NUMBERS = ("frame_rate", "shape", "scale", "offset")
_CHUNK_VALUES = 2**16  # frames are compressed 256 KiB at a time
MOST_CATEGORIES = 2**16  #: of a sequence of symbols


@dataclass(frozen=True, eq=False)
class Sequence:
    """One sequence of frames; ``original() == frames * scale + offset``.

    ``len(sequence)`` is the number of its frames and ``sequence[3:7]`` are some of them.

    Attributes:
        frames: ``[time, visible]``, float32, at least one frame, all finite.
        name: What it shows or where it comes from.
        frame_rate: Frames per second.
        unit: Unit of the original values, such as "grey level" or "radian".
        shape: Shape of one frame, such as (height, width); by default (visible,).
        split: Part of the data set that it belongs to, such as "train".
        scale: What the frames were divided by, one number or ``[visible]``.
        offset: What was subtracted before, one number or ``[visible]``.

    Raises:
        ValueError: If a field is out of range or does not fit the frames.
        TypeError: If `frames` is not a tensor or a text field is not a string.

    Example:
        >>> heights = Sequence(torch.tensor([[0.0], [1.0]]), unit="cm", scale=2.0, offset=170.0)
        >>> heights.original()
        tensor([[170.],
                [172.]])
    """

    frames: Tensor
    name: str = ""
    frame_rate: float = 25.0
    unit: str = ""
    shape: tuple[int, ...] = ()
    split: str = ""
    scale: Tensor | float = 1.0
    offset: Tensor | float = 0.0

    def __post_init__(self) -> None:
        _check_frames(self.frames)
        self._set("frames", self.frames.to(torch.float32))
        self._label(self.frames.device)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, place: int | slice) -> Tensor:
        return self.frames[place]

    @property
    def n_visible(self) -> int:
        """The number of values in a frame."""
        return self.frames.shape[1]

    @property
    def _stored(self) -> Tensor:
        """What is kept of the frames, here and in files, [time, ...]."""
        return self.frames

    def original(self) -> Tensor:
        """Returns the frames ``[time, visible]`` in `unit`: ``frames * scale + offset``."""
        return self.frames * self.scale + self.offset

    def backwards(self) -> Sequence:
        """Returns the sequence reversed in time, the last frame first.

        Example:
            >>> Sequence(torch.tensor([[1.0], [2.0]]), name="up").backwards()[:]
            tensor([[2.],
                    [1.]])
        """
        return replace(self, frames=self.frames.flip(0))

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)

    def _label(self, device: torch.device) -> None:
        """Bring what is said of the frames into its form, and check it."""
        visible = self.n_visible
        self._set("shape", tuple(int(size) for size in self.shape) or (visible,))
        self._set("scale", _per_dimension("scale", self.scale, visible, device))
        self._set("offset", _per_dimension("offset", self.offset, visible, device))
        self._set("frame_rate", float(self.frame_rate))
        for text in _TEXTS:
            if not isinstance(getattr(self, text), str):
                raise TypeError(f"{text} must be a string, got {getattr(self, text)!r}")
        if min(self.shape) < 1 or math.prod(self.shape) != visible:
            raise ValueError(f"shape {self.shape} does not make frames of {visible} values")
        if not 0 < self.frame_rate < math.inf:
            raise ValueError(f"frame_rate must be positive, got {self.frame_rate}")


class _MadeFrames:
    """Frames that are made when they are asked for."""

    @property
    def frames(self) -> Tensor:
        """All frames ``[time, visible]``, float32; a piece takes less memory."""
        return self[:]  # type: ignore[index]


@dataclass(frozen=True, eq=False)
class SymbolSequence(Sequence, _MadeFrames):
    """A sequence of symbols, such as the characters of a text.

    A frame is the one-hot code of a symbol. Only the numbers of the symbols are kept: the frames of
    a book would take gigabytes. ``sequence[3:7]`` makes some of them, `frames` makes all.

    Attributes:
        symbols: ``[time]``, whole numbers from 0, at least one; uint8 where that suffices, else
            int32.
        categories: How many symbols there are, K, from 2 to 65536: the width of a frame.
        frames: ``[time, K]``, float32.

    The other attributes are those of `Sequence`.

    Raises:
        ValueError: If a field is out of range.
        TypeError: If `symbols` is no tensor of whole numbers, or `categories` no whole number.

    Example:
        >>> word = SymbolSequence(symbols=torch.tensor([2, 0, 1]), categories=3, name="cab")
        >>> len(word), word[:2]
        (3, tensor([[0., 0., 1.],
                [1., 0., 0.]]))
    """

    frames: Tensor = field(init=False, repr=False)
    symbols: Tensor = field(kw_only=True)
    categories: int = field(kw_only=True)

    def __post_init__(self) -> None:
        _check_symbols(self.symbols, self.categories)
        narrow = torch.uint8 if self.categories <= 2**8 else torch.int32
        self._set("symbols", self.symbols.to(narrow))
        self._label(self.symbols.device)

    def __getitem__(self, place: int | slice) -> Tensor:
        return F.one_hot(self.symbols[place].long(), self.categories).to(torch.float32)

    @property
    def n_visible(self) -> int:
        """K."""
        return self.categories

    def backwards(self) -> SymbolSequence:
        """Returns the sequence reversed in time, the last symbol first."""
        return replace(self, symbols=self.symbols.flip(0))

    @property
    def _stored(self) -> Tensor:
        return self.symbols


class Sequences(collections.abc.Sequence[Sequence]):
    """An immutable list of sequences; slices are `Sequences` too.

    Args:
        sequences: Any number of `Sequence`, possibly of different lengths and widths.
        preparation: How all of them were made from something else, as text that says how to go
            back, such as `seqebm.data.mocap.Preparation.to_json`; empty where they are what they
            are. Slices and splits have it too.

    Attributes:
        preparation: See above.

    Raises:
        TypeError: If an item is not a `Sequence`, or `preparation` no string.

    Example:
        >>> train, test = torch.rand(5, 3), torch.rand(9, 3)
        >>> data = Sequences([Sequence(train, split="train"), Sequence(test, split="test")])
        >>> data.lengths, data.n_visible, data.split("train")
        (tensor([5, 9]), 3, <1 sequence>)
        >>> frames, lengths = data.padded()
        >>> frames.shape
        torch.Size([2, 9, 3])
    """

    def __init__(self, sequences: Iterable[Sequence], preparation: str = "") -> None:
        self._items = tuple(sequences)
        for item in self._items:
            _check_item(item)
        if not isinstance(preparation, str):
            raise TypeError(f"preparation must be a string, got {type(preparation).__name__}")
        self.preparation = preparation

    @classmethod
    def from_frames(
        cls, frames: Tensor, lengths: Tensor | None = None, **attributes: Any
    ) -> Sequences:
        """Sequences from a batch of frames; the `attributes` of `Sequence` hold for each.

        Args:
            frames: ``[n, time, visible]``.
            lengths: ``[n]``, frames of each sequence (the rest is padding); by default all.
            **attributes: Fields of `Sequence`, such as ``split="train"``.

        Raises:
            ValueError: If `frames` or `lengths` has another shape or a length is out of range.

        Example:
            >>> Sequences.from_frames(torch.rand(2, 5, 3), torch.tensor([5, 4])).lengths
            tensor([5, 4])
        """
        if frames.ndim != 3:
            raise ValueError(f"frames must be [n, time, visible], got {list(frames.shape)}")
        n, time = frames.shape[:2]
        ends = torch.full((n,), time) if lengths is None else lengths
        if ends.is_floating_point() or ends.shape != (n,) or not all((ends > 0) & (ends <= time)):
            raise ValueError(f"lengths must be {n} integers from 1 to {time}, got {ends}")
        return cls(Sequence(one[:end], **attributes) for one, end in zip(frames, ends, strict=True))

    @overload
    def __getitem__(self, index: int) -> Sequence: ...
    @overload
    def __getitem__(self, index: slice) -> Sequences: ...
    def __getitem__(self, index: int | slice) -> Sequence | Sequences:
        if isinstance(index, slice):
            return Sequences(self._items[index], self.preparation)
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"<{len(self)} sequence{'' if len(self) == 1 else 's'}>"

    @property
    def n_visible(self) -> int:
        """The number of values in a frame.

        Raises:
            ValueError: If the sequences have different widths, or if there are none.
        """
        widths = sorted({item.n_visible for item in self})
        if len(widths) != 1:
            raise ValueError(f"sequences must have frames of one width, got widths {widths}")
        return widths[0]

    @property
    def lengths(self) -> Tensor:
        """Frames of each sequence, ``[n]``, int64."""
        return torch.tensor([len(item) for item in self], dtype=torch.int64)

    def split(self, name: str) -> Sequences:
        """Returns the sequences whose `split` is `name`.

        Raises:
            ValueError: If there are none; the message lists the splits there are.
        """
        found = Sequences((item for item in self if item.split == name), self.preparation)
        if not found:
            raise ValueError(f"no split {name!r}, there are {sorted({i.split for i in self})}")
        return found

    def backwards(self) -> Sequences:
        """Returns each sequence reversed in time, in its place among the others.

        A sequence begins with its own last frame, however long the others are. What is reversed
        twice is as it was.

        Example:
            >>> frames = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [0.0]]])
            >>> data = Sequences.from_frames(frames, torch.tensor([3, 2]))
            >>> data.backwards().padded()[0].squeeze(2)
            tensor([[3., 2., 1.],
                    [5., 4., 0.]])
        """
        return Sequences((item.backwards() for item in self), self.preparation)

    def padded(self) -> tuple[Tensor, Tensor]:
        """Returns frames ``[n, max_time, visible]``, zero after each end, and lengths ``[n]``.

        Raises:
            ValueError: If the sequences have different widths, or if there are none.
        """
        _ = self.n_visible
        return pad_sequence([item.frames for item in self], batch_first=True), self.lengths


def save_sequences(path: str | os.PathLike[str], sequences: Iterable[Sequence]) -> None:
    """Writes sequences to an HDF5 file, all or nothing.

    Frames are float32 data sets ``/sequences/00000 …`` ``[time, visible]`` whose attributes are
    the other fields of `Sequence`; symbols are data sets ``[time]`` of unsigned integers with an
    attribute `categories`. The preparation of `Sequences` is an attribute of the file.
    Sequences that are made while they are iterated over are written one by one, so that there may
    be more of them than fit in memory.

    Args:
        path: The file to write; an older file is replaced once the new one is complete.
        sequences: At least one.

    Raises:
        ValueError: If there is no sequence.
        TypeError: If an item is not a `Sequence`.
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_sequences(f"{folder}/data.h5", [Sequence(torch.rand(5, 3), name="noise")])
        ...     read_sequences(f"{folder}/data.h5")[0].name
        'noise'
    """
    with write_hdf5(path, _FORMAT) as file:
        if isinstance(sequences, Sequences) and sequences.preparation:
            set_text(file, "preparation", sequences.preparation)
        group = file.create_group("sequences")
        for number, item in enumerate(sequences):
            _check_item(item)
            _write(group, f"{number:05d}", item)
        if not len(group):
            raise ValueError("sequences must not be empty")


def read_sequences(path: str | os.PathLike[str]) -> Sequences:
    """Reads what `save_sequences` has written; the attributes may be missing.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not intact, or not of this format; the message names it.

    Example:
        >>> read_sequences("nowhere.h5")
        Traceback (most recent call last):
        FileNotFoundError: nowhere.h5: no such file
    """
    with read_hdf5(path, _FORMAT) as file:
        group = file["sequences"]
        # numbers above 99999 have more digits
        names = sorted(group, key=lambda name: (len(name), name))
        if not names:
            raise ValueError("no sequences in it")
        preparation = get_text(file, "preparation") if "preparation" in file.attrs else ""
        return Sequences((_read(group[name], Path(path)) for name in names), preparation)


def _check_item(item: Any) -> None:
    if not isinstance(item, Sequence):
        raise TypeError(f"sequences must be seqebm.data.Sequence, got {type(item).__name__}")


def _write(group: Any, name: str, item: Sequence) -> None:
    values = item._stored.detach().cpu().numpy()
    if isinstance(item, SymbolSequence):
        values = values.astype(_symbol_type(item.categories))
    width = math.prod(values.shape[1:])
    rows = max(1, min(len(values), _CHUNK_VALUES // width))
    dataset = group.create_dataset(
        name,
        data=values,
        chunks=(rows, *values.shape[1:]),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    for key in _TEXTS:
        set_text(dataset, key, getattr(item, key))
    for key in _NUMBERS:
        dataset.attrs[key] = torch.as_tensor(getattr(item, key)).detach().cpu().numpy()
    if isinstance(item, SymbolSequence):
        dataset.attrs["categories"] = item.categories


def _read(dataset: Any, path: Path) -> Sequence:
    check_dataset(dataset, path)
    try:
        fields: dict[str, Any] = {
            key: get_text(dataset, key) for key in _TEXTS if key in dataset.attrs
        }
        fields |= {key: dataset.attrs[key] for key in _NUMBERS if key in dataset.attrs}
        if "categories" not in dataset.attrs:
            return Sequence(torch.from_numpy(dataset.astype("float32")[()]), **fields)
        if dataset.dtype.kind != "u" or dataset.dtype.itemsize > 2:
            raise ValueError(f"symbols must be unsigned integers, their type is {dataset.dtype}")
        categories = dataset.attrs["categories"]
        symbols = torch.from_numpy(dataset.astype("int32")[()])
        if not isinstance(categories, Integral):
            raise ValueError(f"categories must be a whole number, got {categories!r}")
        return SymbolSequence(symbols=symbols, categories=int(categories), **fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {dataset.name}: {error}") from error


def _symbol_type(categories: int) -> str:
    """The type that files keep symbols as."""
    return "uint8" if categories <= 2**8 else "uint16"


def _check_symbols(symbols: Tensor, categories: int) -> None:
    if type(categories) is not int:
        raise TypeError(f"categories must be a whole number, got {categories!r}")
    if not 2 <= categories <= MOST_CATEGORIES:
        raise ValueError(f"categories must be from 2 to {MOST_CATEGORIES}, got {categories}")
    if not isinstance(symbols, Tensor) or symbols.is_floating_point() or symbols.is_complex():
        got = getattr(symbols, "dtype", type(symbols).__name__)
        raise TypeError(f"symbols must be a tensor of whole numbers, got {got}")
    if symbols.ndim != 1 or symbols.numel() == 0:
        raise ValueError(f"symbols must be [time], not empty, got {list(symbols.shape)}")
    low, high = (int(end) for end in symbols.aminmax())
    if low < 0 or high >= categories:
        raise ValueError(f"symbols must be from 0 to {categories - 1}, got {low} to {high}")


def _check_frames(frames: Tensor) -> None:
    if not isinstance(frames, Tensor):
        raise TypeError(f"frames must be a tensor, got {type(frames).__name__}")
    if frames.ndim != 2 or frames.numel() == 0:
        raise ValueError(f"frames must be [time, visible], not empty, got {list(frames.shape)}")
    if frames.is_complex() or not frames.to(torch.float32).isfinite().all():
        raise ValueError("frames must be finite real numbers in float32")


def _per_dimension(name: str, value: Any, visible: int, device: torch.device) -> Tensor:
    """`value` as a float32 tensor, one number or one for each value of a frame."""
    values = torch.as_tensor(value, dtype=torch.float32, device=device)
    if values.shape not in [(), (visible,)] or not values.isfinite().all():
        raise ValueError(f"{name} must be finite, one number or {visible}, got {value!r}")
    return values
