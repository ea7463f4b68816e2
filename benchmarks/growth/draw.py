"""``draw.py FILE FOLDER``: a plot a sweep, ``growth-<sweep>.svg``. Needs matplotlib alone; run by the environment ``plots``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "evergreen"

from matplotlib import pyplot as plt  # noqa: E402

AXES = {
    "rows": "rows in a request",
    "features": "features",
    "trees": "trees of the forest",
    "models": "models loaded",
    "labels": "labels in a request",
}
IN_REQUESTS = ("rows", "labels")  # what grows is in the request: start and memory stay as they are
Known = list[dict[str, object]]


def draw(points: Known, sweep: str, path: Path) -> None:
    """Draw the request times of a sweep, and beside them start and memory where these vary."""
    times = [p for p in points if p["what"] not in ("start", "memory")]
    panels = [(name, [p for p in times if p["series"] == name]) for name in dict.fromkeys(p["series"] for p in times)]
    if sweep not in IN_REQUESTS:
        panels += [(what, [p for p in points if p["what"] == what]) for what in ("start", "memory")]
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.6), layout="constrained")
    for axis, (name, values) in zip(axes, panels, strict=True):
        _panel(axis, str(name), values, sweep)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _panel(axis: plt.Axes, name: str, values: Known, sweep: str) -> None:
    for line in dict.fromkeys(_line(p, sweep) for p in values):
        of_line = sorted((p["at"], p["value"]) for p in values if _line(p, sweep) == line)
        axis.plot(*zip(*of_line, strict=True), marker="o", markersize=3, label=line)
    axis.set(xscale="log", yscale="log", xlabel=AXES[sweep], title=name, ylabel="MB (PSS)" if name == "memory" else "ms")
    axis.grid(alpha=0.3)
    if name not in ("start", "memory"):
        axis.legend(fontsize=7)


def _line(point: dict[str, object], sweep: str) -> str:
    rows = "" if sweep == "rows" or "rows" not in point else f", {point['rows']} row{'s' * (point['rows'] != 1)}"
    return f"{point['what']}{rows}"


if __name__ == "__main__":
    document, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for kind in AXES:
        if chosen := [p for p in document["points"] if p["sweep"] == kind]:
            draw(chosen, kind, folder / f"growth-{kind}.svg")
