"""The networks of both papers in plain Keras 3: they run on TensorFlow, JAX or PyTorch unchanged."""

from keras import Input, Model, layers

MASON_WIDTHS = {"small": (60, 30), "large": (339, 169)}  # feature maps, GRU units (Mason 2020, Table 2)


def mason_crnn(size: str, segments: int = 252, num_tags: int = 50) -> Model:
    """Return Mason's chroma CRNN, "small" or "large" (Mason 2020, Figure 2 and Table 2), not compiled.

    Input: float32 (batch, 12, segments, 1), the first `segments` segments_pitches of a song, in [0, 1].
    Output: float32 (batch, num_tags), one probability a tag.
    Raises ValueError for another size, or fewer than 12 segments (three poolings divide time by 12).
    """
    if size not in MASON_WIDTHS:
        raise ValueError(f"size is {size!r}; use 'small' or 'large'.")
    if segments < 12:
        raise ValueError(f"segments is {segments}; the network needs at least 12.")
    filters, units = MASON_WIDTHS[size]
    inputs = Input((12, segments, 1), name="segments_pitches")
    # Time first: then the pitches lie on the last axis, where a batch norm is fastest, and the order
    # suits the recurrent layers at the end. Kernels and pools are square, so nothing else changes.
    x = layers.Permute((2, 1, 3))(inputs)
    x = layers.Reshape((segments, 12))(x)
    x = layers.BatchNormalization(name="pitch_norm")(x)
    x = layers.Reshape((segments, 12, 1))(x)
    for i, pool in enumerate((2, 2, 3), start=1):
        x = layers.Conv2D(filters, 3, padding="same", name=f"conv{i}")(x)
        x = layers.BatchNormalization(name=f"norm{i}")(x)
        # ELU is monotone, so it commutes with max-pooling: after it, it has 4 to 9 times fewer values to treat.
        x = layers.MaxPooling2D(pool, name=f"pool{i}")(x)
        x = layers.ELU(name=f"elu{i}")(x)
        x = layers.Dropout(0.1, name=f"dropout{i}")(x)
    x = layers.Reshape((segments // 12, filters), name="sequence")(x)
    x = layers.GRU(units, return_sequences=True, name="gru1")(x)
    x = layers.GRU(units, name="gru2")(x)
    x = layers.Dropout(0.3, name="dropout4")(x)
    outputs = layers.Dense(num_tags, activation="sigmoid", dtype="float32", name="tags")(x)
    return Model(inputs, outputs, name=f"mason_crnn_{size}_{segments}")
