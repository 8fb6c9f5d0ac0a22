"""One picture a family: a panel for each row, a bar for each contender, a whisker from least to most."""

import os
from itertools import groupby

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.case import OUR_NAME, Case, Row
from benchmarks.summary import Samples, Spread, number, spread

_COLORS = {OUR_NAME: "#2a6fbb", "bare": "#7a7a7a", "naive": "#c77b30"}
_PEER_COLOR = "#b9c2cc"


def draw(cases: list[Case], samples: dict[str, Samples], directory: str, prefix: str) -> list[str]:
    """Write the pictures and return their names. The same samples give the same bytes."""
    mpl.rcParams["svg.hashsalt"] = "muse"
    names = []
    for family, members in groupby(cases, key=lambda case: case.family):
        panels = [(case, row, samples.get(case.name, {})) for case in members for row in case.rows]
        panels = [panel for panel in panels if any(_bars(*panel))]
        if panels:
            names.append(f"{family}.svg" if prefix == "results" else f"{prefix}-{family}.svg")
            _figure(panels).savefig(os.path.join(directory, names[-1]), metadata={"Date": None})
    return names


def _figure(panels: list[tuple[Case, Row, Samples]]) -> Figure:
    heights = [0.9 + 0.27 * len(_bars(*panel)) for panel in panels]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    all_axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    for axes, panel in zip(all_axes[:, 0], panels, strict=True):
        _panel(axes, *panel)
    return figure


def _bars(case: Case, row: Row, samples: Samples) -> list[tuple[str, str, Spread]]:
    found = [(one.title, one.contender, spread(samples, one.name, row.metric)) for one in case.entrants]
    return sorted(
        ((title, contender, bar) for title, contender, bar in found if bar is not None),
        key=lambda bar: -bar[2].middle,
    )


def _panel(axes: Axes, case: Case, row: Row, samples: Samples) -> None:
    bars = _bars(case, row, samples)
    middles = [bar.middle for _, _, bar in bars]
    errors = (
        [bar.middle - bar.least for _, _, bar in bars],
        [bar.most - bar.middle for _, _, bar in bars],
    )
    drawn = axes.barh(
        [title for title, _, _ in bars],
        middles,
        xerr=errors,
        color=[_COLORS.get(contender, _PEER_COLOR) for _, contender, _ in bars],
        error_kw={"elinewidth": 1, "ecolor": "#333333"},
    )
    axes.bar_label(drawn, [f" {number(middle)}" for middle in middles], fontsize=8)
    wide = max(middles) > 8 * min(middles) > 0
    axes.set_title(f"{row.title} ({row.unit}{', log scale' if wide else ''})", fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if wide:
        axes.set_xscale("log")
    axes.margins(x=0.12)
