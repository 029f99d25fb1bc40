"""C3D files: places of markers, before any skeleton is fitted to them."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqebm.data.mocap.motion import Array
from seqebm.data.sequences import Sequence
from seqebm.files import blame, existing_file


@dataclass(frozen=True, eq=False)
class Markers:
    """Where markers are, over time.

    Attributes:
        names: of the markers.
        places: [time, markers, 3], NaN where a marker was not seen, in `unit`.
        frame_rate: frames per second.
        unit: of lengths, as the file has it, such as "mm".
        name: what it shows or where it comes from.

    Raises:
        ValueError: places of another shape, without frames or markers, or infinite; a marker of
            which only some coordinates are known.

    Example:
        >>> places = np.zeros((5, 2, 3))
        >>> places[2, 1] = np.nan
        >>> markers = Markers(["knee", "toe"], places, frame_rate=100)
        >>> markers.seen.sum().item(), markers.sequence().frames.shape
        (9, torch.Size([5, 6]))
    """

    names: list[str]
    places: Array
    frame_rate: float
    unit: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        places = np.asarray(self.places, dtype=np.float64)
        if places.shape[1:] != (len(self.names), 3) or 0 in places.shape:
            raise ValueError(
                f"places: expected [time, {len(self.names)}, 3], not empty, got {[*places.shape]}"
            )
        missing = np.isnan(places)
        if np.isinf(places).any() or (missing.any(-1) != missing.all(-1)).any():
            raise ValueError("places: expected finite numbers, or three times NaN")
        object.__setattr__(self, "places", places)

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """[time, markers], whether a marker was seen."""
        return ~np.isnan(self.places[..., 0])

    @property
    def mask(self) -> torch.Tensor:
        """`seen` for the values of `sequence`, [time, 3 · markers], for `denoise`."""
        return torch.from_numpy(self.seen).repeat_interleave(3, dim=1)

    def sequence(self) -> Sequence:
        """The places as data, x, y, z of one marker after the other.

        A marker that was not seen is where it was last, or will be first; one that never was is
        at the origin.
        """
        return Sequence(
            torch.from_numpy(_filled(self.places, self.seen).reshape(len(self.places), -1)),
            name=self.name,
            frame_rate=self.frame_rate,
            unit=self.unit,
            shape=(len(self.names), 3),
        )


def read_c3d(path: str | os.PathLike[str]) -> Markers:
    """Reads the markers of a C3D file; analog channels are left out.

    Args:
        path: the file. It needs the package c3d: pip install seqebm[c3d].

    Returns:
        The markers. If the file ends early, those frames that are whole, with a UserWarning.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or has no markers or frames; the message names it.
        ImportError: the package is not installed.
    """
    try:
        import c3d
    except ImportError as error:
        raise ImportError("C3D files need c3d: pip install seqebm[c3d]") from error
    path = existing_file(path)
    # damaged files make the package fail in any way: names that were never set, for example
    with blame(path, Exception), path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = c3d.Reader(file)
        names = _distinct([label.strip() for label in reader.point_labels])
        if not 0 < reader.point_used <= len(names):
            raise ValueError(f"expected a name for every marker, got {len(names)}")
        frames = [points for _, points, _ in reader.read_frames()]
        expected = reader.last_frame - reader.first_frame + 1
        if not frames:
            raise ValueError("no frames in it")
        points = np.stack(frames).astype(np.float64)
        places = np.where(points[..., 3:4] < 0, np.nan, points[..., :3])
        found = Markers(
            names[: reader.point_used], places, float(reader.point_rate), _unit(reader), path.stem
        )
    if len(frames) < expected:
        warnings.warn(f"{path}: ends after {len(frames)} of {expected} frames", stacklevel=2)
    return found


def _unit(reader: Any) -> str:
    parameter = reader.get("POINT:UNITS")
    return "" if parameter is None else parameter.string_value.strip()


def _distinct(names: list[str]) -> list[str]:
    """The names, with numbers behind those that are empty or were there before."""
    found: list[str] = []
    for number, name in enumerate(names, start=1):
        found.append(name if name and name not in found else f"{name or 'marker'} {number}")
    return found


def _filled(places: Array, seen: npt.NDArray[np.bool_]) -> Array:
    """Places with the last known one, or the first, or the origin, where they were not seen."""
    times = np.arange(len(places))[:, None]
    last = np.maximum.accumulate(np.where(seen, times, -1), axis=0)
    first = np.where(seen.any(0), seen.argmax(0), 0)
    filled = np.take_along_axis(places, np.where(last < 0, first, last)[..., None], axis=0)
    return np.nan_to_num(filled)
