"""Write down strings of spoken digits: one labeller, trained by either kind of CTC.

    python datasets/spoken_digits.py [FOLDER] RUNS
    python docs/results/ctc.py RUNS/spoken_digits.h5 [COMMIT]

A string is one to four recordings of one speaker in a row, of the same digit as the one before in a
quarter of the cases and by chance. Test strings, 480 for each seed, are made of test recordings,
which no training hears. The labeller reads 30 ms at once: a bidirectional LSTM and an affine map,
no generative model. Both kinds of CTC begin with the same weights and see the same strings.

The digit error rate is the number of digits to insert, leave out or replace (Levenshtein), by the
number of digits that were said; that of repetitions counts strings with equal neighbours.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from record import machine, printed
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from tqdm import trange

from seqebm import ctc
from seqebm.data import Sequences, load_sequences

KINDS = {
    "thesis": (ctc.log_prob, ctc.best_path, ctc.beam_search),
    "Graves": (ctc.collapsed_log_prob, ctc.collapsed_best_path, ctc.collapsed_beam_search),
}
SEEDS = (1, 2, 3)
STEPS, BATCH, LR, HIDDEN = 1500, 16, 0.01, 48
TOGETHER = 3  # frames that are read at once, 30 ms
NOISE = 0.6  # standard deviation of what is added to z-scores in training
LONGEST = 4  # digits
AGAIN = 0.25  # how often the next digit is the one before
TEST_STRINGS = 480


class Strings:
    """Strings of one split's digits, as many as asked for, by a source of randomness."""

    def __init__(self, digits: Sequences) -> None:
        self.speakers: dict[str, dict[int, list[Tensor]]] = {}
        for one in digits:
            digit, speaker, _ = one.name.split("_")
            said = self.speakers.setdefault(speaker, {})
            said.setdefault(int(digit), []).append(one.frames)

    def draw(self, count: int, rng: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
        """Frames [time, 39] and digits [M] of each string."""
        return tuple(zip(*(self.one(rng) for _ in range(count)), strict=True))

    def one(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """A string of a speaker's digits."""

        def pick(options: list) -> object:
            return options[int(torch.randint(len(options), (), generator=rng))]

        said = self.speakers[pick(sorted(self.speakers))]
        digits = []
        for _ in range(pick(range(1, LONGEST + 1))):
            again = digits and float(torch.rand((), generator=rng)) < AGAIN
            digits.append(digits[-1] if again else pick(sorted(said)))
        frames = torch.cat([pick(said[digit]) for digit in digits])
        whole = frames[: len(frames) // TOGETHER * TOGETHER]
        return whole.reshape(-1, TOGETHER * frames.shape[1]), torch.tensor(digits)


class Labeller(nn.Module):
    """log p of ten digits and the blank, given all frames."""

    def __init__(self, n_visible: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(TOGETHER * n_visible, HIDDEN, batch_first=True, bidirectional=True)
        self.readout = nn.Linear(2 * HIDDEN, 11)

    def forward(self, frames: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Predictions [batch, time, 11] and lengths [batch]."""
        lengths = torch.tensor([len(one) for one in frames])
        padded = pad_sequence(frames, batch_first=True)
        packed = pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.readout(states).log_softmax(2), lengths


def trained(log_prob: Callable, strings: Strings, n_visible: int, seed: int) -> Labeller:
    """A labeller after its training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Labeller(n_visible)
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, STEPS)
    for _ in trange(STEPS, disable=None):
        frames, digits = strings.draw(BATCH, rng)
        noisy = [one + NOISE * torch.randn(one.shape, generator=rng) for one in frames]
        log_p, lengths = model(noisy)
        counts = torch.tensor([len(one) for one in digits])
        labels = pad_sequence(digits, batch_first=True)
        loss = -log_prob(log_p, labels, lengths, counts).sum() / counts.sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def edits(found: Tensor, said: Tensor) -> int:
    """Levenshtein's distance of two strings."""
    row = list(range(len(said) + 1))
    for n, new in enumerate(found.tolist(), start=1):
        before, row = row, [n]
        for m, old in enumerate(said.tolist(), start=1):
            row.append(min(before[m] + 1, row[-1] + 1, before[m - 1] + (new != old)))
    return row[-1]


def measured(model: Labeller, kind: str, strings: Strings, seed: int) -> dict[str, float]:
    """Digit error rates on strings of recordings that no training heard."""
    log_prob, best_path, beam_search = KINDS[kind]
    frames, said = strings.draw(TEST_STRINGS, torch.Generator().manual_seed(1000 + seed))
    with torch.no_grad():
        log_p, lengths = model(frames)
    counts = torch.tensor([len(one) for one in said])
    nats = -log_prob(log_p, pad_sequence(said, batch_first=True), lengths, counts).sum()
    inside = torch.arange(log_p.shape[1]) < lengths[:, None]
    rates = {"nats a digit": float(nats / counts.sum())}
    for name, found in {
        "best path": best_path(log_p, lengths),
        "beam search": beam_search(log_p, lengths),
    }.items():
        wrong = torch.tensor([edits(*pair) for pair in zip(found, said, strict=True)])
        again = torch.tensor([bool((one[1:] == one[:-1]).any()) for one in said])
        rates[name] = float(wrong.sum() / counts.sum())
        rates[f"{name}, repetitions"] = float(wrong[again].sum() / counts[again].sum())
    blank = log_p.argmax(2) == log_p.shape[2] - 1
    rates["frames a digit"] = float((inside & ~blank).sum() / counts.sum())
    return rates


def main() -> None:
    """Train, print and keep the figures."""
    torch.set_num_threads(1)
    path, *commit = sys.argv[1:]
    digits = load_sequences(path)
    train, test = (Strings(digits.split(name)) for name in ("train", "test"))
    figures: dict[str, list] = {kind: [] for kind in KINDS}
    for seed in SEEDS:
        for kind, (log_prob, *_) in KINDS.items():
            began = time.monotonic()
            model = trained(log_prob, train, digits.n_visible, seed)
            seconds = time.monotonic() - began
            figures[kind].append({"seconds": seconds, **measured(model, kind, test, seed)})
            print(kind, seed, json.dumps(figures[kind][-1]), flush=True)
    report = {
        "command": "python docs/results/ctc.py RUNS/spoken_digits.h5",
        "recipe": {
            "steps": STEPS,
            "batch": BATCH,
            "lr": LR,
            "hidden": HIDDEN,
            "noise": NOISE,
            "frames together": TOGETHER,
            "again": AGAIN,
        },
        "seeds": SEEDS,
        "commit": commit[0] if commit else printed("git", "rev-parse", "--short", "HEAD"),
        "machine": machine(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "figures": figures,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
