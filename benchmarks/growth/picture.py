"""One picture: a panel a kind, a line a row, both axes by powers of ten."""

import statistics
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.growth.processes import Took


def draw(
    samples: Mapping[tuple[str, str], Mapping[int, Sequence[Took]]], units: Mapping[str, str], path: str
) -> None:
    """Write the picture. The same samples give the same bytes."""
    mpl.rcParams["svg.hashsalt"] = "muse"
    kinds = list(dict.fromkeys(kind for kind, _ in samples))
    figure = Figure(figsize=(9, 3.4 * len(kinds)), layout="constrained")
    for axes, kind in zip(figure.subplots(len(kinds), 1, squeeze=False)[:, 0], kinds, strict=True):
        for title, found in ((title, found) for (of, title), found in samples.items() if of == kind):
            points = [
                (size, statistics.median(one.counted_seconds for one in took))
                for size, took in sorted(found.items())
                if took
            ]
            axes.plot(
                [size for size, _ in points], [seconds for _, seconds in points], marker="o", label=title
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"seconds of processors, by {units[kind]}", fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, metadata={"Date": None})
