"""Every figure of the series. Each function takes `ax=None` (or makes its own grid) and returns (fig, ax).

Colours are Okabe and Ito's, which colour-blind readers can tell apart. A figure drawn from the demo set says so.
"""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from helpers import audio, metrics, paths, tags

BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
SEGMENT_COLORS = {252: BLUE, 512: ORANGE, 1024: GREEN}
NETWORK_COLORS = {"k1c2": BLUE, "k2c1": RED, "k2c2": ORANGE, "crnn": GREEN}  # as in Choi's Figure 3, where it has them
NETWORK_MARKERS = {"k1c2": "o", "k2c1": "s", "k2c2": "^", "crnn": "D"}
CATEGORY_COLORS = {"genre": BLUE, "mood": ORANGE, "instrument": GREEN, "era": PINK, "other": "0.45"}  # of tags
MANY_LABELS = {"dpi": 72}  # of figures in a notebook: a picture of a hundred words is a large file
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
    _list(target, provenance)
    return target


def _list(target: Path, provenance: dict) -> None:
    """Enter a figure into the manifest of its folder: which paper and notebook, which data, when, made with what."""
    paper, kind, number = (*target.stem.split("_"), "", "")[:3]
    table = target.with_suffix(".csv")
    row = {
        "figure": target.stem,
        "paper": {"mason": "Mason 2020", "choi": "Choi et al. 2017"}.get(paper, "") if number.isdigit() else "",
        "number": f"{kind.capitalize()} {number}" if number.isdigit() else "",
        # `series.py` names the notebook, or else Jupyter does.
        "notebook": Path(os.environ.get("CRNN_NOTEBOOK") or os.environ.get("JPY_SESSION_NAME", "")).stem,
        "dataset": provenance["dataset"],
        "synthetic": provenance["synthetic"],
        "preset": paths.preset(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": f"matplotlib {matplotlib.__version__}, numpy {np.__version__}, pandas {pd.__version__}",
        "table_sha256": hashlib.sha256(table.read_bytes()).hexdigest() if table.exists() else "",
    }
    manifest = target.parent / "manifest.csv"
    known = pd.read_csv(manifest, keep_default_na=False) if manifest.exists() else pd.DataFrame(columns=list(row))
    rows = pd.concat([known[known["figure"] != row["figure"]], pd.DataFrame([row])]).sort_values("figure")
    with paths.atomic(manifest) as temporary:
        rows.to_csv(temporary, index=False)


def _axes(ax: plt.Axes | None, **options) -> tuple[plt.Figure, plt.Axes]:
    return (ax.figure, ax) if ax is not None else plt.subplots(**options)


def _plain(name: str) -> str:
    """Return a name of a song or a tag as it can be drawn: no TeX, nor control characters, which break an SVG file."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in name).replace("$", r"\$")


def show_pitches(segments_pitches: np.ndarray, title: str = "", ax=None):
    """Draw one song's `segments_pitches` (num_segments, 12) as an image, time to the right."""
    fig, ax = _axes(ax, figsize=(9, 2.4))
    image = ax.imshow(
        segments_pitches.T, aspect="auto", origin="lower", cmap="magma", vmin=0, vmax=1, interpolation="nearest"
    )
    ax.set(xlabel="segment", ylabel="pitch class", title=_plain(title), yticks=range(0, 12, 2))
    ax.set_yticklabels(["C", "D", "E", "F♯", "G♯", "A♯"])
    fig.colorbar(image, ax=ax, label="relative strength")
    return fig, ax


def stack(num_rows: int):
    """Return (fig, axes) of a column of axes with one time axis, for the functions below."""
    return plt.subplots(num_rows, 1, figsize=(8, 0.4 + 1.25 * num_rows), sharex=True)


def show_wave(samples: np.ndarray, title: str = "", ax=None):
    """Draw samples at 12 kHz against seconds."""
    fig, ax = _axes(ax, figsize=(8, 1.8))
    ax.plot(np.arange(len(samples)) / audio.SR, samples, color=BLUE, linewidth=0.3, rasterized=True)
    ax.set(xlabel="seconds", ylabel="amplitude", title=_plain(title))
    ax.label_outer()
    return fig, ax


def show_mel(mel: np.ndarray, title: str = "", unit: str = "dB", ax=None):
    """Draw a spectrogram (bands, frames): 96 rows are mel bands, any other number the bins of an STFT up to 6 kHz.

    `unit` labels the colour bar; in dB, 80 dB below the maximum is black.
    """
    import librosa

    fig, ax = _axes(ax, figsize=(8, 1.8))
    if len(mel) == audio.N_MELS:
        hertz, centres = (250, 1000, 2000, 4000), librosa.mel_frequencies(audio.N_MELS + 2, fmax=audio.SR / 2)[1:-1]
    else:
        hertz, centres = (1000, 3000, 5000), np.linspace(0, audio.SR / 2, len(mel))
    lowest = mel.max() - audio.TOP_DB if unit == "dB" else 0
    _time_image(ax, mel, lowest, mel.max(), unit)
    ax.set(ylabel="Hz", yticks=np.interp(hertz, centres, np.arange(len(mel))), yticklabels=hertz, title=_plain(title))
    return fig, ax


def show_chroma(chroma: np.ndarray, title: str = "", ax=None):
    """Draw the strength of pitch classes, (12, frames), 0 to 1, against seconds."""
    fig, ax = _axes(ax, figsize=(8, 1.8))
    _time_image(ax, chroma, 0, 1, "strength")
    ax.set(ylabel="pitch class", title=_plain(title), yticks=range(0, 12, 3), yticklabels=["C", "D♯", "F♯", "A"])
    return fig, ax


def _time_image(ax, values, lowest, highest, unit):
    """Draw frames of 256 samples at 12 kHz, the first row at the bottom, with a colour bar."""
    seconds = np.array([-0.5, values.shape[1] - 0.5]) * audio.HOP_LENGTH / audio.SR  # a frame lies about its centre
    image = ax.imshow(
        values, aspect="auto", origin="lower", vmin=lowest, vmax=highest, interpolation="nearest",
        cmap=plt.get_cmap("magma", 16),  # 5 dB each; few colours make a small file
        extent=(*seconds, -0.5, len(values) - 0.5),
    )  # fmt: skip
    ax.set(xlabel="seconds")
    ax.label_outer()
    ax.figure.colorbar(image, ax=ax, label=unit)


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
    of trainable weights of the layers since the last block.
    """
    colors = {"InputLayer": SKY, "MaxPooling2D": BLUE, "GRU": GREEN, "Dense": PINK}
    blocks, step, count, time_first, bands = [], "", 0, False, 1
    for layer in model.layers:
        kind, shape = type(layer).__name__, layer.output.shape[1:]
        count += sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        if kind == "Permute":
            time_first, bands = layer.dims[0] == 2, shape[-1]
        elif kind == "ZeroPadding2D":
            step += f"pad to {shape[1]}\n"
        elif hasattr(layer, "kernel_size"):
            height, width = layer.kernel_size
            step += f"conv {height * bands}×{width}\n"  # bands that were made channels all lie under the kernel
            bands = 1
        elif kind == "Flatten":
            step += "flatten\n"
        if kind not in colors:
            continue
        if len(shape) == 3:
            time, pitch, maps = shape if time_first else (shape[1], shape[0], shape[2])
            height, sheets = 0.2 + 0.13 * np.log2(pitch), max(1, round(np.log2(maps) / 2))
            text = f"{pitch} × {time}" + (f"\n{maps} maps" if maps > 1 else "")
        else:
            time, units = shape if len(shape) == 2 else (1, shape[0])
            height, sheets = 0.1 * np.log2(units), 1
            text = f"{units} units" + (f"\n{time} steps" if time > 1 else "")
        color = colors[kind]
        if layer is model.layers[-1]:
            color, text = ORANGE, f"{units} tags"
        step += {"MaxPooling2D": "pool {}×{}", "GRU": "GRU", "Dense": "dense"}.get(kind, "")
        step = step.format(*getattr(layer, "pool_size", ()))
        text += f"\n{count:,}\nparameters" if parameters and count else ""
        blocks.append((color, 0.15 + 0.07 * np.log2(time), height, sheets, step, text))
        step, count = "", 0

    # Lengths are in inches, as text is; between blocks there is room for an arrow and its text.
    room, offset, left, middles = 0.78, 0.05, 0.0, []
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
    ax.set(xlim=(-0.2, left - room + 0.3), ylim=(bottom, top), aspect="equal")
    ax.set_title(title or model.name, loc="left")
    ax.axis("off")
    return fig, ax


def layer_diagrams(networks: dict, parameters: bool = True):
    """Draw several networks below each other to one scale (Choi 2017, Figure 1); `networks` maps titles to models."""
    fig, axes = plt.subplots(len(networks), 1)
    for ax, (title, model) in zip(axes, networks.items(), strict=True):
        layer_diagram(model, title, parameters, ax)
        ax.set_anchor("W")
    heights = [np.ptp(ax.get_ylim()) for ax in axes]
    right = max(ax.get_xlim()[1] for ax in axes)
    plt.setp(axes, xlim=(-0.2, right))
    axes[0].get_gridspec().set_height_ratios(heights)
    fig.set_size_inches(right + 0.3, sum(heights) + 0.45 * len(axes))
    return fig, axes


def budget_deviation(table: pd.DataFrame, tolerance: float = 2.0, ax=None):
    """Draw how far parameter counts lie from their budgets, with a band for the tolerance (Choi 2017, section 2.5).

    `table` has the columns `network`, `budget` and `deviation` (per cent), the budgets of each network in order.
    """
    fig, ax = _axes(ax, figsize=(8, 3.6))
    ax.axhspan(-tolerance, tolerance, color="0.9", zorder=0)
    ax.axhline(0, color="0.4", linewidth=0.8)
    groups = table.groupby("network", sort=False)
    shifts = np.linspace(-0.24, 0.24, len(groups))  # side by side: most lie close to 0
    for shift, (network, rows) in zip(shifts, groups, strict=True):
        color, marker = NETWORK_COLORS.get(network, SKY), NETWORK_MARKERS.get(network, "v")  # a variant: sky, down
        ax.plot(np.arange(len(rows)) + shift, rows["deviation"], marker, color=color, label=network)
    ax.set(xticks=range(len(rows)), xlabel="budget (trainable parameters)", ylabel="deviation from the budget (%)")
    ax.set_xticklabels(rows["budget"])
    for middle in range(1, len(rows)):
        ax.axvline(middle - 0.5, color="0.8", linewidth=0.8)
    ax.text(len(rows) - 0.5, tolerance, f"± {tolerance:g} %", ha="right", va="bottom", fontsize="small", color="0.4")
    ax.margins(y=0.1)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig, ax


def size_and_time(table: pd.DataFrame, x: str, y: str, ax=None):
    """Draw Choi's networks, one line each: a score with its interval, or seconds (Choi 2017, Figures 2, 4, Table 1).

    `table` has `network`, `budget`, `x` ("parameters" or "seconds_2500") and `y` ("macro_auc" or "seconds_2500"),
    and for a score `low`, `high` and `oracle`; a network without a score gets a hollow mark at the lower edge.
    """
    names = {"parameters": "trainable parameters", "seconds_2500": "seconds of training on 2,500 clips"}
    fig, ax = _axes(ax, figsize=(6.4, 4))
    for network, rows in table.sort_values(x).groupby("network"):
        look = {"color": NETWORK_COLORS[network], "marker": NETWORK_MARKERS[network], "markersize": 7}
        known, unknown = rows[rows[y].notna()], rows[rows[y].isna()]
        if y == "macro_auc":
            errors = np.abs(known[["low", "high"]].to_numpy().T - known[y].to_numpy())
            ax.errorbar(known[x], known[y], errors, capsize=3, elinewidth=1, label=network, **look)
            edge = ax.get_xaxis_transform()
            ax.plot(unknown[x], [0.04] * len(unknown), linestyle="", fillstyle="none", transform=edge, **look)
        else:
            ax.plot(known[x], known[y], label=network, **look)
    ax.set(xscale="log", xlabel=names[x], ylabel=SCORE_NAMES.get(y, names.get(y)))
    if y == "macro_auc":
        ax.axhline(0.5, color="0.4", linewidth=1.2, linestyle=":", label="constant predictor")
        if table["oracle"].notna().any():
            ax.axhline(table["oracle"].max(), color="0.4", linewidth=1.2, linestyle="--", label="oracle")
        if table[y].isna().any():
            ax.plot([], [], "o", color="0.3", fillstyle="none", label="timed, not trained")
            ax.set_ylim(bottom=min(0.44, ax.get_ylim()[0]))  # room for them below the constant predictor
    else:
        ax.set_yscale("log")
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
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


def tag_bars(scores: np.ndarray, usual: np.ndarray, vocabulary: list[str], count: int = 10, title: str = "", ax=None):
    """Draw a recording's `count` highest scores as bars, and what is usual for each tag as a line across its bar.

    `scores` and `usual` are (num_tags,), in the order of `vocabulary`.
    """
    best = np.argsort(-scores, kind="stable")[:count]
    rows = np.arange(len(best))
    fig, ax = _axes(ax, figsize=(6.5, 0.8 + 0.27 * len(best)))
    ax.barh(rows, scores[best], color=BLUE, alpha=0.8, label="this recording")
    ax.vlines(usual[best], rows - 0.42, rows + 0.42, color=BLACK, linewidth=2, label="usual")
    ax.set(yticks=rows, yticklabels=[_plain(vocabulary[i]) for i in best], xlabel="score", ylabel="tag")
    ax.set(title=_plain(title), xlim=(0, None))
    ax.invert_yaxis()
    ax.legend(loc="lower right", fontsize="small")
    return fig, ax


def taggram(times: np.ndarray, scores: np.ndarray, vocabulary: list[str], joints=(), count: int = 12, ax=None):
    """Draw scores over time, the `count` tags with the highest peaks, and dashed lines at the seconds in `joints`.

    `times` (windows,) are the windows' centres in seconds, `scores` is (windows, num_tags): see `helpers.tag.taggram`.
    """
    best = np.argsort(-scores.max(axis=0), kind="stable")[:count]
    half = (times[1] - times[0]) / 2 if len(times) > 1 else audio.NUM_SAMPLES / audio.SR / 2
    fig, ax = _axes(ax, figsize=(8, 0.9 + 0.25 * len(best)))
    image = ax.imshow(
        scores[:, best].T, aspect="auto", cmap="magma", vmin=0, interpolation="nearest",
        extent=(times[0] - half, times[-1] + half, len(best) - 0.5, -0.5),
    )  # fmt: skip
    for joint in joints:
        ax.axvline(joint, color="white", linewidth=1.5, linestyle="--")
    ax.set(
        yticks=range(len(best)),
        yticklabels=[_plain(vocabulary[i]) for i in best],
        xlabel="centre of the window, seconds",
    )
    ax.set_ylabel("tag")
    fig.colorbar(image, ax=ax, label="score")
    return fig, ax


def tag_differences(table: pd.DataFrame, baseline: str = "k2c1", ax=None):
    """Draw each tag's AUC by network, as differences to the baseline's (Choi 2017, Figure 3).

    `table` has `network`, `tag`, `category`, `popularity_rank` and `auc`; tags without an AUC are left out. The line is
    the baseline, bars begin at it and end at the other networks' scores, dashed lines are means over the tags.
    """
    wide = table.pivot(index=["category", "popularity_rank", "tag"], columns="network", values="auc").dropna()
    present = [name for name in CATEGORY_COLORS if name in wide.index.levels[0]]
    groups = [wide.loc[[name]].sort_values(baseline, ascending=False) for name in present]
    networks = [baseline, *(name for name in dict.fromkeys(table["network"]) if name != baseline)]
    fig, ax = _axes(ax, figsize=(12, 4.8), **MANY_LABELS)
    ax.use_sticky_edges = False  # else a bar that ends at 1 would make 1 the upper edge
    width, start, places = 0.8 / max(1, len(networks) - 1), 0.0, []
    for name, group in zip(present, groups, strict=True):
        places.append(start + np.arange(len(group)))
        for i, network in enumerate(networks[1:]):
            shift = (i + 0.5) * width - 0.4
            height = group[network] - group[baseline]
            look = {"color": NETWORK_COLORS[network], "label": network if name == present[0] else None}
            ax.bar(places[-1] + shift, height, width, bottom=group[baseline], alpha=0.85, **look)
        look = {"color": NETWORK_COLORS[baseline], "label": baseline if name == present[0] else None}
        ax.plot(places[-1], group[baseline], "o-", markersize=4, **look)
        ax.text(places[-1].mean(), 1.01, name, transform=ax.get_xaxis_transform(), ha="center", va="bottom")
        start = places[-1][-1] + 2.0
    for network in networks:
        mean, color = wide[network].mean(), NETWORK_COLORS[network]
        ax.axhline(mean, color=color, linestyle="--", linewidth=1.2, zorder=0, label=f"mean {mean:.3f}")
    ax.axhline(0.5, color="0.4", linewidth=1.2, linestyle=":", label="constant predictor")
    names = [f"{_plain(tag)} ({rank})" for group in groups for _, rank, tag in group.index]
    ax.set_xticks(np.concatenate(places), names, rotation=60, ha="right", rotation_mode="anchor", fontsize="small")
    ax.set(xlim=(-1, start - 1), xlabel="tag (rank of its popularity)", ylabel="ROC AUC")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig, ax


def auc_by_popularity(table: pd.DataFrame, ax=None):
    """Draw each tag's AUC with its 95 % interval against the tag's popularity rank, coloured by category.

    `table` has `popularity_rank`, `category`, `auc`, `low` and `high`; a tag without an interval gets a hollow mark.
    """
    fig, ax = _axes(ax, figsize=(8, 3.8))
    for category, color in CATEGORY_COLORS.items():
        rows = table[(table["category"] == category) & table["auc"].notna()]
        if len(rows):
            _intervals(ax, rows["popularity_rank"], rows, color, category)
    ax.axhline(0.5, color="0.4", linewidth=1.2, linestyle=":", label="constant predictor")
    ax.set(xlabel="rank of the tag's popularity (1: most clips)", ylabel="ROC AUC")
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return fig, ax


def _intervals(ax, x, rows, color, label):
    """Draw AUCs with their intervals; those without one are hollow."""
    errors = np.abs(rows[["low", "high"]].to_numpy().T - rows["auc"].to_numpy())
    ax.errorbar(x, rows["auc"], errors, fmt="none", ecolor=color, elinewidth=1)
    known = rows["low"].notna().to_numpy()
    for chosen, face, name in ((known, color, label), (~known, "white", None)):
        look = {"facecolors": face, "edgecolors": color, "linewidths": 1, "zorder": 2.5}
        ax.scatter(np.asarray(x)[chosen], rows["auc"][chosen], s=30, label=name, **look)


def score_intervals(table: pd.DataFrame, x: str, by: str = "network", oracle: float = np.nan, ax=None):
    """Draw macro AUCs with their 95 % intervals against the column `x`, one colour for each value of the column `by`.

    `table` has `macro_auc`, `low` and `high`; a score without an interval gets a hollow mark. Numbers in `x` (segments)
    get a logarithmic axis and lines, names one place each. `oracle`: the score at which learning ends, if it is known.
    """
    numbers, names = pd.api.types.is_numeric_dtype(table[x]), list(dict.fromkeys(table[x]))
    fig, ax = _axes(ax, figsize=(7, 3.6))
    groups = table.rename(columns={"macro_auc": "auc"}).groupby(by, sort=False)
    shifts = np.linspace(-0.12, 0.12, len(groups)) if len(groups) > 1 else [0]
    for (name, rows), color, shift in zip(groups, (BLUE, ORANGE, GREEN, PINK), shifts, strict=False):
        places = rows[x] * 2 ** (shift / 2) if numbers else rows[x].map(names.index) + shift
        _intervals(ax, places, rows, color, name)
        if numbers:
            ax.plot(places, rows["auc"], color=color)
    ax.axhline(0.5, color="0.4", linewidth=1.2, linestyle=":", label="constant predictor")
    if not np.isnan(oracle):
        ax.axhline(oracle, color="0.4", linewidth=1.2, linestyle="--", label="oracle")
    if numbers:
        ax.set_xscale("log")
        ax.minorticks_off()
    ax.set_xticks(names if numbers else range(len(names)), names)
    ax.set(xlabel=x, ylabel=SCORE_NAMES["macro_auc"])
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return fig, ax


def auc_by_rank(table: pd.DataFrame, last: int = 50, ax=None):
    """Draw each tag's AUC with its 95 % interval against its rank, and a line after rank `last`.

    `table` has `rank`, `auc`, `low`, `high`; tags without an AUC are left out, without an interval they are hollow.
    """
    fig, ax = _axes(ax, figsize=(9, 3.6))
    table = table.dropna(subset="auc")
    first = table["rank"] <= last
    for rows, color, label in ((table[first], BLUE, f"the first {last}"), (table[~first], RED, "beyond")):
        if len(rows):
            _intervals(ax, rows["rank"], rows, color, label)
    ax.axvline(last + 0.5, color="0.4", linewidth=0.8)
    ax.axhline(0.5, color="0.4", linewidth=1.2, linestyle=":", label="constant predictor")
    ax.set(xlabel="rank of the tag (1: most frequent)", ylabel="ROC AUC")
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return fig, ax


def cooccurrence(share: pd.DataFrame, ax=None):
    """Draw what share of the songs with one tag (row) carry another (column), tags coloured by Choi's categories.

    `share` (tags, tags), 0 to 1 or NaN, has the tags as index and columns, in the order in which they are drawn.
    """
    fig, ax = _axes(ax, figsize=(8.4, 8), dpi=84)
    image = ax.imshow(share, cmap="magma_r", vmin=0, vmax=1, interpolation="nearest")
    ax.set_xticks(range(len(share)), map(_plain, share.columns), rotation=90, fontsize=8)
    ax.set_yticks(range(len(share)), map(_plain, share.index), fontsize=8)
    for label in [*ax.get_xticklabels(), *ax.get_yticklabels()]:
        label.set_color(CATEGORY_COLORS[tags.CHOI_CATEGORIES.get(label.get_text(), "other")])
    ax.set(xlabel="also have this tag", ylabel="songs with this tag")
    fig.colorbar(image, ax=ax, label="share of the songs", shrink=0.6)
    names = dict.fromkeys(tags.CHOI_CATEGORIES.get(tag, "other") for tag in share)
    squares = {"marker": "s", "linestyle": ""}
    handles = [plt.Line2D([], [], color=CATEGORY_COLORS[name], label=name, **squares) for name in names]
    fig.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize="small")
    return fig, ax


def tag_intervals(table: pd.DataFrame, others: list[str], ax=None):
    """Draw each tag's AUC with its 95 % interval, highest first; tags without an AUC are left out.

    `table` has `tag`, `auc`, `low`, `high` (a tag without an interval gets a hollow mark), and `others`: columns with
    other AUCs to draw beside it, such as "oracle".
    """
    rows = table.dropna(subset="auc").sort_values("auc", ascending=False)
    places, clear = np.arange(len(rows)), (rows["low"] > 0.5).to_numpy()
    fig, ax = _axes(ax, figsize=(12, 4), **MANY_LABELS)
    for chosen, color, label in ((clear, BLUE, "interval above 0.5"), (~clear, "0.55", "not clear of 0.5")):
        if chosen.any():
            _intervals(ax, places[chosen], rows[chosen], color, label)
    for column in others:
        marker, color = ("_", BLACK) if column == "oracle" else (NETWORK_MARKERS["crnn"], NETWORK_COLORS["crnn"])
        size = 10 if column == "oracle" else 5
        ax.plot(places, rows[column], marker, color=color, markersize=size, label=column)
    ax.axhline(0.5, color="0.4", linewidth=1.2, linestyle=":", label="constant predictor")
    ax.set_xticks(places, map(_plain, rows["tag"]), rotation=60, ha="right", rotation_mode="anchor", fontsize="small")
    ax.set(xlim=(-1, len(rows)), xlabel="tag", ylabel="ROC AUC")
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return fig, ax


def dumbbells(table: pd.DataFrame, scores: dict[str, str], lines: dict[str, float] | None = None, ax=None):
    """Draw a line for each row of `table`, from one score to the other: how far apart are they?

    The index names the rows, its name the axis. `scores` maps up to three columns to their names: the ends of the
    line, then a tick on its own. A score `x` gets an interval where there are columns `x_low` and `x_high`. `lines`
    maps names to the values of up to two vertical lines.
    """
    fig, ax = _axes(ax, figsize=(7.5, 1 + 0.36 * len(table)))
    rows, ends = np.arange(len(table)), table[list(scores)[:2]].astype(float)
    ax.hlines(rows, ends.min(axis=1), ends.max(axis=1), color="0.82", linewidth=4, zorder=1)
    for (column, name), color, marker in zip(scores.items(), (BLUE, ORANGE, BLACK), ("o", "D", "|"), strict=False):
        if f"{column}_low" in table:
            limits = table[[f"{column}_low", f"{column}_high"]].to_numpy(float)
            ax.errorbar(limits.mean(axis=1), rows, xerr=np.ptp(limits, axis=1) / 2, fmt="none", ecolor=color, capsize=3)
        size = 120 if marker == "|" else 45
        ax.scatter(table[column], rows, s=size, color=color, marker=marker, label=name, zorder=3)
    for (name, value), linestyle in zip((lines or {}).items(), (":", "--"), strict=False):
        ax.axvline(value, color="0.4", linewidth=1.2, linestyle=linestyle, label=name)
    ax.set(yticks=rows, yticklabels=table.index, xlabel="ROC AUC", ylabel=table.index.name)
    ax.margins(y=0.5 / len(table))
    ax.invert_yaxis()
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return fig, ax


def compare_curves(history: pd.DataFrame, by: str, constant: dict, scores=("streaming_auc", "macro_auc")):
    """Draw scores against epochs, one panel each, one colour for each value of the column `by`, training songs dashed.

    `history` joins histories of `training.fit`; `constant` gives the scores of a constant predictor.
    """
    fig, axes = plt.subplots(1, len(scores), figsize=(4.4 * len(scores), 3.5), sharey=True, squeeze=False)
    colors = dict(zip(dict.fromkeys(history[by]), (BLUE, ORANGE, GREEN, PINK), strict=False))
    for ax, score in zip(axes[0], scores, strict=True):
        for (value, split), rows in history.groupby([by, "split"]):
            ax.plot(rows["epoch"], rows[score], linestyle=SPLIT_STYLES[split], color=colors[value])
        ax.axhline(constant[score], color="0.4", linewidth=1.2, linestyle=":")
        ax.set(xlabel="epoch", ylabel=SCORE_NAMES[score])
        ax.xaxis.get_major_locator().set_params(integer=True)
    lines = [(color, "-", name) for name, color in colors.items()]
    lines += [("0.3", "--", "training songs"), ("0.3", "-", "held-out songs"), ("0.4", ":", "constant predictor")]
    handles = [plt.Line2D([], [], color=color, linestyle=line, label=label) for color, line, label in lines]
    fig.legend(handles=handles, loc="outside upper center", ncols=1 + len(scores), fontsize="small")
    return fig, axes[0]


def fold_scores(table: pd.DataFrame, ax=None):
    """Draw the macro AUC of every fold as a dot and their mean as a tick, a row for each predictor, a colour a split.

    `table` has the columns `predictor`, `split` and `macro_auc`, one row a fold.
    """
    predictors, splits = (list(dict.fromkeys(table[column])) for column in ("predictor", "split"))
    fig, ax = _axes(ax, figsize=(7.5, 1 + 0.6 * len(predictors)))
    for split, color, marker, shift in zip(splits, (ORANGE, BLUE), ("D", "o"), (-0.15, 0.15), strict=False):
        rows = table[table["split"] == split]
        ax.scatter(
            rows["macro_auc"], rows["predictor"].map(predictors.index) + shift, s=30, color=color, marker=marker,
            alpha=0.6, linewidths=0, label=split,
        )  # fmt: skip
        means = rows.groupby("predictor")["macro_auc"].mean()
        ax.scatter(means, means.index.map(predictors.index) + shift, s=200, color=BLACK, marker="|")
    ax.scatter([], [], s=120, color=BLACK, marker="|", label="mean of the folds")
    ax.axvline(0.5, color="0.4", linewidth=1.2, linestyle=":", label="constant predictor")
    ax.set(yticks=range(len(predictors)), yticklabels=predictors, xlabel=SCORE_NAMES["macro_auc"], ylabel="predictor")
    ax.margins(y=0.3 / len(predictors))
    ax.invert_yaxis()
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return fig, ax
