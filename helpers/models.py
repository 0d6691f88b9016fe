"""The networks of both papers in plain Keras 3: they run on TensorFlow, JAX or PyTorch unchanged."""

import numpy as np
from keras import Input, Model, layers

from helpers.layers import NormedConv, conv_block  # noqa: F401 - notebooks name the faster layer

MASON_WIDTHS = {"small": (60, 30), "large": (339, 169)}  # conv2d and rnn (Mason 2020, Table 2)
# Time, rows: one row is left of 12 pitch classes (Mason 2020, Figure 2), or of 24 with timbre beside them.
MASON_POOLS = {12: ((2, 2), (2, 2), (3, 3)), 24: ((2, 2), (2, 3), (3, 4))}

# Choi et al. 2017, Table 1: a row a layer, a column a budget. Fully-connected layers, or the GRUs of crnn, come last.
# k1c2 as described misses its budgets by up to 8 %; with 1 x 8 kernels and no input norm it comes within 2.4 %.
CHOI_BUDGETS = ("0.1M", "0.25M", "0.5M", "1M", "3M")
_TABLE_1 = {
    **dict.fromkeys(("k1c2", "k1c2_1x8"), [(15, 23, 33, 47, 81)] * 2 + [(30, 47, 66, 95, 163)] * 4),
    "k2c1": [(43, 72, 106, 152, 265)] * 3 + [(87, 145, 212, 304, 535)] * 4,
    "k2c2": [(20, 33, 47, 67, 118), *[(41, 66, 95, 135, 236)] * 2, (62, 100, 142, 203, 355), (83, 133, 190, 271, 473)],
    "crnn": [(30, 48, 68, 96, 169)] + [(60, 96, 137, 195, 339)] * 3 + [(30, 48, 68, 96, 169)] * 2,
}
CHOI_WIDTHS = {name: list(zip(*table, strict=True)) for name, table in _TABLE_1.items()}  # a tuple a budget
CHOI_KERNELS = {"k1c2": (1, 4), "k1c2_1x8": (1, 8), "k2c1": (1, 4), "k2c2": (3, 3), "crnn": (3, 3)}
CHOI_POOLS = {  # bands, time (sections 2.1 to 2.4)
    **dict.fromkeys(("k1c2", "k1c2_1x8"), ((1, 4), (1, 5), (1, 8), (1, 8))),
    "k2c1": ((1, 4), (1, 4), (1, 4), (1, 4), (1, 5)),
    "k2c2": ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4)),
    "crnn": ((2, 2), (3, 3), (4, 4), (4, 4)),
}


def mason_crnn(size: str, segments: int = 252, num_tags: int = 50, rows: int = 12) -> Model:
    """Return Mason's chroma CRNN, "small" or "large" (Mason 2020, Figure 2 and Table 2), not compiled.

    Input: float32 (batch, rows, segments, 1), the first segments_pitches of a song, in [0, 1]; with 24 rows also the
    12 numbers of timbre, on the scale of the pitches. Output: float32 (batch, num_tags), probabilities.
    """
    if size not in MASON_WIDTHS or rows not in MASON_POOLS or segments < 12:  # the pools divide time by 12
        raise ValueError(f"{size=}, {segments=}, {rows=}: use 'small' or 'large', at least 12 segments, 12 or 24 rows.")
    filters, units = MASON_WIDTHS[size]
    inputs = Input((rows, segments, 1), name="segments_pitches")
    # Time first: so the pitches lie on the last axis, batch norm's default, and time where the GRUs want it.
    x = layers.Permute((2, 1, 3))(inputs)
    x = layers.Reshape((segments, rows))(x)
    x = layers.BatchNormalization(name="pitch_norm")(x)
    for i, pool in enumerate(MASON_POOLS[rows], start=1):
        x = conv_block(x, i, filters, (3, 3), pool)
        x = layers.Dropout(0.1, name=f"dropout{i}")(x)
    x = layers.Reshape((segments // 12, filters), name="sequence")(x)
    x = layers.GRU(units, return_sequences=True, name="gru1")(x)
    x = layers.GRU(units, name="gru2")(x)
    x = layers.Dropout(0.3, name="dropout4")(x)
    x = layers.Dense(num_tags, activation="sigmoid", dtype="float32", name="tags")(x)
    return Model(inputs, x, name=f"mason_crnn_{size}_{segments}")


def choi_network(name: str, budget: str, num_tags: int = 50) -> Model:
    """Return one of the networks of Choi et al. 2017 (section 2, Table 1), not compiled.

    Names and budgets (trainable parameters) are those of `CHOI_WIDTHS` and `CHOI_BUDGETS`. Input: float32 (batch, 96,
    1366, 1), a log-mel-spectrogram (bands, time) in dB. Output: float32 (batch, num_tags), probabilities.
    """
    if name not in CHOI_WIDTHS or budget not in CHOI_BUDGETS:
        raise ValueError(f"{name=}, {budget=}: use one of {', '.join(CHOI_WIDTHS)} and of {', '.join(CHOI_BUDGETS)}.")
    widths, pools, title = CHOI_WIDTHS[name][CHOI_BUDGETS.index(budget)], CHOI_POOLS[name], f"choi_{name}_{budget}"
    if name == "crnn":
        return choi_crnn(widths, num_tags, title)
    inputs = x = Input((96, 1366, 1), name="log_mel")
    if name != "k1c2_1x8":
        x = layers.BatchNormalization(axis=2, name="time_norm")(x)
    if name == "k2c1":
        # A 96 x 4 kernel sees all bands at once: the same as a 1 x 4 kernel with the bands as channels.
        x = layers.Permute((3, 2, 1), name="bands_as_channels")(x)
    else:
        x = layers.Reshape((96, 1366), name="image")(x)
    for i, pool in enumerate(pools, start=1):
        x = conv_block(x, i, widths[i - 1], CHOI_KERNELS[name], pool)
    x = layers.Flatten(name="flatten")(x)
    for i, width in enumerate(widths[len(pools) :], start=1):
        x = layers.Dense(width, name=f"fc{i}")(x)
        x = layers.BatchNormalization(name=f"fc_norm{i}")(x)
        x = layers.ELU(name=f"fc_elu{i}")(x)
    x = layers.Dense(num_tags, activation="sigmoid", dtype="float32", name="tags")(x)
    return Model(inputs, x, name=title)


def choi_crnn(widths, num_tags: int, name: str, recurrent_activation="sigmoid", dropout: float = 0.0) -> Model:
    """Return Choi's CRNN (section 2.4) with four convolution and two GRU `widths`; input and output: `choi_network`."""
    inputs = Input((96, 1366, 1), name="log_mel")
    x = layers.ZeroPadding2D((0, 37), name="pad")(inputs)  # 1440 frames, which the pools divide
    x = layers.BatchNormalization(axis=2, name="time_norm")(x)  # the weights of 2016 have 1440 entries
    x = layers.Reshape((96, 1440), name="image")(x)
    for i, pool in enumerate(CHOI_POOLS["crnn"], start=1):
        x = conv_block(x, i, widths[i - 1], CHOI_KERNELS["crnn"], pool)
        x = layers.Dropout(0.1, name=f"dropout{i}")(x)
    x = layers.Reshape((15, widths[3]), name="sequence")(x)
    # The GRU of 2016 resets its state before the matrix product; Keras 3 does so after it, with one bias more.
    options = {"reset_after": False, "recurrent_activation": recurrent_activation}
    x = layers.GRU(widths[4], return_sequences=True, name="gru1", **options)(x)
    x = layers.GRU(widths[5], name="gru2", **options)(x)
    if dropout:  # none in the paper; there is one in the model released in 2016
        x = layers.Dropout(dropout, name="dropout5")(x)
    x = layers.Dense(num_tags, activation="sigmoid", dtype="float32", name="tags")(x)
    return Model(inputs, x, name=name)


def predict(model: Model, x: np.ndarray) -> np.ndarray:
    """Return `model`'s scores of `x`, an array or `streaming.Rows`: float32 (n, num_tags). Takes little memory."""
    batch, scores = min(32, max(1, 2**19 // int(np.prod(x.shape[1:])))), []
    for rows in (x[i : i + 32 * batch] for i in range(0, len(x), 32 * batch)):  # so many are read at a time
        full = -(-len(rows) // batch) * batch  # a batch of another size would be compiled for again, which takes long
        scores.append(model.predict(np.resize(rows, (full, *rows.shape[1:])), batch, verbose=0)[: len(rows)])
    return np.concatenate(scores)
