"""Rebuild the tables and learning curves of README.md and docs/*.md from the JSON files here.

python docs/results/tables.py
"""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def rows() -> list[str]:
    """The lines of the table: yardsticks first, then the runs from worst to best."""
    lines = ["| model | per frame | per pixel | updates | minutes |", "|---|---|---|---|---|"]
    yardsticks = json.loads((HERE / "yardsticks.json").read_text())["next_frame"]
    for name, score in yardsticks.items():
        lines.append(f"| {name} | {_pair(score)} | {score['per_dim']:.4f} | | |")
    reports = {path.stem: json.loads(path.read_text()) for path in HERE.glob("balls-*.json")}
    for name, report in sorted(reports.items(), key=lambda item: -_best(item[1])["per_frame"]):
        score = _best(report)
        lines.append(
            f"| **{name.removeprefix('balls-')}** | **{_pair(score)}** | {score['per_dim']:.4f} "
            f"| {report['steps']} × {report['recipe']['batch']} | {report['seconds'] / 60:.0f} |"
        )
    return lines


def small_balls() -> list[str]:
    """Next-frame errors on 15 x 15 pixels, 128 frames, beside what has been published."""
    lines = _head("squared error a frame", ["error", "parameters", "updates", "minutes"])
    lines.append("| RTRBM, 2012 | 2.11 | | | |")
    lines.append("| RNN-RBM, 2012 | 0.96 | | | |")
    for path in sorted(HERE.glob("small-balls-*.json")):
        report = json.loads(path.read_text())
        cells = [_pair(_best(report)), report["parameters"], report["steps"]]
        cells.append(f"{report['seconds'] / 60:.0f}")
        name = path.stem.removeprefix("small-balls-")
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    return lines


def large_balls() -> list[str]:
    """Next-frame errors of LSTM-RBMs on 30 x 30 pixels, with and without a pre-trained LSTM."""
    lines = _head("squared error a frame", ["error", "updates of the LSTM alone", "updates"])
    for name in ("balls-lstm-rbm", "pretrained-balls-lstm-rbm"):
        report = json.loads((HERE / f"{name}.json").read_text())
        before = report["recipe"]["pretrain_cell"]
        lines.append(f"| {name} | {_pair(_best(report))} | {before} | {report['steps']} |")
    return lines


def _best(report: dict) -> dict:
    """The score of the default prediction."""
    return report["next_frame"]["mean_field"]


def _pair(score: dict) -> str:
    return f"{score['per_frame']:.2f} ± {score['per_frame_se']:.2f}"


def speed() -> list[str]:
    """How many times longer than its matrix products every contestant took, on one thread."""
    (run,) = (r for r in _benchmarks()["runs"] if r["threads"] == 1)
    tables = {**run["updates"], **run["steps"]}
    names = list(dict.fromkeys(name for table in tables.values() for name in table))[1:]
    lines = _head("× the products alone", names)
    for title, table in tables.items():
        ratios = [f"{table[name]['ratio']:.2f}" if name in table else "" for name in names]
        lines.append(f"| {title} | " + " | ".join(ratios) + " |")
    return [*lines, "", f"{_benchmarks()['machine']}, torch {_benchmarks()['torch']}, one thread."]


def changes() -> list[str]:
    """What short trainings came to that differ from a preset in one thing."""
    report = json.loads((HERE / "changes.json").read_text())
    lines = [f"| balls-taps, {report['updates']} updates | per frame | minutes |", "|---|---|---|"]
    for name, row in report["rows"].items():
        lines.append(f"| {name} | {_pair(row)} | {row['seconds'] / 60:.1f} |")
    return lines


def generation(preset: str) -> list[str]:
    """Errors of the next frame and of free runs, of models with one layer and with two."""
    horizons = ["1", "5", "10", "20"]
    columns = ["clean frames given back", "next", *(f"free run, {h}" for h in horizons)]
    lines = _head("squared error a frame", columns)
    for name, row in _layers()["presets"][preset]["generation"].items():
        free = [row["free_run"][h]["model"] for h in horizons]
        scores = [row["clean"], row["next_frame"], *free]
        lines.append(f"| {name} | " + " | ".join(map(_pair, scores)) + " |")
    return lines


def denoising(preset: str) -> list[str]:
    """What is left of noise of three strengths by every model and yardstick."""
    report = _layers()
    strengths = list(report["yardsticks"])
    lines = _head("squared error a frame; PSNR", strengths)
    both = {
        s: {**report["yardsticks"][s], **report["presets"][preset]["denoising"][s]}
        for s in strengths
    }
    for name in both[strengths[0]]:
        cells = [f"{_squared(both[s][name])}; {both[s][name]['psnr']:.1f} dB" for s in strengths]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def missing(preset: str) -> list[str]:
    """Videos with a third of their pixels missing."""
    table = _layers()["presets"][preset]["missing"]
    ways = list(next(iter(table.values())))
    lines = _head("squared error a frame", ways)
    for name, row in table.items():
        lines.append(f"| {name} | " + " | ".join(_squared(row[way]) for way in ways) + " |")
    return lines


def posterior(part: str) -> list[str]:
    """What is known of hidden units and likelihoods of models small enough to enumerate."""
    figures = json.loads((HERE / "posterior.json").read_text())["figures"]
    lines = _head(part, list(figures))
    for name in next(iter(figures.values()))[part]:
        values = [figures[model][part][name] for model in figures]
        cells = [
            f"{v['value']:.3f} ± {v['se']:.3f}" if isinstance(v, dict) else f"{v:.4f}"
            for v in values
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


MODELS = {
    "mean frame": "mean frame",
    "copy last": "copy last",
    "linear extrapolation": "linear extrapolation",
    "ridge AR(1)": "ridge AR(1)",
    "ridge AR(3)": "ridge AR(3)",
    "trbm-no-taps": "TRBM, no taps",
    "rtrbm-no-taps": "RTRBM, no taps",
    "crbm-rank-20": "conditional RBM, taps of rank 20",
    "trbm-taps": "TRBM, taps",
    "rtrbm-taps": "RTRBM, taps",
    "trbm-innovations": "TRBM, innovations",
    "rtrbm-innovations": "RTRBM, innovations",
}


def mit() -> list[str]:
    """Next frames of MIT's walks, in both scalings."""
    report = _mocap()
    sets = ("mit_walking", "mit_walking_all")
    ways = [f"{way}, {s}" for s in ("train", "all") for way in ("blocks", "continued")]
    lines = _head("scaled by", [*ways, "parameters", "minutes"])
    for name, title in MODELS.items():
        scores = [report[s]["next_frame"][name] for s in sets]
        cells = [f"{score[way]:.2f}" for score in scores for way in ("blocks", "continued")]
        lines.append(f"| {title} | " + " | ".join([*cells, *_effort(report, name)]) + " |")
    return lines


def cmu() -> list[str]:
    """Next frames of the two test trials of CMU's subject 35."""
    report = _mocap()["cmu35"]["next_frame"]
    lines = _head("squared error a frame", ["35_18, a run", "35_29, a walk"])
    for name, title in MODELS.items():
        each = report[name]["each"]
        lines.append(f"| {title} | {each['35_18']:.2f} | {each['35_29']:.2f} |")
    return lines


def energy() -> list[str]:
    """Energy scores of forecasts, by horizon."""
    table = _mocap()["mit_walking"]["energy"]
    lines = _head("energy score; CRPS", list(table))
    for name in next(iter(table.values())):
        scores = [row[name] for row in table.values()]
        cells = [f"{_pair(s)}; {s['per_dim']:.3f} ± {s['per_dim_se']:.3f}" for s in scores]
        lines.append(f"| {MODELS.get(name, name)} | " + " | ".join(cells) + " |")
    return lines


def free() -> list[str]:
    """Whether models go on walking, and whether their feet slide."""
    report = _mocap()["mit_walking"]["free_run"]
    columns = ["change, first 200", "change, last 200", "largest z-score", "skate, m/s"]
    lines = _head("1000 frames", columns)
    data = report["data"]
    lines.append(f"| data | {data['change']:.1f} | | {data['largest']:.1f} | {data['skate']:.2f} |")
    for name, ways in report.items():
        for way, row in ways.items() if name != "data" else ():
            cells = [row["change"][0], row["change"][-1], row["largest"]]
            shown = " | ".join(f"{cell:.1f}" for cell in cells)
            skate = "never near" if row["skate"] is None else f"{row['skate']:.2f}"
            lines.append(f"| {MODELS[name]}, {way} | {shown} | {skate} |")
    return lines


def limb() -> list[str]:
    """What fills in a leg."""
    table = _mocap()["mit_walking"]["missing_limb"]
    lines = _head("a leg missing for a second", ["squared error a value", "joints away, mm"])
    for name, row in table.items():
        error = f"{row['per_value']:.3f} ± {row['per_value_se']:.3f}"
        lines.append(f"| {MODELS.get(name, name)} | {error} | {row['joints']:.1f} |")
    return lines


def noise() -> list[str]:
    """What is left of noise on all values."""
    table = _mocap()["mit_walking"]["noise"]
    lines = _head("noise of 0.3", ["squared error a value"])
    for name, row in table.items():
        error = f"{row['per_value']:.3f} ± {row['per_value_se']:.3f}"
        lines.append(f"| {MODELS.get(name, name)} | {error} |")
    return lines


def loading() -> list[str]:
    """How fast recordings are read, and what memory that takes."""
    report = json.loads((HERE / "mocap-loading.json").read_text())
    lines = _head("", ["MB/s", "memory, arrays"])
    for name, speed in report["megabytes a second"].items():
        kind = name.rpartition(".")[2]
        memory = f"{report['peak memory, arrays'][kind]:.1f}" if name.startswith("seqebm") else ""
        lines.append(f"| {name} | {speed:.1f} | {memory} |")
    return lines


def digits() -> list[str]:
    """Digit error rates of both kinds of CTC, the mean of the seeds and the range of them."""
    figures = json.loads((HERE / "ctc.json").read_text())["figures"]
    rates = ["best path", "beam search", "best path, repetitions", "beam search, repetitions"]
    lines = _head("wrong digits", [*rates, "frames a digit", "minutes"])
    for kind, rows in figures.items():
        cells = [_spread([100 * row[rate] for row in rows], "%") for rate in rates]
        cells.append(_spread([row["frames a digit"] for row in rows]))
        cells.append(f"{sum(row['seconds'] for row in rows) / len(rows) / 60:.1f}")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


def drawn(name: str) -> list[str]:
    """What samples of music have in common with the data."""
    columns = ["notes", "repeated", "held", "silent", "chord sizes", "intervals", "melody"]
    lines = _head(name, columns)
    for kind, row in json.loads((HERE / "music-samples.json").read_text())[name].items():
        shares = [row["repeated"], row["held"], row["silent"], *row["distances"]]
        cells = [f"{row['mean_notes']:.2f}", *(f"{share:.3f}" for share in shares)]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


MUSIC = {"piano": "Piano-midi.de", "nottingham": "Nottingham", "muse": "MuseData", "jsb": "JSB"}
PUBLISHED = {  # Boulanger-Lewandowski, Bengio and Vincent 2012, table 1
    "RTRBM, 2012": [-7.36, -2.62, -6.35, -6.35],
    "RNN-RBM, 2012": [-7.09, -2.39, -6.01, -6.27],
    "RNN-NADE (HF), 2012": [-7.05, -2.31, -5.60, -5.56],
}


def nats() -> list[str]:
    """Nats a frame of music, of every model that was measured."""
    runs = json.loads((HERE / "music.json").read_text())["runs"]
    lines = _head("nats a frame", list(MUSIC.values()))
    for name, values in PUBLISHED.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    for model in dict.fromkeys(run.split("-", 1)[1] for run in runs):
        found = [runs.get(f"{data}-{model}") for data in MUSIC]
        cells = ["" if run is None else _between_bounds(run["test"]) for run in found]
        lines.append(f"| {_without_seed(model)} | " + " | ".join(cells) + " |")
    return lines


def effort() -> list[str]:
    """Accuracy, parameters and training time of the same runs."""
    runs = json.loads((HERE / "music.json").read_text())["runs"]
    lines = _head("run", ["accuracy", "parameters", "minutes", "best to worst bound"])
    for name, run in runs.items():
        width = run["test"]["upper"] - run["test"]["lower"]
        lines.append(
            f"| {_without_seed(name)} | {100 * run['accuracy']:.1f}% | {run['parameters']} "
            f"| {run['seconds'] / 60:.1f} | {width:.3f} |"
        )
    return lines


RBMS = {
    "cd1": "CD-1",
    "cd25": "CD-25",
    "pcd": "PCD-5",
    "centred": "PCD-5, centred",
    "long": "preset `mnist`: PCD-5, centred",
}
REPORTED = {"CD-1": -125.5, "CD-3": -105.5, "CD-25": -86.3}  # Salakhutdinov and Murray 2008


def images() -> list[str]:
    """Nats an image of handwritten digits, of RBMs that were trained in several ways."""
    runs = json.loads((HERE / "mnist.json").read_text())["runs"]
    columns = ["updates", "lower", "estimate", "upper", "from the base alone", "minutes"]
    lines = _head("nats an image", columns)
    for name, value in REPORTED.items():
        lines.append(f"| {name}, 2008 | | | | | {value} | |")
    for name, title in RBMS.items():
        run = runs.get(f"mnist-{name}-1")
        if run is not None:
            bounds = [f"{run['test'][end]:.2f}" for end in ("lower", "estimate", "upper")]
            if not run["test"]["good"]:
                bounds[1] = "–"
            cells = [run["steps"], *bounds, f"{run['from base']['nats']:.2f}"]
            cells.append(f"{run['seconds'] / 60:.0f}")
            lines.append(f"| {title} | " + " | ".join(map(str, cells)) + " |")
    return lines


def _between_bounds(test: dict) -> str:
    """An estimate with its error over sequences, and in bold where its bounds are 0.05 apart."""
    value = f"{test['estimate']:.2f} ± {test['error']:.2f}"
    return f"**{value}**" if test["upper"] - test["lower"] <= 0.05 else value


def _without_seed(name: str) -> str:
    return name.removesuffix("-1")


def products() -> list[str]:
    """Products with the Gauss-Newton matrix, in gradients of torch's own networks."""
    report = json.loads((HERE / "gauss-newton.json").read_text())
    columns = [report["rnn"], report["lstm"]]
    names = [name.replace("torch.nn.RNN", "torch") for name in columns[0]]
    lines = _head("", ["torch.nn.RNN", "torch.nn.LSTM"])
    for name, *rows in zip(names, *(column.values() for column in columns), strict=True):
        lines.append(f"| {name} | " + " | ".join(f"{row['ratio']:.2f}" for row in rows) + " |")
    return lines


def characters() -> list[str]:
    """Bits per character of networks of one size."""
    runs = json.loads((HERE / "characters.json").read_text())["runs"]
    lines = _head("run", ["parameters", "minutes", "validation", "test"])
    for name, run in runs.items():
        bits = " | ".join(f"{run[split]['bits']:.3f}" for split in ("valid", "test"))
        lines.append(f"| {name} | {run['parameters']} | {run['seconds'] / 60:.0f} | {bits} |")
    return lines


def problems() -> list[str]:
    """Minibatches that problems of long memory took, by damping and length."""
    path = HERE / "problems.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else {}
    ways: dict[tuple[str, str], dict[str, list[dict]]] = {}
    for name, run in runs.items():
        problem, length, damping, _ = name.rsplit("-", 3)
        ways.setdefault((length, damping), {}).setdefault(problem, []).append(run)
    lines = _head("problem", [f"T = {length}, {damping}" for length, damping in ways])
    for problem in dict.fromkeys(problem for found in ways.values() for problem in found):
        cells = [_work(found.get(problem, [])) for found in ways.values()]
        lines.append(f"| {problem} | " + " | ".join(cells) + " |")
    return lines


def second() -> list[str]:
    """Bouncing balls by methods of second and of first order."""
    lines = _head("run", ["KL per sequence", "steps", "sequences read", "minutes"])
    for name, run in json.loads((HERE / "second.json").read_text())["runs"].items():
        lines.append(
            f"| {name} | {run['kl']:.1f} ± {run['error']:.1f} | {run['steps']} "
            f"| {run['sequences']:.0f} | {run['seconds'] / 60:.1f} |"
        )
    return lines


def _work(runs: list[dict]) -> str:
    """The minibatches of each run, a dash for one that did not solve its problem."""
    return ", ".join(f"{run['minibatches']:.0f}" if run["solved"] else "–" for run in runs)


def steps() -> list[str]:
    """Whole Hessian-free steps."""
    report = json.loads((HERE / "hessian-free.json").read_text())["step"]
    lines = _head("", ["seconds", "times ours"])
    for name, row in report.items():
        lines.append(f"| {name} | {row['ms'] / 1000:.1f} | {row['ratio']:.1f} |")
    return lines


def _spread(values: list[float], unit: str = "") -> str:
    mean = sum(values) / len(values)
    return f"{mean:.1f}{unit} ({min(values):.1f} … {max(values):.1f})"


def _effort(report: dict, name: str) -> list[str]:
    """Parameters and minutes of a model; nothing of a yardstick."""
    found = report["mit_walking"]
    if name not in found["parameters"]:
        return ["", ""]
    return [str(found["parameters"][name]), f"{found['seconds'][name] / 60:.1f}"]


def _mocap() -> dict:
    report: dict = json.loads((HERE / "mocap.json").read_text())
    return report


def _head(title: str, columns: list[str]) -> list[str]:
    return [f"| {title} | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]


def _squared(score: dict) -> str:
    """The error summed over the 400 pixels of a frame."""
    return f"{400 * score['mse']:.2f} ± {400 * score['mse_se']:.2f}"


def _layers() -> dict:
    report: dict = json.loads((HERE / "layers.json").read_text())
    return report


def _benchmarks() -> dict:
    report: dict = json.loads((HERE / "benchmarks.json").read_text())
    return report


def between(text: str, name: str, lines: list[str]) -> str:
    """The text with the lines between the marks of this name."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    block = "\n".join([start, "", *lines, "", end])
    return re.sub(f"{start}.*{end}", lambda _: block, text, flags=re.DOTALL)


def curves(path: Path) -> None:
    """Draw the next-frame error of every run against its training time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for file in sorted(HERE.glob("balls-*.json")):
        history = [entry for entry in json.loads(file.read_text())["history"] if "error" in entry]
        minutes = [entry["seconds"] / 60 for entry in history]
        errors = [entry["error"] for entry in history]
        axes.semilogy(minutes, errors, label=file.stem.removeprefix("balls-"))
    axes.axhline(11.8, color="grey", linestyle=":", label="copy last")
    axes.set(xlabel="minutes on one thread", ylabel="squared error of the next frame")
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def pages() -> dict[str, dict[str, list[str]]]:
    """The tables of every page, by their marks."""
    layers = {
        f"{name} of {preset}": table(preset)
        for preset in ("thesis-layers", "balls-layers")
        for name, table in [
            ("generation", generation),
            ("denoising", denoising),
            ("missing", missing),
        ]
    }
    small = {part: posterior(part) for part in ("bounds", "nats", "distance", "error")}
    return {
        "README.md": {"results": rows(), "changes": changes(), "speed": speed()},
        "docs/layers.md": {**layers, **small},
        "docs/likelihood.md": {"images": images()},
        "docs/recurrent.md": {"small balls": small_balls(), "large balls": large_balls()},
        "docs/ctc.md": {"digits": digits()},
        "docs/text.md": {"characters": characters()},
        "docs/music.md": {
            "nats": nats(),
            "effort": effort(),
            "drawn chorales": drawn("jsb"),
            "drawn tunes": drawn("nottingham"),
        },
        "docs/optimisation.md": {
            "products": products(),
            "whole steps": steps(),
            "problems": problems(),
            "second": second(),
        },
        "docs/motion.md": {
            "loading": loading(),
            "mit": mit(),
            "cmu": cmu(),
            "energy": energy(),
            "free": free(),
            "limb": limb(),
            "noise": noise(),
        },
    }


def main() -> None:
    """Write the tables into the pages and the curves beside this file."""
    for page, tables in pages().items():
        text = (ROOT / page).read_text()
        for name, lines in tables.items():
            text = between(text, name, lines)
        (ROOT / page).write_text(text)
    curves(HERE / "curves.png")


if __name__ == "__main__":
    main()
