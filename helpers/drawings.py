"""Drawings that several notebooks share: songs and sound, and networks as what flows through them.

`helpers.plots` passes these functions on.
"""

import functools
from math import log2, prod

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import font_manager

from helpers import audio

ROOM = 0.8  # inches between blocks, for an arrow and its text
COLORS = {"InputLayer": "#56B4E9", "MaxPooling2D": "#0072B2", "GRU": "#009E73", "Dense": "#CC79A7", "tags": "#E69F00"}


@functools.cache
def _drawable(families: tuple[str, ...]) -> set[int]:
    return set().union(*(font_manager.get_font(font_manager.findfont(name)).get_charmap() for name in families))


def plain(name: object) -> str:
    r"""Return a name as text that is safe to draw: no TeX, and what no font here can draw as an escape like \u65e5."""
    known = _drawable(tuple(plt.rcParams["font.family"]))
    safe = (c if c == "\n" or (c.isprintable() and ord(c) in known) else ascii(c)[1:-1] for c in str(name))
    return "".join(safe).replace("$", r"\$")


def stack(num_rows: int):
    """Return (fig, axes) of a column of axes with one axis of seconds, for the four functions below."""
    return plt.subplots(num_rows, 1, figsize=(8, 0.4 + 1.25 * num_rows), sharex=True)


def _finish(ax, title: str, xlabel: str = "seconds", **axis):
    ax.set(title=plain(title), xlabel=xlabel, **axis)
    ax.label_outer()
    return ax.figure, ax


def show_pitches(segments_pitches: np.ndarray, title: str = "", ax=None, starts: np.ndarray | None = None):
    """Draw one song's `segments_pitches` (num_segments, 12); with their `starts` (seconds), as long as they sound."""
    ax = ax or plt.subplots(figsize=(9, 2.4))[1]
    edges = np.arange(len(segments_pitches) + 1) if starts is None else [*starts, starts[-1] + np.diff(starts).mean()]
    values = np.asarray(segments_pitches).T
    image = ax.pcolormesh(edges, np.arange(13) - 0.5, values, cmap="magma", vmin=0, vmax=1, rasterized=True)
    ax.figure.colorbar(image, ax=ax, label="strength")
    ax.set_yticks(range(0, 12, 2), ["C", "D", "E", "F♯", "G♯", "A♯"])
    return _finish(ax, title, "segment" if starts is None else "seconds", ylabel="pitch class")


def show_wave(samples: np.ndarray, title: str = "", ax=None):
    """Draw samples at 12 kHz."""
    ax = ax or plt.subplots(figsize=(8, 1.8))[1]
    ax.plot(np.arange(len(samples)) / audio.SR, samples, color="C0", linewidth=0.3, rasterized=True)
    return _finish(ax, title, ylabel="amplitude")


def show_mel(mel: np.ndarray, title: str = "", unit: str = "dB", ax=None):
    """Draw a spectrogram (bands, frames): 96 mel bands, or else the bins of an STFT, up to 6 kHz; black is -80 dB."""
    import librosa

    hertz, centres = (1000, 3000, 5000), np.linspace(0, audio.SR / 2, len(mel))
    if len(mel) == audio.N_MELS:
        hertz, centres = (250, 1000, 2000, 4000), librosa.mel_frequencies(audio.N_MELS + 2, fmax=audio.SR / 2)[1:-1]
    ax = _frames(ax, mel, mel.max() - audio.TOP_DB if unit == "dB" else 0, mel.max(), unit)
    ax.set_yticks(np.interp(hertz, centres, np.arange(len(mel))), hertz)
    return _finish(ax, title, ylabel="Hz")


def show_chroma(chroma: np.ndarray, title: str = "", ax=None):
    """Draw the strength of pitch classes, (12, frames), 0 to 1."""
    ax = _frames(ax, chroma, 0, 1, "strength")
    ax.set_yticks(range(0, 12, 3), ["C", "D♯", "F♯", "A"])
    return _finish(ax, title, ylabel="pitch class")


def _frames(ax, values, lowest, highest, unit):
    ax = ax or plt.subplots(figsize=(8, 1.8))[1]
    start, stop = np.array([-0.5, values.shape[1] - 0.5]) * audio.HOP_LENGTH / audio.SR  # a frame lies about its centre
    look = {"cmap": plt.get_cmap("magma", 16), "interpolation": "nearest"}  # 5 dB each; few colours make a small file
    look |= {"extent": (start, stop, -0.5, len(values) - 0.5), "aspect": "auto", "origin": "lower"}
    ax.figure.colorbar(ax.imshow(values, vmin=lowest, vmax=highest, **look), ax=ax, label=unit)
    return ax


def layer_table(networks: dict, grey: str = "kernel") -> pd.DataFrame:
    """Return the table of `layer_diagrams` for Keras models by title: one row for each block of numbers that flows.

    A block is `height` (bands, or units) x `time` x `maps`; `step` made it of the block before, with its `kernel` and
    `pool` and trainable `parameters`. `grey`: which of these the drawing shows, "kernel" (Choi) or "pool" (Mason).
    """
    rows = []
    for title, model in networks.items():
        steps, kernel, parameters, time_first, bands = [], "", 0, False, 1
        for layer in model.layers:
            kind, shape = type(layer).__name__, layer.output.shape[1:]
            parameters += sum(prod(weight.shape) for weight in layer.trainable_weights)
            if kind == "Permute":
                time_first, bands = layer.dims[0] == 2, shape[-1]
            elif hasattr(layer, "kernel_size"):
                # Bands that were made channels all lie under the kernel.
                kernel, bands = f"{layer.kernel_size[0] * bands}×{layer.kernel_size[1]}", 1
                steps.append(f"conv {kernel}")
            elif kind == "ZeroPadding2D":
                steps.append(f"pad to {shape[1]}")
            pool = "{}×{}".format(*layer.pool_size) if kind == "MaxPooling2D" else ""
            names = {"Flatten": "flatten", "GRU": "GRU", "Dense": "dense", "MaxPooling2D": f"pool {pool}"}
            steps += [names[kind]] if kind in names else []
            if kind not in COLORS:
                continue
            if len(shape) == 3:
                size = (shape[1], shape[0], shape[2]) if time_first else shape
            else:
                size = (shape[-1], shape[0] if len(shape) == 2 else 1, 1)
            kind = "tags" if layer is model.layers[-1] else kind
            rows.append((title, kind, ", ".join(steps), *size, parameters, kernel, pool, grey))
            steps, kernel, parameters = [], "", 0
    return pd.DataFrame(rows, columns="network kind step height time maps parameters kernel pool grey".split())


def layer_diagrams(table: pd.DataFrame):
    """Draw the networks of a `layer_table` below each other (Mason 2020, Figures 1 and 2; Choi 2017, Figure 1)."""
    networks = list(table.fillna({"step": "", "kernel": "", "pool": ""}).groupby("network", sort=False))
    fig, axes = plt.subplots(len(networks), 1, sharex=True, sharey=True, squeeze=False)
    ends = []
    for ax, (title, rows) in zip(axes[:, 0], networks, strict=True):
        ax.set_title(title, loc="left")
        ax.axis("off")
        end, rows = -ROOM, rows.to_dict("records")
        for row, after in zip(rows, [*rows[1:], {}], strict=True):
            end = _block(ax, end, row, after.get(row["grey"]))
        ends.append(end)
    fig.set_size_inches(max(ends) + 1, 2.45 * len(networks))
    plt.setp(axes, xlim=(-0.2, max(ends) + 0.5), ylim=(-1.3, 0.75), aspect="equal")
    note = {"kernel": "grey: kernel of the next convolution", "pool": "grey: next pooling"}[table["grey"].iloc[0]]
    axes[0, 0].set_title(f"{note}; all lengths logarithmic", loc="right", fontsize="small", color="0.4")
    return fig, axes


def _block(ax, before: float, row: dict, grey: str) -> float:
    """Draw a block, on it the `grey` area, and the arrow from the block that ends at `before`; return its own end."""
    left, image = before + ROOM, row["kind"] in ("InputLayer", "MaxPooling2D")
    size = _inches(row["height"], row["time"], image)
    bottom, sheets = -size[1] / 2, max(1, round(log2(row["maps"]) / 2))
    for shift in 0.05 * np.arange(sheets)[::-1]:
        look = {"facecolor": COLORS[row["kind"]], "edgecolor": "white", "linewidth": 0.8}
        ax.add_patch(plt.Rectangle((left + shift, bottom + shift), *size, **look))
    if grey:
        part = np.minimum(size, _inches(*map(int, grey.split("×"))))
        ax.add_patch(plt.Rectangle((left, -bottom - part[1]), *part, facecolor="0.8", edgecolor="0.2", linewidth=0.6))
    if row["step"]:
        ax.annotate("", (left - 0.06, 0), (before + 0.06, 0), arrowprops={"arrowstyle": "->", "color": "0.3"})
        step, centre = row["step"].replace(", ", "\n"), (before + left) / 2
        ax.text(centre, 0.06, step, ha="center", va="bottom", fontsize=8, color="0.3")
    unit = "tags" if row["kind"] == "tags" else f"× {row['time']}" if image else "units"
    more = {"maps": row["maps"], "steps": row["time"] if row["kind"] == "GRU" else 1, "\nparameters": row["parameters"]}
    lines = [f"{row['height']} {unit}", *(f"{number:,} {name}" for name, number in more.items() if number > 1)]
    look = {"ha": "center", "va": "top", "fontsize": 8, "linespacing": 1.1}
    ax.text(left + size[0] / 2, bottom - 0.08, "\n".join(lines).replace(" \n", "\n"), **look)
    return left + size[0] + 0.05 * (sheets - 1)


def _inches(height: int, time: int, image: bool = True) -> tuple[float, float]:
    return 0.15 + 0.07 * log2(time), 0.2 + 0.13 * log2(height) if image else 0.1 * log2(height)
