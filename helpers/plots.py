"""Every figure of the series. Each function takes `ax=None` (or makes its own grid) and returns (fig, ax).

Colours are Okabe and Ito's, which colour-blind readers can tell apart. A figure drawn from the demo set says so.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from helpers import metrics, paths

BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
SEGMENT_COLORS = {252: BLUE, 512: ORANGE, 1024: GREEN}
SPLIT_STYLES = {"train": "--", "held_out": "-"}
SCORE_NAMES = {
    "streaming_auc": "AUC, all cells (Keras)",
    "macro_auc": "macro ROC AUC",
    "average_precision": "mean average precision",
    "loss": "binary cross-entropy",
}


def style() -> None:
    """Set the one style sheet of the series for all figures that follow."""
    sns.set_theme(context="notebook", style="ticks", palette=[BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW])
    plt.rcParams.update(
        {
            "figure.dpi": 90,
            "savefig.dpi": 150,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "legend.frameon": False,
            "svg.hashsalt": "crnn",
        }
    )


def save(fig: plt.Figure, name: str, provenance: dict, table: pd.DataFrame | None = None) -> Path:
    """Write `fig` to `figures/<data set>/<name>.png` and `.svg`, labelled if the data are synthetic; return the PNG.

    `provenance` (of `paths.provenance` or a snapshot) has `dataset`, which names the folder, and `synthetic`.
    `table`, the tidy data the figure is drawn from, is written beside it as CSV.
    """
    if provenance["synthetic"] and not getattr(fig, "labelled", False):
        fig.supxlabel("synthetic demo data", fontsize="small", color="0.45", x=0.99, ha="right", style="italic")
        fig.labelled = True
    target = paths.FIGURES / provenance["dataset"] / f"{name}.png"
    if table is not None:
        with paths.atomic(target.with_suffix(".csv")) as temporary:
            table.round(6).to_csv(temporary, index=False)
    for path, metadata in ((target, None), (target.with_suffix(".svg"), {"Date": None})):
        with paths.atomic(path) as temporary:
            fig.savefig(temporary, metadata=metadata)
    return target


def _axes(ax: plt.Axes | None, **options) -> tuple[plt.Figure, plt.Axes]:
    return (ax.figure, ax) if ax is not None else plt.subplots(**options)


def show_pitches(segments_pitches: np.ndarray, title: str = "", ax=None):
    """Draw one song's `segments_pitches` (num_segments, 12) as an image, time to the right."""
    fig, ax = _axes(ax, figsize=(9, 2.4))
    image = ax.imshow(
        segments_pitches.T, aspect="auto", origin="lower", cmap="magma", vmin=0, vmax=1, interpolation="nearest"
    )
    ax.set(xlabel="segment", ylabel="pitch class", title=title, yticks=range(0, 12, 2))
    ax.set_yticklabels(["C", "D", "E", "F♯", "G♯", "A♯"])
    fig.colorbar(image, ax=ax, label="relative strength")
    return fig, ax


def segment_histogram(num_segments: np.ndarray, thresholds=(252, 512, 1024), ax=None):
    """Draw how many segments songs have, with the thresholds as lines (Mason 2020, Figure 3)."""
    fig, ax = _axes(ax, figsize=(8, 3.6))
    ax.hist(num_segments, bins=np.arange(0, max(num_segments) + 100, 50), color=BLUE, alpha=0.6, edgecolor="white")
    for i, threshold in enumerate(thresholds):
        share = np.mean(np.asarray(num_segments) >= threshold)
        ax.axvline(threshold, color=BLACK, linewidth=1)
        ax.annotate(
            f"≥ {threshold}: {share:.0%}", (threshold, 1.0), xycoords=("data", "axes fraction"),
            xytext=(4, -14 * i), textcoords="offset points", va="top", fontsize="small",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    ax.set(xlabel="segments in the song", ylabel="songs", xlim=(0, None))
    ax.margins(y=0.15)
    return fig, ax


def songs_remaining(table: pd.DataFrame, ax=None):
    """Draw songs left at each threshold (Mason 2020, Table 1).

    `table` has the columns `segments`, `training songs` and `held-out songs`."""
    fig, ax = _axes(ax, figsize=(6, 2.6))
    positions = np.arange(len(table))
    train, held_out = table["training songs"], table["held-out songs"]
    ax.barh(positions, train, color=BLUE, alpha=0.8, label="training")
    ax.barh(positions, held_out, left=train, color=ORANGE, label="held out")
    for position, first, second in zip(positions, train, held_out, strict=True):
        ax.text(first + second, position, f"  {first} + {second}", va="center", fontsize="small")
    ax.set(yticks=positions, xlabel="songs", ylabel="segments", xlim=(0, 1.25 * (train + held_out).max()))
    ax.set_yticklabels(table["segments"])
    ax.invert_yaxis()
    ax.legend(loc="lower right", ncols=2, fontsize="small", bbox_to_anchor=(1, 1))
    return fig, ax


def layer_diagram(model, title: str = "", parameters: bool = True, ax=None):
    """Draw what flows through a network as blocks, and its layers on the arrows between them (Mason 2020, Figure 2).

    An image is as wide as its time axis and as high as its pitch or frequency axis, with more sheets for more
    maps; later blocks are as high as they have units. All scales are logarithmic. `parameters` writes the number
    of weights of the layers since the last block.
    """
    colors = {"InputLayer": SKY, "MaxPooling2D": BLUE, "GRU": GREEN, "Dense": ORANGE}
    blocks, step, count, time_first = [], "", 0, False
    for layer in model.layers:
        kind, shape = type(layer).__name__, layer.output.shape[1:]
        count += layer.count_params()
        time_first |= kind == "Permute"
        if hasattr(layer, "kernel_size"):
            step = "conv {}×{}\n".format(*layer.kernel_size)
        if kind not in colors:
            continue
        if len(shape) == 3:
            time, pitch, maps = shape if time_first else (shape[1], shape[0], shape[2])
            height, sheets = 0.25 + 0.2 * np.log2(pitch), max(1, round(np.log2(maps) / 2))
            text = f"{pitch} × {time}" + (f"\n{maps} maps" if maps > 1 else "")
        else:
            time, units = shape if len(shape) == 2 else (1, shape[0])
            height, sheets = 0.1 * np.log2(units), 1
            text = f"{units} tags" if kind == "Dense" else f"{units} units" + (f"\n{time} steps" if time > 1 else "")
        step += {"MaxPooling2D": "pool {}×{}", "GRU": "GRU", "Dense": "dense"}.get(kind, "")
        step = step.format(*getattr(layer, "pool_size", ()))
        text += f"\n{count:,}\nparameters" if parameters and count else ""
        blocks.append((colors[kind], 0.2 + 0.1 * np.log2(time), height, sheets, step, text))
        step, count = "", 0

    # Lengths are in inches, as text is; between blocks there is room for an arrow and its text.
    room, offset, left, middles = 0.85, 0.05, 0.0, []
    for _, width, *_ in blocks:
        middles.append(left + max(width, 0.5) / 2)
        left += max(width, 0.5) + room
    top = max(height / 2 + offset * sheets for _, _, height, sheets, *_ in blocks)
    bottom = min(-height / 2 - 0.1 - 0.17 * (text.count("\n") + 1) for _, _, height, _, _, text in blocks)
    fig, ax = _axes(ax, figsize=(left - room + 0.5, top - bottom + 0.5))
    end = 0.0
    for middle, (color, width, height, sheets, step, text) in zip(middles, blocks, strict=True):
        if step:
            start, stop = end + 0.1, middle - width / 2 - 0.1
            ax.annotate("", (stop, 0), (start, 0), arrowprops={"arrowstyle": "->", "color": "0.3", "shrinkA": 0})
            ax.text((start + stop) / 2, 0.06, step, ha="center", va="bottom", fontsize=8, color="0.3")
        for shift in offset * np.arange(sheets)[::-1]:
            corner = (middle - width / 2 + shift, -height / 2 + shift)
            ax.add_patch(plt.Rectangle(corner, width, height, facecolor=color, edgecolor="white", linewidth=0.8))
        ax.text(middle, -height / 2 - 0.08, text, ha="center", va="top", fontsize=8.5, linespacing=1.15)
        end = middle + width / 2 + offset * (sheets - 1)
    ax.set(xlim=(-0.2, left - room + 0.3), ylim=(bottom, top), aspect="equal", title=title or model.name)
    ax.axis("off")
    return fig, ax


def learning_curves(history: pd.DataFrame, score: str, constant: dict | None = None, ax=None):
    """Draw `score` against epochs, one colour per `segments`: thin lines for seeds, thick ones for their mean.

    `history` joins the histories of `training.fit`, with the columns `segments` and, if there are several
    runs, `seed`. `constant` gives the score of a constant predictor, such as {"macro_auc": 0.5}.
    """
    fig, ax = _axes(ax, figsize=(5, 3.6))
    for (segments, split), rows in history.groupby(["segments", "split"]):
        line = {"linestyle": SPLIT_STYLES[split], "color": SEGMENT_COLORS.get(segments, PINK)}
        runs = rows.groupby("seed") if "seed" in rows else [(0, rows)]
        for _, run in runs if len(runs) > 1 else []:
            ax.plot(run["epoch"], run[score], alpha=0.4, linewidth=0.7, **line)
        ax.plot(rows.groupby("epoch")[score].mean(), linewidth=2.2 if len(runs) > 1 else 1.6, **line)
    if score in (constant or {}):
        ax.axhline(constant[score], color="0.4", linewidth=1.2, linestyle=":")
    ax.set(xlabel="epoch", ylabel=SCORE_NAMES[score])
    ax.xaxis.get_major_locator().set_params(integer=True)
    return fig, ax


def curve_grid(history: pd.DataFrame, by: str, constant: dict | None = None, scores=("streaming_auc", "macro_auc")):
    """Draw learning curves for each score (rows) and value of the column `by`, "size" or "segments" (columns).

    By size it is Mason's Figure 4, by segments and with several seeds his Figure 5, each with held-out curves.
    """
    values = list(dict.fromkeys(history[by]))
    size = (4.6 * len(values), 3.1 * len(scores))
    fig, axes = plt.subplots(len(scores), len(values), figsize=size, sharex="col", sharey=True, squeeze=False)
    for row, score in zip(axes, scores, strict=True):
        for ax, value in zip(row, values, strict=True):
            learning_curves(history[history[by] == value], score, constant, ax)
            ax.label_outer()
    for ax, value in zip(axes[0], values, strict=True):
        ax.set(title=f"{value} network" if by == "size" else f"{value} segments", ylim=(0.3, 1.0))
    colors = [(SEGMENT_COLORS.get(s, PINK), "-", f"{s} segments") for s in sorted(history["segments"].unique())]
    lines = [
        *colors,
        ("0.3", "--", "training songs"),
        ("0.3", "-", "held-out songs"),
        ("0.4", ":", "constant predictor"),
    ]
    handles = [plt.Line2D([], [], color=color, linestyle=line, label=label) for color, line, label in lines]
    fig.legend(handles=handles, loc="outside upper center", ncols=3, fontsize="small")
    return fig, axes


def paired_difference(differences: np.ndarray, labels: tuple[str, str], ax=None):
    """Draw the bootstrap distribution of a paired score difference with its 95 % interval and zero."""
    fig, ax = _axes(ax, figsize=(6, 2.8))
    low, high = metrics.interval(differences)
    ax.hist(differences[~np.isnan(differences)], bins=50, color=BLUE, alpha=0.6, edgecolor="white")
    ax.axvline(0, color=BLACK, linewidth=1)
    ax.axvspan(low, high, color=ORANGE, alpha=0.2, label=f"95 % interval: {low:+.3f} to {high:+.3f}")
    ax.set(xlabel=f"macro ROC AUC, {labels[0]} minus {labels[1]}", ylabel="resamples")
    ax.legend(loc="upper right", fontsize="small", bbox_to_anchor=(1, 1.2))
    return fig, ax
