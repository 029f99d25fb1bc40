"""Motion capture: recordings of moving skeletons, read, posed, written and made ready to learn."""

from seqebm.data.mocap.acclaim import read_amc, read_asf, write_amc, write_asf
from seqebm.data.mocap.bvh import read_bvh, write_bvh
from seqebm.data.mocap.files import (
    MOTION_FILES,
    AnyPreparation,
    motions,
    prepared,
    read_motion,
    read_motions,
    read_preparation,
    write_motion,
)
from seqebm.data.mocap.markers import Markers, read_c3d
from seqebm.data.mocap.matlab import MOTION_VARIABLES, holds_trials, read_mat, read_trials
from seqebm.data.mocap.mit import (
    MIT_COLUMNS,
    MITPreparation,
    mit_motion,
    mit_walking,
    restore_columns,
)
from seqebm.data.mocap.motion import Joint, Motion, Skeleton
from seqebm.data.mocap.prepare import Preparation
from seqebm.data.mocap.taylor import body_centred, ground_path, standardised, world, z_scaling

__all__ = [
    "MIT_COLUMNS",
    "MOTION_FILES",
    "MOTION_VARIABLES",
    "AnyPreparation",
    "Joint",
    "MITPreparation",
    "Markers",
    "Motion",
    "Preparation",
    "Skeleton",
    "body_centred",
    "ground_path",
    "holds_trials",
    "mit_motion",
    "mit_walking",
    "motions",
    "prepared",
    "read_amc",
    "read_asf",
    "read_bvh",
    "read_c3d",
    "read_mat",
    "read_motion",
    "read_motions",
    "read_preparation",
    "read_trials",
    "restore_columns",
    "standardised",
    "world",
    "write_amc",
    "write_asf",
    "write_bvh",
    "write_motion",
    "z_scaling",
]
