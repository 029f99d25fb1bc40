"""Train and measure recurrent networks of one size on characters.

    python datasets/penn_treebank.py FOLDER/text_ptb RUNS
    python datasets/books.py FOLDER/text_books RUNS
    python docs/results/characters.py train RUNS [RUN …]   # 8 minutes each; writes characters.json

Sets are ptb, the Penn Treebank in 50 symbols, and anna, Anna Karenina; `series.py` says how runs
are called and resumed. All networks have about 216 000 parameters, the number of Krause 2015,
sec. 5.2, and 2000 updates by 8000 characters each. Learning rates were chosen on the first 20 000
validation characters of the Treebank, after trainings of 40 seconds; with 0.01 an MRNN whose rate
does not fall is stopped by gradients too large for their norm. Bits per character are those of
`seqebm evaluate`: one continuous stream, its first character and newlines counted.
"""

from pathlib import Path

import torch
from series import Name, Series

from seqebm.data import load_sequences
from seqebm.evaluate import bits_per_symbol, surprises
from seqebm.learning.recipes import build_model, make_recipe
from seqebm.learning.runs import Run

SYMBOLS = {"ptb": 50, "anna": 77}  # of each data set
RATES = {"rnn": 0.002, "lstm": 0.02, "mrnn": 0.005, "stacked": 0.005, "mlstm": 0.005}
SEEDS = (1, 2, 3)
PARAMETERS, TOLERANCE = 216_000, 0.01
LARGEST = 1000  # hidden units of a layer, more than any network needs
LAYERS = 3  # of the stack of MRNNs
BUDGET = {"recurrence": "orthogonal", "steps": 2000}  # beside what the preset says


def arguments(folder: Path, run: Name) -> list[str]:
    """How a run is trained."""
    hidden = hidden_units(run.model, SYMBOLS[run.data])
    settings = {**sized(run.model, hidden), **BUDGET, "lr": RATES[run.model], "seed": run.seed}
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    return [run.model, "--data", str(folder / f"{run.data}.h5"), "--preset", "text", *sets]


def sized(model: str, hidden: int) -> dict[str, str]:
    """What a recipe says of the size of a network with so many hidden units in each layer."""
    if model == "stacked":
        return {"layers": ",".join([f"mrnn:{hidden}"] * LAYERS)}
    return {"hidden": str(hidden)}


def parameters(model: str, hidden: int, symbols: int) -> int:
    """How many a network has with its readout."""
    settings = {**sized(model, hidden), "visible": f"categorical:{symbols}"}
    with torch.device("meta"):
        made = build_model(make_recipe(model, "text", settings), symbols)
    return sum(p.numel() for p in made.parameters())


def hidden_units(model: str, symbols: int) -> int:
    """How many a layer has for the parameters to come nearest to their number, by bisection."""
    low, high = 1, LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (middle, high) if parameters(model, middle, symbols) <= PARAMETERS else (low, middle)
        )
    found = min(low, high, key=lambda n: abs(parameters(model, n, symbols) - PARAMETERS))
    off = parameters(model, found, symbols) / PARAMETERS - 1
    if abs(off) > TOLERANCE:
        raise ValueError(f"{model}: {found} hidden units are {100 * off:.1f}% off")
    return found


def figures(folder: Path, name: Name, run: Run) -> dict:
    """Bits per character of both held-out texts."""
    data = load_sequences(folder / f"{name.data}.h5")
    found = {}
    for split in ("valid", "test"):
        (text,) = data.split(split)
        found[split] = bits_per_symbol(surprises(run.model, text))._asdict()
    return found


SERIES = Series(
    runs=[Name(data, model, seed) for seed in SEEDS for data in SYMBOLS for model in RATES],
    arguments=arguments,
    figures=figures,
    file=Path(__file__).with_suffix(".json"),
)

if __name__ == "__main__":
    SERIES.main()
