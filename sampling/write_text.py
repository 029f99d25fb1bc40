"""Let a trained model of text write, as it goes.

    python sampling/write_text.py run/ "The meaning of life is " 0.8

The run has learned characters or bytes (`seqebm data text`). It goes on with the prompt for 1000 of
them; the last number is the temperature: 1 draws from what the model has learned, less is bolder.
"""

import itertools
import sys

import torch

from seqebm.data.text import read_vocabulary
from seqebm.learning.runs import open_run
from seqebm.text import written

folder, prompt, temperature = sys.argv[1:]
run = open_run(folder)
vocabulary = read_vocabulary(run.format.preparation)
generator = torch.Generator().manual_seed(1)
text = written(run.model, vocabulary, prompt, float(temperature), generator)
for part in itertools.chain([prompt], itertools.islice(text, 1000)):
    print(part, end="", flush=True)
print()
