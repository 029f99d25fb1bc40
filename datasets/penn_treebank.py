"""The Penn Treebank as a stream of characters, in the preparation of Mikolov et al. (2012).

    python datasets/penn_treebank.py [FOLDER [OUT]]

FOLDER holds ptb.train.txt, ptb.valid.txt and ptb.test.txt, by default text_ptb in $SEQEBM_DATA.
ptb.h5 is written to OUT, by default there. Other texts are prepared with `seqebm data text`.

Data card
    source      articles of the Wall Street Journal (Marcus, Santorini and Marcinkiewicz 1993), in
                lower case and with 10000 words, all others being <unk>, numbers N
    symbols     50 characters; words are a space apart and a newline is behind the last one of each
                line. The files of characters that go round (ptb.char.*.txt, which spell that space
                "_") give the same symbols (`seqebm.data.text.treebank_text`)
    splits      as published: 5017482 characters to train on, 393042 to validate, 442423 to test
    protocol    bits per character over the test characters, newlines counted, one continuous stream
    yardstick   bits per character by frequencies, and by 6-grams of Witten and Bell; printed below
    licence     that of the Linguistic Data Consortium for the text: not to be published
"""

import os
import sys
from pathlib import Path

from seqebm.data import Sequences, save_sequences
from seqebm.data.text import Characters, read_treebank
from seqebm.evaluate import NGram, bits_per_symbol

SPLITS = ("train", "valid", "test")


def main() -> None:
    """Write the file and print the yardsticks."""
    given = [Path(argument) for argument in sys.argv[1:]]
    folder = given[0] if given else Path(os.environ.get("SEQEBM_DATA", "data")) / "text_ptb"
    out = given[1] if len(given) > 1 else folder
    out.mkdir(parents=True, exist_ok=True)
    texts = {split: read_treebank(folder / f"ptb.{split}.txt") for split in SPLITS}
    vocabulary = Characters.of(texts.values())
    made = {
        split: vocabulary.sequence(vocabulary.encode(text), f"ptb.{split}", split)
        for split, text in texts.items()
    }
    save_sequences(out / "ptb.h5", Sequences(made.values(), vocabulary.to_json()))
    bits = [
        bits_per_symbol(NGram(made["train"], order).surprises(made["test"])).bits
        for order in (0, 5)
    ]
    counts = " + ".join(str(len(text)) for text in texts.values())
    print(f"{out / 'ptb.h5'}: {counts} characters of {vocabulary.size} kinds")
    print(f"bits per character: frequencies {bits[0]:.3f}, 6-grams {bits[1]:.3f}")


if __name__ == "__main__":
    main()
