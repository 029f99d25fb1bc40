"""Rebuild the tables in README.md and the learning curves from the JSON files here.

python docs/results/tables.py
"""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"


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
    lines = [
        "| × the products alone | " + " | ".join(names) + " |",
        "|---" * (1 + len(names)) + "|",
    ]
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


def main() -> None:
    """Write the tables into the README and the curves beside this file."""
    text = README.read_text()
    for name, lines in {"results": rows(), "changes": changes(), "speed": speed()}.items():
        text = between(text, name, lines)
    README.write_text(text)
    curves(HERE / "curves.png")


if __name__ == "__main__":
    main()
