"""Train and measure recurrent networks beside the RTRBM, on balls and on motion.

    python datasets/mit_walking.py FOLDER/mocap_mit_taylor RUNS
    python datasets/cmu_mocap.py FOLDER/mocap_cmu35 RUNS
    python docs/results/recurrent.py train RUNS [RUN …]   # 1 to 7 minutes each; recurrent.json

`series.py` says how runs are called and resumed. On a data set all models have the same updates by
the same sequences, and as many hidden units as the preset gives the RTRBM:

    balls            balls-taps with 4000 updates, three balls in 30 x 30 pixels; measured as in
                     `record.py`, on the 200 videos of all tables
    mit_walking, mit_walking_all, cmu35
                     motion, and motion-prediction for the models called MODEL-innovations; measured
                     as in `mocap.py`

Networks drive independent units. Their learning rates were chosen on videos that are neither for
training nor for the test, and on the last four training blocks of MIT's walks. Music is in
`music.py`.
"""

from dataclasses import replace
from pathlib import Path

from mocap import SETS, next_frames
from series import Name, Series

from seqebm.data import load_sequences
from seqebm.evaluate import Score, prediction_errors
from seqebm.learning.recipes import held_out_videos
from seqebm.learning.runs import Run

NETWORKS = ("rnn", "lstm", "mrnn", "mlstm")
RTRBMS: dict[str, dict[str, float]] = {"rtrbm": {}, "rtrbm-no-taps": {"order": 0}}
BALLS: dict[str, dict[str, float]] = {**RTRBMS, **{name: {"lr": 0.003} for name in NETWORKS}}
MOTION: dict[str, dict[str, float]] = {
    **RTRBMS,
    "rtrbm-innovations": {},
    **{name: {"lr": 0.003} for name in NETWORKS},
    "rnn-innovations": {"lr": 0.003},
    **{f"{name}-innovations": {"lr": 0.001} for name in NETWORKS[1:]},
}
CHANGES = {"balls": BALLS, **dict.fromkeys(SETS, MOTION)}  # to the preset, of every run
SEEDS = (1, 2, 3)
UPDATES = 4000  # of models of balls
NETWORK_KEYS = {"recurrence": "orthogonal", "clip": 1.0}


def arguments(folder: Path, run: Name) -> list[str]:
    """How a run is trained."""
    model, _, kind = run.model.partition("-")
    settings = {**CHANGES[run.data][run.model], "seed": run.seed}
    if model in NETWORKS:
        settings = {**NETWORK_KEYS, **settings}
    if run.data == "balls":
        data, preset, settings = "balls", "balls-taps", {"steps": UPDATES, **settings}
    else:
        data = str(folder / f"{run.data}.h5")
        preset = "motion-prediction" if kind == "innovations" else "motion"
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    return [model, "--data", data, "--preset", preset, *sets]


def figures(folder: Path, name: Name, run: Run) -> dict:
    """Errors of the next frame."""
    if name.data != "balls":
        return {
            "next_frame": next_frames(run.model.predict, load_sequences(folder / f"{name.data}.h5"))
        }
    videos = held_out_videos(replace(run.recipe, length=100), 200)
    errors = prediction_errors(run.model.predict, videos)
    return {"next_frame": Score.of(errors, videos.shape[-1])._asdict()}


SERIES = Series(
    runs=[
        Name(data, model, seed)
        for seed in SEEDS
        for data, all_ in CHANGES.items()
        for model in all_
    ],
    arguments=arguments,
    figures=figures,
    file=Path(__file__).with_suffix(".json"),
)

if __name__ == "__main__":
    SERIES.main()
