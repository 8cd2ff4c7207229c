"""The pictures of a report, as SVG: four, in one style, readable without colours by shape and label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .results import Report
from .serializers import OURS, UPSTREAM_EAX

COLOURS = {
    OURS: "#11643a",
    "EncryptedSerializer": "#4ca774",
    "EncryptedSaver": "#11643a",
    "EncryptedSaver, zstd": "#4ca774",
    "plain saver": "#8c959f",
    "plaintext": "#8c959f",
    UPSTREAM_EAX: "#b42318",
    "langgraph's own (EAX)": "#b42318",
    "upstream GCM": "#e58b7f",
}
LABELS = {OURS: "EncryptedSerializer", UPSTREAM_EAX: "langgraph's own, EAX", "upstream GCM": "langgraph's own, GCM"}
STYLE = {
    "svg.fonttype": "none",  # text stays text: small, and searchable
    "svg.hashsalt": "encrypted-serde",  # the same figures give the same file
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
}


def draw(report: Report, directory: Path) -> None:
    """Draws all pictures of a report."""
    with mpl.rc_context(STYLE):
        for name, paint in (("runs", _runs), ("values", _values), ("sizes", _sizes), ("growth", _growth)):
            figure = Figure(figsize=(7.2, 3.4), layout="constrained")
            paint(figure, report)
            figure.savefig(directory / f"{name}.svg", metadata={"Date": None, "Creator": None})


def _runs(figure: Figure, report: Report) -> None:
    axes = figure.subplots()
    axes.set_title("Whole graph runs: time beside the same run without encryption")
    savers = list(dict.fromkeys(one["saver"] for one in report.runs))
    subjects = sorted(dict.fromkeys(one["subject"] for one in report.runs), key=list(COLOURS).index)
    height = 0.8 / len(subjects)
    for number, subject in enumerate(subjects):
        bars = [(savers.index(one["saver"]), one["ratio"]) for one in report.runs if one["subject"] == subject]
        places = [place + number * height for place, _ in bars]
        drawn = axes.barh(places, [ratio for _, ratio in bars], height * 0.9, label=subject, color=COLOURS[subject])
        axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.set_yticks([place + 0.8 / 2 - height / 2 for place in range(len(savers))], savers)
    axes.invert_yaxis()
    axes.axvline(1, color="#1f2328", linewidth=0.8)
    axes.margins(x=0.1)
    axes.set_xlabel("1.00 = plaintext; lower is better")
    axes.legend(frameon=False, loc="lower right")


def _values(figure: Figure, report: Report) -> None:
    axes = figure.subplots()
    axes.set_title("Sealing one value")
    sizes = list(dict.fromkeys(one["size"] for one in report.values))
    plain = [min(one["plaintext"] for one in report.values if one["size"] == size) for size in sizes]
    _line(axes, sizes, plain, "plaintext", "plaintext", "o:")
    for (name, label), mark in zip(LABELS.items(), ("o-", "s--", "^--"), strict=True):
        _line(axes, sizes, [one["seconds"] for one in report.values if one["series"] == name], name, label, mark)
    axes.set(xscale="log", yscale="log", xlabel="bytes of the value", ylabel="microseconds")
    axes.legend(frameon=False)


def _line(axes: Axes, x: list[Any], seconds: list[float], name: str, label: str, mark: str) -> None:
    axes.plot(x, [one * 1e6 for one in seconds], mark, label=label, color=COLOURS[name], markersize=4)


def _sizes(figure: Figure, report: Report) -> None:
    lengths = list(dict.fromkeys(one["characters"] for one in report.sizes))
    panels = figure.subplots(1, len(lengths), sharey=True)
    for axes, length in zip(panels, lengths, strict=True):
        of_length = [one for one in report.sizes if one["characters"] == length]
        names = [one["name"] for one in of_length]
        drawn = axes.barh(
            names, [one["size"] / of_length[0]["size"] for one in of_length], 0.7, color=[COLOURS[one] for one in names]
        )
        axes.bar_label(drawn, [f"{one['size'] / 1024:.0f} KiB" for one in of_length], padding=3)
        axes.set_yticks(range(len(names)), [LABELS.get(name, name) for name in names])
        axes.set_title(f"messages of {length} characters")
        axes.axvline(1, color="#1f2328", linewidth=0.8)
        axes.margins(x=0.3)
        axes.set_xlabel("1.00 = plaintext")
    panels[0].invert_yaxis()


def _growth(figure: Figure, report: Report) -> None:
    calls = list(dict.fromkeys(one["call"] for one in report.growth))
    panels = figure.subplots(1, len(calls), sharex=True)
    for axes, call in zip(panels, calls, strict=True):
        of_call = [one for one in report.growth if one["call"] == call]
        marks = [one["checkpoints"] for one in of_call]
        for name, mark in (("plain saver", "o:"), ("EncryptedSaver", "o-")):
            _line(axes, marks, [one["seconds"][name] for one in of_call], name, name, mark)
        axes.set_title(call)
        axes.set(xscale="log", xlabel="checkpoints")
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("microseconds")
    panels[0].legend(frameon=False, loc="lower right")
