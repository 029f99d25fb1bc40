"""Motion capture: recordings of moving skeletons, read, posed, written and made ready to learn."""

from seqebm.data.mocap.motion import Joint, Motion, Skeleton

__all__ = ["Joint", "Motion", "Skeleton"]
