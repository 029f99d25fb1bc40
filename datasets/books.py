"""Books as streams of characters: Anna Karenina, the Bible, some of Shakespeare.

    python datasets/books.py [FOLDER [OUT]]

FOLDER holds anna.txt, bible.txt and tinyshakespeare_input.txt, by default text_books in
$SEQEBM_DATA. A .h5 of the same name is written for each to OUT, by default there. Other texts are
prepared with `seqebm data text FILE.txt --out data.h5`.

Data card
    source      anna.txt: Tolstoy in English, from Project Gutenberg, without its header; bible.txt:
                King James, of the Canterbury corpus; tinyshakespeare_input.txt: plays, of
                github.com/karpathy/char-rnn
    symbols     characters as they are, newlines among them: 77, 63 and 65 kinds in 1966144, 4047392
                and 1115394
    splits      the first 90% to train on, then 5% to validate and 5% to test on, in this order, so
                that all test text is new; nobody has published a split of these to compare with
    yardstick   bits per character of the test text by frequencies, and by 6-grams of Witten and
                Bell; printed below
    licence     in the public domain; Crown rights apply to the Bible in the United Kingdom
"""

import os
import sys
from pathlib import Path

from seqebm.data import save_sequences
from seqebm.data.text import read_texts
from seqebm.evaluate import NGram, bits_per_symbol

NAMES = ("anna", "bible", "tinyshakespeare_input")
SHARES = (90, 5, 5)


def main() -> None:
    """Write the files and print the yardsticks of each."""
    given = [Path(argument) for argument in sys.argv[1:]]
    folder = given[0] if given else Path(os.environ.get("SEQEBM_DATA", "data")) / "text_books"
    out = given[1] if len(given) > 1 else folder
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        book = read_texts([folder / f"{name}.txt"], shares=SHARES)
        save_sequences(out / f"{name}.h5", book)
        train, _, test = book
        bits = [bits_per_symbol(NGram(train, order).surprises(test)).bits for order in (0, 5)]
        print(
            f"{out / name}.h5: {int(book.lengths.sum())} characters of {book.n_visible} kinds; "
            f"bits by frequencies {bits[0]:.3f}, by 6-grams {bits[1]:.3f}"
        )


if __name__ == "__main__":
    main()
