"""What a model does with videos, as pictures: samples, continuations, predictions, denoising.

Frames have a shape (height, width); every function returns pictures for `seqebm.video.save`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from seqebm import video
from seqebm.data.noise import salt_and_pepper
from seqebm.models import RTRBM, TRBM, SequenceModel, Stack
from seqebm.models.energy import EnergyModel
from seqebm.video import Pictures

Shape = tuple[int, int]


def many(videos: Tensor, shape: Shape) -> Pictures:
    """Videos [n, time, visible] beside each other in a grid, as square as can be."""
    zoom = None if len(videos) == 1 else max(1, min(120 // min(shape), 480 // max(shape)))
    panels = [video.pictures(one, shape, zoom) for one in videos]
    return panels[0] if len(panels) == 1 else video.grid(panels)


def continuation(
    model: SequenceModel,
    frames: Tensor,
    prompt: int,
    shape: Shape,
    generator: torch.Generator | None = None,
) -> Pictures:
    """A video [time, visible] beside what the model makes of its first `prompt` frames."""
    prefix = frames[:prompt]
    drawn = model.sample_means(len(frames) - prompt, prefix=prefix[None], generator=generator)[0]
    return video.side_by_side(
        {
            "truth": video.pictures(frames, shape),
            f"continued after {prompt}": video.pictures(torch.cat([prefix, drawn]), shape),
        }
    )


def prediction(model: SequenceModel, frames: Tensor, shape: Shape) -> Pictures:
    """A video [time, visible], each frame's prediction from those before it, and the error."""
    predicted = model.predict(frames[None])[0]
    return video.side_by_side(
        {
            "truth": video.pictures(frames, shape),
            "predicted": video.pictures(predicted, shape),
            "error": video.error_pictures(predicted - frames, shape),
        }
    )


def denoising(
    model: SequenceModel, noisy: Tensor, shape: Shape, clean: Tensor | None = None
) -> Pictures:
    """A noisy video [time, visible] beside its reconstruction and, if given, the clean video."""
    return comparison(noisy, model.denoise(noisy[None])[0], shape, clean)


def comparison(
    noisy: Tensor, denoised: Tensor, shape: Shape, clean: Tensor | None = None
) -> Pictures:
    """Noisy frames [time, visible] beside denoised and, if given, clean ones.

    A video can be shown piece by piece: frames look the same whatever they come with.
    """
    panels = {"noisy": noisy, "denoised": denoised}
    if clean is not None:
        panels["clean"] = clean
    return video.side_by_side({k: video.pictures(v, shape) for k, v in panels.items()})


def weights(model: SequenceModel, shape: Shape, count: int = 36) -> Pictures:
    """Receptive fields and, where the model has them, hidden-to-hidden weights (fig. 3.4).

    Of a stack, those of its bottom layer.

    Raises:
        ValueError: a model whose conditional is no RBM.
    """
    if isinstance(model, Stack):
        return weights(model[:1].top, shape, count)
    if not isinstance(model, EnergyModel):
        raise ValueError(f"model: expected one with RBM weights, got {type(model).__name__}")
    count = min(count, len(model.weight))
    panels = {"receptive fields": video.receptive_fields(model.weight, shape, count)}
    recurrent = model.hidden_to_hidden if isinstance(model, RTRBM | TRBM) else None
    if recurrent is not None:
        matrix = recurrent if recurrent.ndim == 2 else recurrent[0]
        panels["hidden to hidden"] = video.weight_matrix(matrix, count)
    return video.side_by_side(panels)


def save_gallery(
    model: SequenceModel, videos: Tensor, shape: Shape, folder: Path
) -> dict[str, str]:
    """Write one file of each kind that this module makes.

    Args:
        model: a trained model with RBM weights.
        videos: at least two that the model was not trained on, [n, time, visible].
        shape: of a frame.
        folder: to write to.

    Returns:
        What each file shows, by file name.
    """
    generator = torch.Generator().manual_seed(1)
    noisy = salt_and_pepper(videos[0], 0.1, generator)
    made = {
        "continuation.mp4": (
            "a new video beside what the model makes of its first 10 frames",
            continuation(model, videos[0], 10, shape, generator),
        ),
        "prediction.mp4": (
            "a new video, each frame predicted from those before it, and the error",
            prediction(model, videos[1], shape),
        ),
        "denoising.mp4": (
            "a new video with 10% of its pixels destroyed, and what the model makes of it",
            denoising(model, noisy, shape, clean=videos[0]),
        ),
        "samples.mp4": (
            "nine videos that the model made up",
            many(model.sample_means(100, 9, generator=generator), shape),
        ),
        "weights.png": (
            "what the hidden units look at, and how they drive each other",
            weights(model, shape),
        ),
    }
    for name, (_, shown) in made.items():
        video.save(folder / name, shown)
    return {name: text for name, (text, _) in made.items()}
