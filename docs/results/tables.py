"""Rebuild the tables and learning curves of README.md and docs/layers.md from the JSON files here.

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
