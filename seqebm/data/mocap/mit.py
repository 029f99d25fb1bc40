"""The walks that Taylor, Hinton and Roweis (2007) and many after them learned."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqebm.data.mocap.matlab import MIT_WIDTH, check_recordings, variables
from seqebm.data.mocap.motion import Array
from seqebm.data.mocap.taylor import UNIT, are_body_centred, body_centred, standardised, z_scaling
from seqebm.data.sequences import Sequences
from seqebm.files import blame, existing_file

# The 49 columns of 108 that change in the walks of `mit_walking`, counted from 0: six of the root
# and one or three angles of each joint. The others are lengths of bones, and angles that are 0.
MIT_COLUMNS = (
    *range(9),
    *(13, 18, 19, 20, 25),  # knee, ankle, toes of the left leg
    *(30, 31, 32, 37, 42, 43, 44, 49),  # the right leg
    *(column for joint in range(54, 108, 6) for column in range(joint, joint + 3)),
)
_MIT_LENGTHS = (438, 260, 3128)  # frames of the three sequences at 30 frames a second
_MIT_FILES = ("data.mat", "motion.mat", "mit_mocap.mat")
_BLOCK, _TRAINING_BLOCKS = 100, 35
_BLOCK_LENGTHS = (100,) * 38 + (26,)


def restore_columns(frames: npt.ArrayLike, constants: npt.ArrayLike) -> Array:
    """Puts the columns back that are not in `MIT_COLUMNS`.

    Args:
        frames: `[time, 49]`, raw or body-centred.
        constants: `[108]`, what the other columns are, such as any frame of the file that the
            columns were taken from: they are the same in all of them. The lengths of the bones are
            among them; zeros do to compare angles.

    Returns:
        `[time, 108]`.

    Raises:
        ValueError: another shape.

    Example:
        >>> frames = np.random.rand(5, 108)
        >>> frames[1:] = np.where(np.isin(range(108), MIT_COLUMNS), frames[1:], frames[0])
        >>> np.array_equal(restore_columns(frames[:, MIT_COLUMNS], constants=frames[0]), frames)
        True
    """
    frames, constants = np.asarray(frames, np.float64), np.asarray(constants, np.float64)
    if frames.ndim != 2 or frames.shape[1] != len(MIT_COLUMNS):
        raise ValueError(f"frames: expected [time, {len(MIT_COLUMNS)}], got {[*frames.shape]}")
    if constants.shape != (MIT_WIDTH,):
        raise ValueError(f"constants: expected [{MIT_WIDTH}], got {[*constants.shape]}")
    restored = np.tile(constants, (len(frames), 1))
    restored[:, MIT_COLUMNS] = frames
    return restored


def mit_walking(path: str | os.PathLike[str], scaling: str = "train") -> Sequences:
    """The walks that Taylor, Hinton and Roweis (2007) learned, cut as Gan et al. (2015) cut them.

    Three recordings of walking in several styles by Hsu, Pulli and Popović (2005), 30 frames a
    second, body-centred, `MIT_COLUMNS` only, as z-scores. All 3826 frames in a row are cut into
    blocks of 100: the first 35 to train on; 100, 100, 100 and 26 to test, from the third
    recording. Blocks 4 and 6, from 0, run over the end of a recording into the next, and their
    names say so. The unit of lengths is not stated; the hips are 870 of them above the ground,
    which makes them millimetres.

    Args:
        path: a file, or a folder with a file of one of these names; the first there is:

            - data.mat, raw, 120 frames a second, of which every fourth is taken
            - motion.mat, body-centred, 30 frames a second
            - mit_mocap.mat, the blocks, as z-scores: `original` gives these, not angles

        scaling: whose mean and standard deviation the z-scores have: "train", of the training
            blocks; "all", of the test blocks too, for comparison with published numbers.

    Returns:
        39 sequences of 49 values, their `split` "train" or "test".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: `scaling` is unknown, the file is damaged, or it holds other data.

    Example:
        >>> import tempfile
        >>> from scipy.io import savemat
        >>> noise = np.array([np.random.rand(n, 108) for n in (1750, 1040, 12510)], dtype=object)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     savemat(f"{folder}/data.mat", {"Motion": noise})
        ...     data = mit_walking(folder)
        >>> data.split("train"), data.split("test").lengths
        (<35 sequences>, tensor([100, 100, 100,  26]))
        >>> data[4].name
        'sequence 1, frames 401-438; sequence 2, frames 1-62'
    """
    if scaling not in ("train", "all"):
        raise ValueError(f'scaling: expected "train" or "all", got {scaling!r}')
    path = existing_file(_mit_file(Path(path)))
    with blame(path, zlib.error, struct.error):
        blocks, unit = _mit_blocks(variables(path))
        known = blocks if scaling == "all" else blocks[:_TRAINING_BLOCKS]
        mean, std = z_scaling(np.concatenate(known))
        return Sequences(
            standardised(
                block,
                mean,
                std,
                name=_block_name(number),
                frame_rate=30.0,
                unit=unit,
                split="train" if number < _TRAINING_BLOCKS else "test",
            )
            for number, block in enumerate(blocks)
        )


def _mit_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in _MIT_FILES:
        if (path / name).exists():
            return path / name
    raise FileNotFoundError(f"{path}: there is none of {', '.join(_MIT_FILES)}")


def _mit_blocks(found: dict[str, list[Array]]) -> tuple[list[Array], str]:
    """The 39 blocks, before they are scaled, and their unit."""
    if "Motion" in found:
        motions = found["Motion"]
        check_recordings(motions)
        if not are_body_centred(motions):
            motions = [body_centred(motion[::4]) for motion in motions]
        if tuple(len(motion) for motion in motions) != _MIT_LENGTHS:
            raise ValueError(f"expected recordings of {_MIT_LENGTHS} frames at 30 a second")
        frames = np.concatenate(motions)[:, MIT_COLUMNS]
        return [frames[n : n + _BLOCK] for n in range(0, len(frames), _BLOCK)], UNIT
    blocks = [*found.get("train_data", []), *found.get("test_data", [])]
    if [block.shape for block in blocks] != [(n, len(MIT_COLUMNS)) for n in _BLOCK_LENGTHS]:
        raise ValueError("expected the blocks of MIT's walks: 38 of [100, 49] and one of [26, 49]")
    return blocks, "standard deviation"


def _block_name(number: int) -> str:
    """Such as "sequence 3, frames 3003-3102", counted from 1 at 30 frames a second."""
    parts = []
    start = number * _BLOCK
    for sequence, length in enumerate(_MIT_LENGTHS, start=1):
        first, last = max(1, 1 + start), min(length, start + _BLOCK)
        if first <= last:
            parts.append(f"sequence {sequence}, frames {first}-{last}")
        start -= length
    return "; ".join(parts)
