"""Motion capture as Taylor, Hinton and Roweis (2007) prepared it, and back to where bodies are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation

from seqebm.data.mocap.motion import Array
from seqebm.data.sequences import Sequence

UNIT = "radian, length of the source"


def ground_path(frames: npt.ArrayLike) -> Array:
    """Where the root is above the ground, and where it faces.

    Args:
        frames: raw, `[time, 6 or more]`, see `body_centred`.

    Returns:
        `[time, 3]`: x, y and the angle in radians from the x axis to where the body faces, counted
        on over full turns. A body that faces straight up or down has none; it is given one.

    Raises:
        ValueError: frames of another shape, or not finite.

    Example:
        >>> ground_path([[0, 0, np.pi / 2, 7, 8, 9]]).round(4)
        array([[7.    , 8.    , 1.5708]])
    """
    frames = _with_root(frames)
    forward = Rotation.from_rotvec(frames[:, :3]).apply([1.0, 0.0, 0.0])
    heading = np.unwrap(np.arctan2(forward[:, 1], forward[:, 0]))
    return np.column_stack([frames[:, 3:5], heading])


def body_centred(frames: npt.ArrayLike) -> Array:
    """Says of the root only what stays the same wherever a body is and wherever it faces.

    The first stage of Taylor, Hinton and Roweis (2007), as in their program for the recordings of
    Hsu, Pulli and Popović (2005). The root's axes are x forward, y to the left, z upwards.

    ======= ==================================== ==============================================
    column  raw                                  body-centred
    ======= ==================================== ==============================================
    0, 1    exponential map of the root          angles of its x and y axis to straight down
    2       (radians)                            turn to the left until the next frame
    3, 4    x and y in the world                 way forward and to the right until the next
    5       z, the height                        the same
    6 …     anything                             the same
    ======= ==================================== ==============================================

    The last frame has no next one: its columns 2 to 4 are those of the frame before. Besides
    the beginning of the path (`ground_path`), all that is lost is whether the body is upside down.

    Args:
        frames: raw, `[time, 6 or more]`, at least two frames; angles in radians.

    Returns:
        `[time, the same]`; angles in radians, ways in lengths of the source per frame.

    Raises:
        ValueError: frames of another shape, fewer than two, or not finite.

    Example:
        >>> north = [0, 0, np.pi / 2]  # they look along y, and walk there and to the right
        >>> body_centred([[*north, 0, 0, 9], [*north, 1, 5, 9]]).round(4) + 0.0
        array([[1.5708, 1.5708, 0.    , 5.    , 1.    , 9.    ],
               [1.5708, 1.5708, 0.    , 5.    , 1.    , 9.    ]])
    """
    frames = _with_root(frames, least=2)
    x, y, heading = ground_path(frames).T
    vertical = Rotation.from_rotvec(frames[:, :3]).as_matrix()[:, 2]  # what is up, in its axes
    way = (np.diff(x) + 1j * np.diff(y)) * np.exp(
        -1j * heading[:-1]
    )  # forward, i times to the left
    centred = frames.copy()
    centred[:, :2] = np.arccos(-vertical[:, :2].clip(-1, 1))
    centred[:-1, 2:5] = np.column_stack([np.diff(heading), way.real, -way.imag])
    centred[-1, 2:5] = centred[-2, 2:5]
    return centred


def world(frames: npt.ArrayLike, start: npt.ArrayLike = (0.0, 0.0, 0.0)) -> Array:
    """The inverse of `body_centred`: from the turns and ways of the root to where it is.

    Every frame comes back. The body is taken to be upright, and the exponential map to be the one
    of at most half a turn. What a model has sampled need not be a pose: where the two axes cannot
    make these angles both, that of the x axis counts and y comes as near as it can.

    Args:
        frames: body-centred, `[time, 6 or more]`; turn and way of the last frame are not used.
        start: x, y and heading in radians of the first frame, a row of `ground_path`.

    Returns:
        Raw frames `[time, the same]`.

    Raises:
        ValueError: frames or start of another shape, or not finite.

    Example:
        >>> raw = np.array([[0.1, 0, 1, 5, 6, 9], [0.1, 0, 2, 6, 6, 9], [0, 0.3, 3, 7, 5, 8]])
        >>> bool(np.allclose(world(body_centred(raw), start=ground_path(raw)[0]), raw))
        True
    """
    frames = _with_root(frames)
    start = np.asarray(start, dtype=np.float64)
    if start.shape != (3,) or not np.isfinite(start).all():
        raise ValueError(f"start: expected x, y and heading, got {start}")
    heading = _path(start[2], frames[:-1, 2])
    way = (frames[:-1, 3] - 1j * frames[:-1, 4]) * np.exp(1j * heading[:-1])
    x_up, y_up = -np.cos(frames[:, :2]).T
    z_up = np.sqrt((1 - x_up**2 - y_up**2).clip(min=0))
    angles = np.column_stack([heading, np.arcsin(-x_up), np.arctan2(y_up, z_up)])
    raw = frames.copy()
    raw[:, :3] = Rotation.from_euler("ZYX", angles).as_rotvec()
    raw[:, 3] = _path(start[0], way.real)
    raw[:, 4] = _path(start[1], way.imag)
    return raw


def _path(start: float, steps: Array) -> Array:
    return start + np.concatenate([[0.0], np.cumsum(steps)])


def _with_root(frames: npt.ArrayLike, least: int = 1) -> Array:
    frames = np.asarray(frames, dtype=np.float64)
    if frames.ndim != 2 or len(frames) < least or frames.shape[1] < 6:
        raise ValueError(
            f"frames: expected {least} or more, of 6 values or more, got {[*frames.shape]}"
        )
    if not np.isfinite(frames).all():
        raise ValueError(f"frames: not finite in frame {np.argwhere(~np.isfinite(frames))[0][0]}")
    return frames


def are_body_centred(motions: list[Array]) -> bool:
    """Whether recordings are `body_centred`: all end with the turn and way of the frame before."""
    return all(np.array_equal(motion[-1, 2:5], motion[-2, 2:5]) for motion in motions)


def z_scaling(frames: npt.ArrayLike) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, for `standardised`.

    Args:
        frames: `[time, visible]`, those to go by: of the training sequences, as a rule.

    Returns:
        Mean and standard deviation (with time - 1 in the denominator), `[visible]`, float64.

    Raises:
        ValueError: fewer than two frames, or columns that do not change: the message lists them.

    Example:
        >>> z_scaling([[1, 10], [3, 40]])
        (array([ 2., 25.]), array([ 1.41421356, 21.21320344]))
    """
    frames = np.asarray(frames, dtype=np.float64)
    if frames.ndim != 2 or len(frames) < 2:
        raise ValueError(f"frames: expected two or more, [time, visible], got {[*frames.shape]}")
    # what changes by its last digits only is constant too
    constant = np.ptp(frames, axis=0) <= 1e-12 * np.abs(frames).max(axis=0)
    if constant.any():
        raise ValueError(
            f"frames: columns {np.flatnonzero(constant).tolist()} (from 0) do not change"
        )
    return frames.mean(axis=0), frames.std(axis=0, ddof=1)


def standardised(frames: Array, mean: Array, std: Array, **attributes: Any) -> Sequence:
    """A sequence of z-scores, computed in float64, whose `original` gives the frames back.

    Args:
        frames: `[time, visible]`.
        mean: `[visible]`, see `z_scaling`.
        std: `[visible]`, see `z_scaling`.
        **attributes: other fields of `Sequence`.

    Raises:
        TypeError, ValueError: as of `Sequence`.

    Example:
        >>> frames = np.array([[1.0, 10.0], [3.0, 40.0]])
        >>> walk = standardised(frames, *z_scaling(frames), name="walk")
        >>> walk.frames[:, 0], walk.original()[:, 1]
        (tensor([-0.7071,  0.7071]), tensor([10., 40.]))
    """
    scores = torch.from_numpy((frames - mean) / std)
    return Sequence(
        scores, scale=torch.from_numpy(std), offset=torch.from_numpy(mean), **attributes
    )
