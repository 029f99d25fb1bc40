"""What prepared frames stand for, whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from seqebm.data.checked_json import field, read_object
from seqebm.data.music import PianoRoll
from seqebm.data.text import BYTES, CHARACTERS, Vocabulary, read_vocabulary

if TYPE_CHECKING:
    from seqebm.data.mocap import AnyPreparation

Prepared: TypeAlias = "PianoRoll | Vocabulary | AnyPreparation"


def read_preparation(text: str) -> Prepared | None:
    """The preparation that `Sequences` or a run have as text; None where there is none.

    Returns:
        A `seqebm.data.music.PianoRoll`, a `seqebm.data.text.Vocabulary`, or a preparation of
        motions (`seqebm.data.mocap`).

    Raises:
        ValueError: the text is anything else; the message says what was expected where.

    Example:
        >>> read_preparation(PianoRoll(4).to_json())
        PianoRoll(frames_per_beat=4, lowest=21)
    """
    if not text:
        return None
    form = field(read_object(text, "preparation"), "format", str)
    if form == PianoRoll.FORMAT:
        return PianoRoll.from_json(text)
    if form in (CHARACTERS, BYTES):
        return read_vocabulary(text)
    from seqebm.data import mocap  # brings scipy, which most have no need of

    return mocap.read_preparation(text)
