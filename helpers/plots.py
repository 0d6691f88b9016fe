"""The style of all figures, one function for each figure of the papers, and a few drawings that notebooks share.

A paper's figure is drawn from the table beside it alone: `python -m helpers.plots` draws them all again.
"""

import functools
import time
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager, ticker

from helpers import manifest, paths
from helpers.drawings import layer_diagrams, layer_table, plain, show_chroma, show_mel, show_pitches, show_wave, stack  # noqa: F401

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, PINK, SKY, RED = PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
SEGMENT_COLORS = {252: BLUE, 512: ORANGE, 1024: GREEN}
# As in Choi's Figure 3, where it has them; the second k1c2 is that of `models` with other kernels.
NETWORK_COLORS = {"k1c2": BLUE, "k1c2_1x8": SKY, "k2c1": RED, "k2c2": ORANGE, "crnn": GREEN}
NETWORK_MARKERS = {"k1c2": "o", "k1c2_1x8": "v", "k2c1": "s", "k2c2": "^", "crnn": "D"}
CATEGORY_COLORS = {"genre": BLUE, "mood": ORANGE, "instrument": GREEN, "era": PINK, "other": "0.45"}  # of tags
SCORE_NAMES = {"streaming_auc": "AUC, all cells (Keras)", "macro_auc": "macro ROC AUC", "auc": "ROC AUC"}
SCORE_NAMES |= {"average_precision": "mean average precision", "loss": "binary cross-entropy"}
CONSTANT = {"color": "0.4", "linewidth": 1.2, "linestyle": ":", "label": "constant predictor"}
ORACLE = {"color": "0.4", "linewidth": 1.2, "linestyle": "--", "label": "oracle (best possible)"}
BESIDE = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5)}  # a legend to the right of its axes
# For names in other scripts, where they are installed: on Linux, macOS and Windows.
FONTS = ["Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans Devanagari", "Noto Sans Thai"]
FONTS += ["Arial Unicode MS", "Hiragino Sans", "Apple SD Gothic Neo", "Yu Gothic", "Malgun Gothic", "Nirmala UI"]


def style() -> None:
    """Set the one style sheet of the series for all figures that follow."""
    sns.set_theme(style="ticks", palette=PALETTE)
    look = {"figure.dpi": 90, "savefig.dpi": 150, "axes.titlesize": "medium", "legend.fontsize": "small"}
    look |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "svg.hashsalt": "crnn"}
    look |= {"savefig.bbox": "tight", "figure.constrained_layout.use": True}
    installed = {font.name for font in font_manager.fontManager.ttflist}
    plt.rcParams.update(look | {"font.family": ["DejaVu Sans", *(name for name in FONTS if name in installed)]})


def save(fig: plt.Figure, name: str, provenance: dict, table: pd.DataFrame | None = None, stamp: bool = True) -> Path:
    """Write `fig` as PNG and SVG and its `table` as CSV to `figures/<data set>/`, with a row in the manifest.

    `provenance` has `dataset`, `synthetic` and, for real data, `num_songs`. The figure is stamped with the last two,
    but for `stamp=False`: it shows nothing of the data, such as times. Returns the PNG file.
    """
    target = paths.FIGURES / provenance["dataset"] / f"{name}.png"
    real = f"real, n = {provenance['num_songs']:,}" if "num_songs" in provenance else ""
    label = ("synthetic demo data" if provenance["synthetic"] else real) if stamp else ""
    if table is not None:
        with paths.atomic(target.with_suffix(".csv")) as temporary:
            table.round(6).to_csv(temporary, index=False, lineterminator="\n")
    _write(fig, target, label)
    manifest.enter(target, provenance, label, None if table is None else target.with_suffix(".csv"))
    return target


def _write(fig: plt.Figure, target: Path, label: str) -> None:
    if label:
        fig.supxlabel(label, fontsize="small", color="0.45", x=0.99, ha="right", style="italic")
    for path, metadata in ((target, None), (target.with_suffix(".svg"), {"Date": None})):
        with paths.atomic(path) as temporary:
            fig.savefig(temporary, metadata=metadata)


def redraw() -> list[Path]:
    """Draw the papers' figures of all data sets again, each from the table beside it; return their PNG files.

    The manifest stays: it tells of the run that made the tables. Raises ValueError for a table that is not that of it.
    """
    style()
    tables = dict(manifest.tables(list(FIGURES)))
    for table, label in tables.items():
        fig, _ = FIGURES[table.stem](pd.read_csv(table, keep_default_na=False, na_values=[""]))
        _write(fig, table.with_suffix(".png"), label)
        plt.close(fig)
    return [table.with_suffix(".png") for table in tables]


def _colors(values) -> dict:
    """Return a colour for each value: the one it has in all figures, or else the next."""
    known = SEGMENT_COLORS | NETWORK_COLORS | CATEGORY_COLORS
    others = [value for value in dict.fromkeys(values) if value not in known]
    return known | {value: PALETTE[i % len(PALETTE)] for i, value in enumerate(others)}


def segment_histogram(table: pd.DataFrame):
    """Draw how many segments songs have, column `num_segments` (Mason 2020, Figure 3)."""
    fig, ax = plt.subplots(figsize=(8, 3.6))
    sns.histplot(table, x="num_segments", binwidth=50, binrange=(0, table["num_segments"].max() + 50), color="0.75")
    for threshold, color in SEGMENT_COLORS.items():
        share = (table["num_segments"] >= threshold).mean()
        ax.axvline(threshold, color=color, linewidth=2, label=f"{share:.0%} have at least {threshold:,} segments")
    ax.set(xlabel="segments in the song", ylabel=f"songs (of {len(table):,})", xlim=(0, None))
    ax.legend(loc="upper right")
    return fig, ax


def songs_remaining(table: pd.DataFrame):
    """Draw `training songs` and `held-out songs` at each threshold, `segments` (Mason 2020, Table 1)."""
    fig, ax = plt.subplots(figsize=(8, 2.6))
    counts = table.set_index("segments")[["training songs", "held-out songs"]]
    counts.plot.barh(stacked=True, color=[BLUE, ORANGE], width=0.75, ax=ax)
    ax.bar_label(ax.containers[-1], [f"{a:,} + {b:,}" for a, b in counts.to_numpy()], padding=5, fontsize="small")
    ax.set(xlabel="songs", ylabel="segments", xlim=(0, 1.2 * counts.sum(axis=1).max()))
    ax.invert_yaxis()
    ax.legend(**BESIDE)
    return fig, ax


def training_curves(table: pd.DataFrame, by: str = "segments"):
    """Draw scores against epochs, a colour for each value of the column `by` (Mason 2020, Figures 4 and 5).

    `table` joins the histories of `training.Run`; several `size` get a row of panels each, several `seed` a thin line
    each and a thick one for their mean. Fewer than ten held-out songs get no curve.
    """
    table = table.assign(seed=table.get("seed", 0), row=table.get("size", "") if by != "size" else "")
    names, colors = list(table["row"].unique()), _colors(table[by])
    size = {"figsize": (11, 2.7 * len(names) + 0.8), "squeeze": False}
    fig, axes = plt.subplots(len(names), 3, sharex="row", sharey=True, **size)
    for (value, name, split), rows in table.groupby([by, "row", "split"], sort=False):
        first, *others = axes[names.index(name)]
        if split == "train":
            _curve(first, rows, "streaming_auc", colors[value])
        elif rows["num_songs"].min() >= 10:
            _curve(others[0], rows, "streaming_auc", colors[value])
            _curve(others[1], rows, "macro_auc", colors[value])
    for row, name in zip(axes, names, strict=True):
        for ax, score in zip(row, ("streaming_auc", "streaming_auc", "macro_auc"), strict=True):
            ax.set(xlabel="epoch", ylabel=SCORE_NAMES[score])
            ax.set_title("held-out songs, dropout off" if ax is not row[0] else "training songs, dropout on")
        row[0].set_ylabel(f"{name} network\n{SCORE_NAMES['streaming_auc']}" if name else SCORE_NAMES["streaming_auc"])
    handles = [plt.Line2D([], [], **CONSTANT | {"label": "constant predictor, same songs"})]
    if table["seed"].nunique() > 1:
        handles.append(plt.Line2D([], [], color="0.4", linewidth=0.7, label="one run (thick: the mean of all)"))
    for value, songs in table.pivot_table("num_songs", by, "split", "min", sort=False).iterrows():
        label = f"{value:,} segments" if by == "segments" else plain(value)
        label += f": {songs['train']:,.0f} training songs; {songs['held_out']:,.0f} held-out songs"
        label += ", too few to draw" if songs["held_out"] < 10 else ""
        handles.append(plt.Line2D([], [], color=colors[value], linewidth=2, label=label))
    fig.legend(handles=handles, loc="outside upper center", ncols=2)
    return fig, axes


def _curve(ax, rows: pd.DataFrame, score: str, color: str) -> None:
    runs = rows.pivot_table(score, "epoch", "seed")
    ax.plot(runs, color=color, linewidth=0.7, alpha=0.5)
    ax.plot(runs.mean(axis=1, skipna=False).dropna(), color=color, linewidth=2)  # of the epochs that all seeds have
    keras = {"y": rows["constant_auc"].mean(), "color": color}
    ax.axhline(**CONSTANT | (keras if score == "streaming_auc" else {"y": 0.5}))


def budget_deviation(table: pd.DataFrame):
    """Draw how far parameters lie from budgets: `network`, `budget`, `deviation` in per cent (Choi 2017, Table 1)."""
    fig, ax = plt.subplots(figsize=(9, 3.6))
    ax.axhspan(-2, 2, color="0.9", label="± 2 %, the paper's tolerance")
    look = {"palette": NETWORK_COLORS, "markers": [NETWORK_MARKERS[name] for name in table["network"].unique()]}
    look |= {"dodge": 0.5, "linestyle": "none", "errorbar": None}
    sns.pointplot(table, x="budget", y="deviation", hue="network", ax=ax, **look)
    ax.set(xlabel="budget (trainable parameters)", ylabel="deviation from the budget (%)")
    ax.legend(**BESIDE)
    return fig, ax


def size_and_time(table: pd.DataFrame, x: str, y: str):
    """Draw Choi's networks, a line each: a score with its interval, or seconds (Choi 2017, Figures 2 and 4, Table 1).

    `table` has `network`, `budget`, and as `x` and `y` "parameters", "seconds_2500" (all of one machine), "macro_auc".
    Scores have `low`, `high`, `oracle`, and `run`, `hardware`, `date` (and `num_seeds`): each run has its own marks,
    filled or open, and up to three fit. What has no score stands in a strip below their axis.
    """
    names = {"parameters": "trainable parameters", "seconds_2500": "seconds of training on 2,500 clips"} | SCORE_NAMES
    score = y == "macro_auc"
    table = table.assign(run=table["run"] if score else "")  # all times are of one machine
    known, timed = table.dropna(subset=y), table[table[y].isna()]
    ratios = [9, 1] if len(timed) else [1]
    fig, axes = plt.subplots(len(ratios), 1, figsize=(9, 4.6), sharex=True, squeeze=False, height_ratios=ratios)
    ax, below = axes[0, 0], axes[-1, 0]
    fills, colors = dict(zip(known["run"].unique(), ("full", "none", "left"), strict=False)), _colors(table["network"])
    for i, network in enumerate(table["network"].unique()):
        look = {"color": colors[network], "marker": NETWORK_MARKERS.get(network, "v"), "markersize": 7}
        ax.plot([], [], label=plain(network), **look)
        for run, rows in known[known["network"] == network].sort_values(x).groupby("run"):
            places = rows[x] * 1.04**i if score and x == "parameters" else rows[x]  # those of a budget side by side
            ax.plot(places, rows[y], fillstyle=fills[run], **look)
            if score:
                ax.vlines(places, rows["low"], rows["high"], color=look["color"], linewidth=1)
        rows = timed[timed["network"] == network]
        if len(rows):
            below.plot(rows[x], [-i] * len(rows), **look | {"markersize": 4, "linestyle": ""})
    if len(timed):
        below.set(yticks=[], ymargin=0.3)
        below.set_ylabel("timed,\nnot trained", rotation=0, ha="right", va="center", fontsize="small")
    below.set(xscale="log", xlabel=names[x])
    ax.set(yscale="linear" if score else "log", ylabel=names[y] + " (95 % interval)" * score)
    for axis in (below.xaxis,) if score else (below.xaxis, ax.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.EngFormatter(sep=""))
        axis.set_minor_locator(ticker.NullLocator())
    if score:
        _references(ax, known, fills)
    ax.legend(**BESIDE)
    return fig, axes[:, 0]


def _references(ax, known: pd.DataFrame, fills: dict) -> None:
    """Name the runs and draw what their scores are to be read against."""
    for run, rows in known.groupby("run", sort=False):
        seeds = f", {rows['num_seeds'].min():.0f} seeds" if "num_seeds" in rows else ""
        label = plain(f"{run}: {rows['hardware'].iloc[0]}\n{rows['date'].iloc[0]}{seeds}")
        ax.plot([], [], "o", color="0.4", fillstyle=fills[run], label=label)
    ax.axhline(0.5, **CONSTANT)
    if known["oracle"].notna().any():
        ax.axhline(known["oracle"].max(), **ORACLE)
    label = "SOTA in the paper, real\nmusic (.851): not our data"
    ax.axhline(0.851, color="0.8", linewidth=3, zorder=0, label=label)


def tag_differences(table: pd.DataFrame):
    """Draw each tag's AUC by network, in bars that begin at the line of k2c1 (Choi 2017, Figure 3).

    `table` has `network`, `tag`, `category`, `popularity_rank`, `auc` and `budget`; tags without an AUC are left out.
    """
    wide = table.pivot(index=["category", "popularity_rank", "tag"], columns="network", values="auc").dropna()
    wide = wide.reset_index().assign(order=lambda rows: rows["category"].map(list(CATEGORY_COLORS).index))
    wide = wide.sort_values(["order", "k2c1"], ascending=[True, False])
    wide["x"] = np.arange(len(wide)) + pd.factorize(wide["category"])[0]
    others = [network for network in table["network"].unique() if network != "k2c1"]
    fig, ax = plt.subplots(figsize=(12, 4.8), dpi=72)
    for i, network in enumerate(others):
        look = {"width": 0.8 / len(others), "color": NETWORK_COLORS[network], "label": network}
        places = wide["x"] + 0.8 * ((i + 0.5) / len(others) - 0.5)
        ax.bar(places, wide[network] - wide["k2c1"], bottom=wide["k2c1"], **look)
    for category, rows in wide.groupby("category", sort=False):
        ax.plot(rows["x"], rows["k2c1"], "o-", color=RED, markersize=4, label="_" * bool(rows["x"].iloc[0]) + "k2c1")
        ax.text(rows["x"].mean(), 1.01, category, transform=ax.get_xaxis_transform(), ha="center", va="bottom")
    for network in ("k2c1", *others):
        label = f"mean {network} {wide[network].mean():.3f}".replace(" 0.", " .")
        ax.axhline(wide[network].mean(), **ORACLE | {"color": NETWORK_COLORS[network], "label": label, "zorder": 0})
    ax.axhline(0.5, **CONSTANT)
    labels = [f"{plain(tag)} ({rank})" for tag, rank in wide[["tag", "popularity_rank"]].to_numpy()]
    ax.set_xticks(wide["x"], labels, rotation=60, ha="right", rotation_mode="anchor", fontsize="small")
    wins = " and ".join(f"{network} in {(wide[network] > wide['k2c1']).sum()}" for network in others)
    ax.set_title(f"{table['budget'].iloc[0]} parameters; of {len(wide)} tags, {wins} above k2c1", pad=24)
    ax.set(xlim=(-1, len(wide) + 3), xlabel="tag (rank of its popularity)", ylabel=SCORE_NAMES["auc"])
    ax.legend(**BESIDE)
    return fig, ax


def score_intervals(table: pd.DataFrame, x: str, by=None, score="macro_auc", oracle=None, horizontal=False, ax=None):
    """Draw `score` with its 95 % interval, `low` to `high` (hollow without one), for each `x`, a colour for each `by`.

    Names in the column `x` get a place each, numbers theirs. `oracle`: the score at which learning ends, if known.
    """
    names, numbers = list(table[x].unique()), pd.api.types.is_numeric_dtype(table[x])
    ax = ax or plt.subplots(figsize=(8, 1 + 0.4 * len(names)) if horizontal else (8.5, 3.8))[1]
    groups = list(table.groupby(by, sort=False)) if by else [(SCORE_NAMES.get(score, score), table)]
    colors = _colors([name for name, _ in groups])
    for i, (name, rows) in enumerate(groups):
        places = rows[x] if numbers else rows[x].map(names.index) + 0.4 * ((i + 0.5) / len(groups) - 0.5)
        faces = [colors[name] if known else "white" for known in rows["low"].notna()]
        lines, points = (ax.hlines, (rows[score], places)) if horizontal else (ax.vlines, (places, rows[score]))
        lines(places, rows["low"], rows["high"], color=colors[name], linewidth=1.2)
        ax.scatter(*points, s=30, color=faces, edgecolors=colors[name], zorder=2.5)
        ax.scatter([], [], s=30, color=colors[name], label=plain(name))
    if table["low"].isna().any():
        ax.scatter([], [], s=30, color="white", edgecolors="0.4", label="without an interval")
    along, across, guide = (ax.yaxis, ax.xaxis, ax.axvline) if horizontal else (ax.xaxis, ax.yaxis, ax.axhline)
    guide(0.5, **CONSTANT)
    if oracle is not None:
        guide(oracle, **ORACLE)
    if not numbers:
        along.set_ticks(range(len(names)), [plain(name) for name in names])
    along.set_inverted(horizontal)
    along.set_label_text(x)
    across.set_label_text(SCORE_NAMES.get(score, score))
    ax.legend(**BESIDE)
    return ax.figure, ax


FIGURES = {
    "mason_figure_1_choi_layers": layer_diagrams,
    "mason_figure_2_layers_small": layer_diagrams,
    "mason_figure_2_layers_large": layer_diagrams,
    "mason_figure_3_segment_counts": segment_histogram,
    "mason_table_1_songs_remaining": songs_remaining,
    "mason_figure_4_initial_training": training_curves,
    "mason_figure_5_repeatability": training_curves,
    "choi_figure_1_networks": layer_diagrams,
    "choi_table_1_parameters": budget_deviation,
    "choi_table_1_time": functools.partial(size_and_time, x="parameters", y="seconds_2500"),
    "choi_figure_2_auc_parameters": functools.partial(size_and_time, x="parameters", y="macro_auc"),
    "choi_figure_3_auc_per_tag": tag_differences,
    "choi_figure_4_auc_time": functools.partial(size_and_time, x="seconds_2500", y="macro_auc"),
}

if __name__ == "__main__":
    matplotlib.use("Agg")
    start = time.monotonic()
    try:
        drawn = redraw()
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(f"Redrew {len(drawn)} figures from their tables in {time.monotonic() - start:.0f} s.")
