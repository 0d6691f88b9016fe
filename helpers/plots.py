"""The papers' figures, each from one table alone (`python -m helpers.plots` draws all again), and shared drawings."""

import functools
import hashlib
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import librosa.display
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager, ticker

from helpers import audio, paths

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, PINK, SKY, RED = PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
SEGMENT_COLORS = {252: BLUE, 512: ORANGE, 1024: GREEN}
# As in Choi's Figure 3, where it has them; the second k1c2 is that of `models` with other kernels.
NETWORK_COLORS = {"k1c2": BLUE, "k1c2_1x8": SKY, "k2c1": RED, "k2c2": ORANGE, "crnn": GREEN}
NETWORK_MARKERS = {"k1c2": "o", "k1c2_1x8": "v", "k2c1": "s", "k2c2": "^", "crnn": "D"}
CATEGORY_COLORS = {"genre": BLUE, "mood": ORANGE, "instrument": GREEN, "era": PINK, "other": "0.45"}  # of tags
NAMES = {"streaming_auc": "AUC, all cells (Keras)", "macro_auc": "macro ROC AUC", "auc": "ROC AUC"}
NAMES |= {"parameters": "trainable parameters", "seconds_2500": "seconds of training on 2,500 clips, one machine"}
CONSTANT = {"color": "0.4", "linewidth": 1.2, "linestyle": ":", "label": "constant predictor"}
ORACLE = {"color": "0.4", "linewidth": 1.2, "linestyle": "--", "label": "oracle (true probabilities)"}
PAPER = {"color": "0.8", "linewidth": 3, "zorder": 0, "label": "SOTA in the paper, real\nmusic (.851): not our data"}
BESIDE = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5)}  # a legend to the right of its axes
LAYER_COLORS = {"InputLayer": SKY, "MaxPooling2D": BLUE, "GRU": GREEN, "Dense": PINK, "tags": ORANGE}
PITCHES = ("C", "D", "E", "F♯", "G♯", "A♯")  # every second pitch class: a row for each is too narrow for letters
ROOM = 0.8  # inches between drawn layers, for an arrow and its text
# For names in other scripts, where they are installed: on Linux, macOS and Windows.
FONTS = ["Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans Devanagari", "Noto Sans Thai"]
FONTS += ["Arial Unicode MS", "Hiragino Sans", "Apple SD Gothic Neo", "Yu Gothic", "Malgun Gothic", "Nirmala UI"]


def style() -> None:
    """Set the one style sheet of the series for all figures that follow."""
    look = {"figure.dpi": 90, "savefig.dpi": 150, "axes.titlesize": "medium", "legend.fontsize": "small"}
    look |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "svg.hashsalt": "crnn"}
    look |= {"savefig.bbox": "tight", "figure.constrained_layout.use": True}
    fonts = ["DejaVu Sans", *(name for name in FONTS if name in font_manager.get_font_names())]
    sns.set_theme(style="ticks", palette=PALETTE, rc=look | {"font.family": fonts})


def save(fig: plt.Figure, name: str, provenance: dict, table: pd.DataFrame | None = None, stamp: bool = True) -> Path:
    """Write `fig` as PNG and SVG and its `table` as CSV to `figures/<data set>/`, with a row in the manifest.

    `provenance`: `dataset`, `synthetic` and, of real data, `num_songs`. `stamp` writes the last two below the figure.
    """
    target = paths.FIGURES / provenance["dataset"] / f"{name}.png"
    real = f"real, n = {provenance['num_songs']:,}" if "num_songs" in provenance else ""
    label = ("synthetic demo data" if provenance["synthetic"] else real) if stamp else ""
    if table is not None:
        with paths.atomic(target.with_suffix(".csv")) as temporary:
            table.round(6).to_csv(temporary, index=False, lineterminator="\n")
    _write(fig, target, label)
    notebook = os.environ.get("CRNN_NOTEBOOK") or os.environ.get("JPY_SESSION_NAME", "")  # of `series.py`, or Jupyter's
    row = {"figure": name, "notebook": Path(notebook).stem} | {key: provenance[key] for key in ("dataset", "synthetic")}
    row |= {"label": label, "preset": paths.preset(), "date": f"{pd.Timestamp.now('UTC'):%Y-%m-%d}"}
    row["versions"] = f"matplotlib {matplotlib.__version__}, numpy {np.__version__}, pandas {pd.__version__}"
    row["table_sha256"] = "" if table is None else _checksum(target.with_suffix(".csv"))
    _enter(target.with_name("manifest.csv"), row)
    return target


def _write(fig: plt.Figure, target: Path, label: str) -> None:
    if label:
        fig.supxlabel(label, fontsize="small", color="0.45", x=0.99, ha="right", style="italic")
    for path, metadata in ((target, None), (target.with_suffix(".svg"), {"Date": None})):
        with paths.atomic(path) as temporary:
            fig.savefig(temporary, metadata=metadata)


def _enter(manifest: Path, row: dict) -> None:
    """Write `row` in the place of its figure's; notebooks that do so at the same time wait for each other."""
    place = hashlib.sha256(str(manifest.resolve()).encode()).hexdigest()[:16]
    # SQLite's lock works on all systems, and that of a process that has died is free again.
    with closing(sqlite3.connect(Path(tempfile.gettempdir(), f"crnn-{place}.lock"), timeout=60)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        known = pd.read_csv(manifest, keep_default_na=False) if manifest.exists() else None
        rows = pd.concat([known, pd.DataFrame([row])]).drop_duplicates("figure", keep="last").sort_values("figure")
        with paths.atomic(manifest) as temporary:
            rows.to_csv(temporary, index=False, lineterminator="\n")


def _checksum(table: Path) -> str:
    return hashlib.sha256(table.read_bytes().replace(b"\r\n", b"\n")).hexdigest()  # Git changes line ends on Windows


def redraw() -> list[Path]:
    """Draw the papers' figures again, each from its table; return the PNGs. ValueError for a table that was changed."""
    style()
    drawn = []
    for manifest in sorted(paths.FIGURES.glob("*/manifest.csv")):
        rows = pd.read_csv(manifest, keep_default_na=False).set_index("figure")
        for name, row in rows[rows.index.isin(FIGURES)].iterrows():
            table = manifest.with_name(f"{name}.csv")
            if _checksum(table) != row["table_sha256"]:
                raise ValueError(f"{table} was changed since its figure was made; restore it or run {row['notebook']}.")
            fig, _ = FIGURES[name](pd.read_csv(table, keep_default_na=False, na_values=[""]))
            drawn.append(table.with_suffix(".png"))
            _write(fig, drawn[-1], row["label"])
            plt.close(fig)
    return drawn


def plain(name: object) -> str:
    r"""Return a name as text that is safe to draw: no TeX, and what no font here can draw as an escape like \u65e5."""
    families = [font_manager.FontProperties(family=[family]) for family in plt.rcParams["font.family"]]
    fonts = [font_manager.get_font(font_manager.findfont(family)) for family in families]
    known = {c for c in str(name) if c.isprintable() and any(font.get_char_index(ord(c)) for font in fonts)} | {"\n"}
    return "".join(c if c in known else ascii(c)[1:-1] for c in str(name)).replace("$", r"\$")


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


def training_curves(table: pd.DataFrame, by: str = "segments"):
    """Draw scores against epochs, a colour for each value of the column `by` (Mason 2020, Figures 4 and 5).

    A thin line a `seed`, dashed: the second `size`; ten held-out songs or more. `hardware`, `date`: an earlier run.
    """
    table = table.assign(seed=table.get("seed", 0), size=table.get("size", ""))
    colors = {value: f"C{i}" for i, value in enumerate(table[by].unique())} | SEGMENT_COLORS
    lines = dict(zip(table["size"].unique(), ("-", "--"), strict=False))
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.9), dpi=80, sharex=True, sharey=True, gridspec_kw={"wspace": 0.07})
    train, held_out = ("train", "training songs, dropout on"), ("held_out", "held-out songs, dropout off")
    panels = ((*train, "streaming_auc"), (*held_out, "streaming_auc"), (*held_out, "macro_auc"))
    for ax, (split, title, score) in zip(axes, panels, strict=True):
        ax.set(xlabel="epoch", ylabel=NAMES[score], title=title)
        ax.tick_params(labelleft=True)
        for (value, size), rows in table[table["split"] == split].groupby([by, "size"], sort=False):
            if split == "train" or rows["num_songs"].min() >= 10:
                runs, keras = rows.pivot_table(score, "epoch", "seed"), score == "streaming_auc"
                look = {"color": colors[value], "linestyle": lines[size]}
                if runs.shape[1] > 1:
                    ax.plot(runs, linewidth=0.7, alpha=0.5, **look)
                ax.plot(runs.mean(axis=1, skipna=False).dropna(), linewidth=2, **look)
                constant = {"y": rows["constant_auc"].mean(), "color": colors[value]} if keras else {"y": 0.5}
                ax.axhline(**CONSTANT | constant)
    handles = [plt.Line2D([], [], **CONSTANT | {"label": "constant predictor, same songs"})]
    if table["seed"].nunique() > 1:
        handles.append(plt.Line2D([], [], color="0.4", linewidth=0.7, label="one run (thick: the mean of all)"))
    for value, songs in table.pivot_table("num_songs", by, "split", "min", sort=False).iterrows():
        label = f"{value:,} segments" if by == "segments" else plain(value)
        label += f": {songs['train']:,.0f} training songs; {songs['held_out']:,.0f} held-out songs"
        label += ", too few to draw" if songs["held_out"] < 10 else ""
        handles.append(plt.Line2D([], [], color=colors[value], linewidth=2, label=label))
    sizes = table.reindex(columns=["size", "hardware", "date"]).astype(object).fillna("").drop_duplicates()
    for size, hardware, date in sizes.to_numpy() if len(lines) > 1 else ():
        label = plain(f"{size} network" + (f", an earlier run: {hardware}, {date}" if date else ""))
        handles.append(plt.Line2D([], [], color="0.4", linewidth=2, linestyle=lines[size], label=label))
    fig.legend(handles=handles, loc="outside upper center", ncols=2)
    return fig, axes


def size_and_time(table: pd.DataFrame, x: str, y: str):
    """Draw Choi's networks, a line each: a score with its interval, or seconds (Choi 2017, Figures 2 and 4, Table 1).

    `table` has `network`, `budget`, and as `x` and `y` "parameters", "seconds_2500" (all of one machine), "macro_auc".
    Scores have `low`, `high`, `oracle`, and `run`, `hardware`, `date` of up to six runs, each with its own marks.
    """
    score, timed = y == "macro_auc", table[table[y].isna()]
    known = table.dropna(subset=y).assign(run=table["run"] if score else "")  # all times are of one machine
    ratios = [9, 1] if len(timed) else [1]
    fig, axes = plt.subplots(len(ratios), 1, figsize=(9, 4.6), sharex=True, squeeze=False, height_ratios=ratios)
    ax, below, step = axes[0, 0], axes[-1, 0], 1.12 if score and x == "parameters" else 1
    fills = dict(zip(known["run"].unique(), ("full", "none", "left", "right", "top", "bottom"), strict=False))
    for i, network in enumerate(table["network"].unique()):
        look = {"color": NETWORK_COLORS[network], "marker": NETWORK_MARKERS[network], "markersize": 7}
        ax.plot([], [], label=network, **look)
        side = step ** (i - (table["network"].nunique() - 1) / 2)
        trained = known[known["network"] == network].sort_values("parameters")
        trained["place"] = trained[x] * side * 1.02 ** trained.groupby("parameters").cumcount()
        ax.plot(*trained.groupby("parameters")[["place", y]].mean().to_numpy().T, color=look["color"])
        for run, rows in trained.groupby("run"):
            ax.plot(rows["place"], rows[y], fillstyle=fills[run], **look | {"linestyle": "", "markersize": 6})
            if score:
                ax.vlines(rows["place"], rows["low"], rows["high"], color=look["color"], linewidth=1, alpha=0.4)
        rows = timed[timed["network"] == network]
        below.plot(rows[x] * side, [-i] * len(rows), "x", color=look["color"])
    if len(timed):
        below.set(yticks=[], ymargin=0.3, ylabel="no\nscore")
    below.set(xscale="log", xlabel=NAMES[x] + ", runs side by side" * score)
    ax.set(yscale="linear" if score else "log", ylabel=NAMES[y] + " (95 % interval)" * score)
    for axis in (below.xaxis,) if score else (below.xaxis, ax.yaxis):
        axis.set(major_locator=ticker.LogLocator(subs=(1, 2, 5)), minor_locator=ticker.NullLocator())
        axis.set(major_formatter=ticker.EngFormatter(sep=""))
    if step > 1:
        below.set_xticks(table.groupby("budget")[x].median(), sorted(table["budget"].unique()))
    if score:
        for (run, hardware), rows in known.groupby(["run", "hardware"], sort=False):
            label = f"{run}: {hardware}\n{' to '.join(sorted({rows['date'].min(), rows['date'].max()}))}"
            ax.plot([], [], "o", color="0.4", fillstyle=fills[run], label=plain(label))
        ax.plot([], [], " ", label="constant predictor: 0.5, below")
        if known["oracle"].notna().any():
            ax.axhline(known["oracle"].max(), **ORACLE)
        ax.axhline(0.851, **PAPER)
        ax.set_ylim(bottom=known[["low", y]].min().min() - 0.01)  # above 0.5, the marks would else be squeezed
    ax.legend(**BESIDE)
    return fig, axes[:, 0]


def tag_differences(table: pd.DataFrame):
    """Draw the `auc` of each `tag` by `network`, in bars from the line of k2c1 (Choi 2017, Figure 3)."""
    wide = table.pivot(index=["category", "popularity_rank", "tag"], columns="network", values="auc").dropna()
    wide = wide.reset_index().sort_values("k2c1", ascending=False)
    wide = wide.sort_values("category", key=lambda names: names.map(list(CATEGORY_COLORS).index), kind="stable")
    wide["x"] = np.arange(len(wide)) + pd.factorize(wide["category"])[0]
    others = [network for network in table["network"].unique() if network != "k2c1"]
    fig, ax = plt.subplots(figsize=(12, 4.8), dpi=72)
    for i, network in enumerate(others):
        look = {"width": 0.8 / len(others), "color": NETWORK_COLORS[network], "label": network, "bottom": wide["k2c1"]}
        ax.bar(wide["x"] + 0.8 * ((i + 0.5) / len(others) - 0.5), wide[network] - wide["k2c1"], **look)
    for category, rows in wide.groupby("category", sort=False):
        ax.plot(rows["x"], rows["k2c1"], "o-", color=RED, markersize=4, label="_" * bool(rows["x"].iloc[0]) + "k2c1")
        ax.text(rows["x"].mean(), 1.01, category, transform=ax.get_xaxis_transform(), ha="center", va="bottom")
    for i, network in enumerate(("k2c1", *others)):  # dashes of one fall into the gaps of the others
        label, dashes = f"mean {network} {wide[network].mean():.3f}".replace(" 0.", " ."), (4 * i, (4, 8))
        ax.axhline(wide[network].mean(), color=NETWORK_COLORS[network], linestyle=dashes, label=label, lw=1.2, zorder=0)
    ax.axhline(0.5, **CONSTANT)
    labels = [f"{plain(tag)} ({rank})" for tag, rank in wide[["tag", "popularity_rank"]].to_numpy()]
    ax.set_xticks(wide["x"], labels, rotation=60, ha="right", rotation_mode="anchor", fontsize="small")
    wins = " and ".join(f"{network} in {(wide[network] > wide['k2c1']).sum()}" for network in others)
    ax.set_title(f"{table['budget'].iloc[0]} parameters; of {len(wide)} tags, {wins} above k2c1", pad=24)
    ax.set(xlim=(-1, len(wide) + 3), xlabel="tag (rank of its popularity)", ylabel=NAMES["auc"])
    ax.set_ylim(bottom=min(0.5, *wide[["k2c1", *others]].min()) - 0.03)  # bars leave no margin below a point
    ax.legend(**BESIDE)
    return fig, ax


def layer_table(networks: dict, grey: str = "kernel") -> pd.DataFrame:
    """Return the table of `layer_diagrams` for Keras models by title; `grey`: the next "kernel" or "pool" is shown."""
    rows = []
    for title, model in networks.items():
        steps, kernel, parameters, time_first, bands = [], "", 0, False, 1
        for layer in model.layers:
            kind, shape = type(layer).__name__, layer.output.shape[1:]
            parameters += sum(np.prod(weight.shape, dtype=int) for weight in layer.trainable_weights)
            pool = "{}×{}".format(*layer.pool_size) if kind == "MaxPooling2D" else ""
            names = {"Flatten": "flatten", "GRU": "GRU", "Dense": "dense", "MaxPooling2D": f"pool {pool}"}
            steps += [names[kind]] if kind in names else []
            if kind == "Permute":
                time_first, bands = layer.dims[0] == 2, shape[-1]
            elif kind == "ZeroPadding2D":
                steps.append(f"pad to {shape[1]}")
            elif hasattr(layer, "kernel_size"):
                kernel, bands = f"{layer.kernel_size[0] * bands}×{layer.kernel_size[1]}", 1  # bands as channels
                steps.append(f"conv {kernel}")
            if kind in LAYER_COLORS:
                size = shape if len(shape) == 3 else (*shape[::-1], 1, 1)[:3]  # units, the steps of a GRU, one map
                size = (size[1], size[0], size[2]) if time_first and len(shape) == 3 else size
                kind = "tags" if layer is model.layers[-1] else kind
                rows.append((title, kind, ", ".join(steps), *size, parameters, kernel, pool, grey))
                steps, kernel, parameters = [], "", 0
    return pd.DataFrame(rows, columns="network kind step height time maps parameters kernel pool grey".split())


def layer_diagrams(table: pd.DataFrame):
    """Draw the networks of a `layer_table` below each other (Mason 2020, Figures 1 and 2; Choi 2017, Figure 1)."""
    networks = list(table.fillna({"step": "", "kernel": "", "pool": ""}).groupby("network", sort=False))
    fig, axes = plt.subplots(len(networks), 1, sharex=True, sharey=True, squeeze=False)
    width = 0
    for ax, (title, rows) in zip(axes[:, 0], networks, strict=True):
        ax.set_title(title, loc="left")
        ax.axis("off")
        end, (grey,) = -ROOM, rows["grey"].unique()
        for row, shown in zip(rows.to_dict("records"), [*rows[grey][1:], ""], strict=True):
            end = _block(ax, end, row, shown)
        width = max(width, end)
    fig.set_size_inches(width + 1, 2.45 * len(networks))
    plt.setp(axes, xlim=(-0.2, width + 0.5), ylim=(-1.3, 0.75), aspect="equal")
    note = {"kernel": "kernel of the next convolution", "pool": "next pooling"}[grey]
    axes[0, 0].set_title(f"grey: {note}; all lengths logarithmic", loc="right", fontsize="small", color="0.4")
    return fig, axes


def _block(ax, before: float, row: dict, grey: str) -> float:
    """Draw a block, on it the `grey` area, and the arrow from the block that ends at `before`; return its own end."""
    left, image = before + ROOM, row["kind"] in ("InputLayer", "MaxPooling2D")
    size = _inches(row["height"], row["time"], image)
    bottom, sheets = -size[1] / 2, max(1, round(np.log2(row["maps"]) / 2))
    for shift in 0.05 * np.arange(sheets)[::-1]:
        look = {"facecolor": LAYER_COLORS[row["kind"]], "edgecolor": "white", "linewidth": 0.8}
        ax.add_patch(plt.Rectangle((left + shift, bottom + shift), *size, **look))
    if grey:
        part = np.minimum(size, _inches(*map(int, grey.split("×"))))
        ax.add_patch(plt.Rectangle((left, -bottom - part[1]), *part, facecolor="0.8", edgecolor="0.2", linewidth=0.6))
    if row["step"]:
        ax.annotate("", (left - 0.06, 0), (before + 0.06, 0), arrowprops={"arrowstyle": "->", "color": "0.3"})
        ax.text(left - ROOM / 2, 0.06, row["step"].replace(", ", "\n"), ha="center", va="bottom", size=8, color="0.3")
    unit = "tags" if row["kind"] == "tags" else f"× {row['time']}" if image else "units"
    more = {" maps": row["maps"], " steps": row["time"] * (row["kind"] == "GRU"), "\nparameters": row["parameters"]}
    text = "\n".join([f"{row['height']} {unit}", *(f"{number:,}{name}" for name, number in more.items() if number > 1)])
    ax.text(left + size[0] / 2, bottom - 0.08, text, ha="center", va="top", fontsize=8, linespacing=1.1)
    return left + size[0] + 0.05 * (sheets - 1)


def _inches(height: int, time: int, image: bool = True) -> tuple[float, float]:
    return 0.15 + 0.07 * np.log2(time), 0.2 + 0.13 * np.log2(height) if image else 0.1 * np.log2(height)


def score_intervals(table: pd.DataFrame, y: str, by=None, score="macro_auc", oracle=None):
    """Draw `score` with its interval, `low` to `high` if known, for each name in `y`, a colour for each `by`."""
    names, shared = list(table[y].unique()), table[y].duplicated().any()
    fig, ax = plt.subplots(figsize=(8, 1 + 0.4 * len(names)), dpi=80)
    groups = dict(list(table.groupby(by, sort=False))) if by else {NAMES[score]: table}
    for i, (name, rows) in enumerate(groups.items()):
        places = rows[y].map(names.index) + 0.4 * shared * ((i + 0.5) / len(groups) - 0.5)
        ax.hlines(places, rows["low"], rows["high"], color=f"C{i}", linewidth=1.2)
        ax.scatter(rows[score], places, s=30, color=f"C{i}", label=plain(name) if by else None)
    ax.axvline(0.5, **CONSTANT)
    if pd.notna(oracle):  # None: real songs; NaN: a demo set that is not here
        ax.axvline(oracle, **ORACLE)
    ax.set_yticks(range(len(names)), [plain(name) for name in names])
    ax.set(ylabel=y, xlabel=f"{NAMES[score]} (95 % interval)", ylim=(len(names) - 0.5, -0.5))
    ax.legend(title=by, **BESIDE)
    return fig, ax


def show_pitches(segments_pitches: np.ndarray, title: str = "", ax=None, starts: np.ndarray | None = None):
    """Draw one song's `segments_pitches` (num_segments, 12); with their `starts` (seconds), as long as they sound."""
    ax = ax or plt.subplots(figsize=(9, 2.4))[1]
    edges = np.arange(len(segments_pitches) + 1) if starts is None else [*starts, starts[-1] + np.diff(starts).mean()]
    look = {"cmap": "magma", "vmin": 0, "vmax": 1, "rasterized": True}
    image = ax.pcolormesh(edges, np.arange(13) - 0.5, np.asarray(segments_pitches).T, **look)
    ax.figure.colorbar(image, ax=ax, label="strength")
    ax.set_yticks(range(0, 12, 2), PITCHES, fontsize="small")
    ax.set(title=plain(title), xlabel="segment" if starts is None else "seconds", ylabel="pitch class")
    ax.label_outer()
    return ax.figure, ax


def show_mel(mel: np.ndarray, title: str = "", unit: str = "dB", ax=None):
    """Draw a spectrogram (96 mel bands, frames), in decibels or, from zero, in another `unit`."""
    ax = ax or plt.subplots(figsize=(8, 1.8))[1]
    low = mel.max() - audio.TOP_DB if unit == "dB" else 0
    look = {"cmap": plt.get_cmap("magma", 16), "vmin": low, "vmax": mel.max()}  # few colours make a small file
    scales = {"sr": audio.SR, "hop_length": audio.HOP_LENGTH, "fmax": audio.SR / 2, "x_axis": "s", "y_axis": "mel"}
    ax.figure.colorbar(librosa.display.specshow(mel, ax=ax, rasterized=True, **look, **scales), ax=ax, label=unit)
    ax.set(title=plain(title), xlabel="seconds", ylabel="Hz")
    ax.label_outer()
    return ax.figure, ax


MASON_LAYERS = ("mason_figure_1_choi_layers", "mason_figure_2_layers_small", "mason_figure_2_layers_large")
FIGURES = dict.fromkeys((*MASON_LAYERS, "choi_figure_1_networks"), layer_diagrams) | {
    "mason_figure_3_segment_counts": segment_histogram,
    "mason_figure_4_initial_training": training_curves,
    "mason_figure_5_repeatability": training_curves,
    "choi_table_1_time": functools.partial(size_and_time, x="parameters", y="seconds_2500"),
    "choi_figure_2_auc_parameters": functools.partial(size_and_time, x="parameters", y="macro_auc"),
    "choi_figure_3_auc_per_tag": tag_differences,
    "choi_figure_4_auc_time": functools.partial(size_and_time, x="seconds_2500", y="macro_auc"),
}

if __name__ == "__main__":
    matplotlib.use("Agg")
    print(f"Redrew {len(redraw())} figures from their tables.")
