"""The networks of both papers in plain Keras 3: they run on TensorFlow, JAX or PyTorch unchanged."""

from keras import Input, Model, layers, ops, saving

MASON_WIDTHS = {"small": (60, 30), "large": (339, 169)}  # feature maps, GRU units (Mason 2020, Table 2)
ROW_POOLS = {12: (2, 2, 3), 24: (2, 3, 4)}  # what leaves one row of 12 pitch classes, or of 24 with timbre beside them


def mason_crnn(size: str, segments: int = 252, num_tags: int = 50, rows: int = 12) -> Model:
    """Return Mason's chroma CRNN, "small" or "large" (Mason 2020, Figure 2 and Table 2), not compiled.

    Input: float32 (batch, rows, segments, 1), the first `segments` segments_pitches of a song, in [0, 1]; 24 rows take
    the 12 numbers of timbre as well, on the scale of the pitches.
    Output: float32 (batch, num_tags), one probability a tag.
    Raises ValueError for other sizes or rows, or fewer than 12 segments (three poolings divide time by 12).
    """
    if size not in MASON_WIDTHS:
        raise ValueError(f"size is {size!r}; use 'small' or 'large'.")
    if segments < 12:
        raise ValueError(f"segments is {segments}; the network needs at least 12.")
    if rows not in ROW_POOLS:
        raise ValueError(f"rows is {rows}; use 12 (pitches, or timbre) or 24 (both).")
    filters, units = MASON_WIDTHS[size]
    inputs = Input((rows, segments, 1), name="segments_pitches")
    # Time first: the pitches lie on the last axis, batch norm's default, and the recurrent layers at the end get
    # time where they want it. Kernels and the paper's pools are square, so nothing else changes.
    x = layers.Permute((2, 1, 3))(inputs)
    x = layers.Reshape((segments, rows))(x)
    x = layers.BatchNormalization(name="pitch_norm")(x)
    for i, pool in enumerate(zip((2, 2, 3), ROW_POOLS[rows], strict=True), start=1):
        if i == 1:
            x = NormedConv(filters, name="conv1_norm1")(x)
        else:
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


def masked(network: Model) -> Model:
    """Return a network with the layers and weights of `network` (of `mason_crnn`) for songs of any length.

    Segments that are zero in all rows are the padding of a shorter song (of at least 12 segments): whatever their
    number, they change neither scores nor training. A song gets the score that a network of its own length would give.
    """
    x = inputs = Input(network.input_shape[1:], name=network.layers[0].name)
    mask = None  # (batch, steps), False from the song's end on
    for layer in network.layers[1:]:
        if layer.name == "pitch_norm":
            mask = ops.any(ops.not_equal(x, 0), axis=2)
        elif isinstance(layer, (NormedConv, layers.Conv2D, layers.MaxPooling2D)):
            # A convolution finds zeros beyond an edge; the norms and biases before it have moved those of the padding.
            x = x * ops.cast(_like(mask, x), x.dtype)
        if isinstance(layer, layers.BatchNormalization):
            x = layer(x, mask=_like(mask, x[..., 0]))
        elif isinstance(layer, (NormedConv, layers.GRU)):
            x = layer(x, mask=mask)
        else:
            x = layer(x)
        if isinstance(layer, layers.MaxPooling2D):
            pool = layer.pool_size[0]
            mask = mask[:, pool - 1 :: pool]  # a step that the song fills only in part is dropped, as at an edge
    return Model(inputs, x, name=f"{network.name}_masked")


def _like(mask, x):
    """Return `mask` (batch, steps) repeated to the shape of `x` (batch, steps, ...)."""
    for axis in range(2, x.ndim):
        mask = ops.repeat(ops.expand_dims(mask, axis), x.shape[axis], axis=axis)
    return mask


@saving.register_keras_serializable("crnn")
class NormedConv(layers.Layer):
    """A convolution of a one-channel image and the batch norm after it, in one matrix product.

    The same function and the same weights, in the same order, as `Conv2D(filters, kernel_size, padding="same")` and
    `BatchNormalization()`. With few inputs a pixel (nine for a 3 x 3 kernel), the mean and variance of every feature
    map follow from the covariance of the inputs, so the large maps need not be read again to be normalised.
    Input: (batch, height, width). Output: float32 (batch, height, width, filters). Where `mask` (batch, height) is
    False, mean and variance leave the pixels out.
    """

    def __init__(self, filters: int, kernel_size=(3, 3), momentum: float = 0.99, epsilon: float = 1e-3, **options):
        super().__init__(**options | {"dtype": "float32"})
        self.filters, self.momentum, self.epsilon = filters, momentum, epsilon
        self.kernel_size = tuple(kernel_size)
        self.supports_masking = True

    def build(self, input_shape):
        shape = (self.filters,)
        self.kernel = self.add_weight((*self.kernel_size, 1, self.filters), "glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape, "zeros", name="bias")
        self.gamma = self.add_weight(shape, "ones", name="gamma")
        self.beta = self.add_weight(shape, "zeros", name="beta")
        self.moving_mean = self.add_weight(shape, "zeros", trainable=False, name="moving_mean")
        self.moving_variance = self.add_weight(shape, "ones", trainable=False, name="moving_variance")

    def call(self, x, mask=None, training=False):
        (rows, columns), (height, width) = self.kernel_size, x.shape[1:]
        # As much on both sides; one more after the image if the kernel is even.
        padded = ops.pad(x, [[0, 0]] + [[(size - 1) // 2, size // 2] for size in self.kernel_size])
        shifts = [padded[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
        patches = ops.reshape(ops.stack(shifts), (len(shifts), -1))
        kernel = ops.reshape(self.kernel, (len(shifts), self.filters))
        if training:
            weights = 1.0
            if mask is not None:
                weights = ops.reshape(ops.repeat(ops.cast(mask, "float32"), width, axis=1), (1, -1))
                weights /= ops.mean(weights)
            centre = ops.mean(patches * weights, axis=1, keepdims=True)
            spread = (patches - centre) * weights**0.5
            covariance = ops.matmul(spread, ops.transpose(spread)) / ops.cast(ops.shape(patches)[1], "float32")
            mean = ops.matmul(ops.transpose(centre), kernel)[0] + self.bias
            variance = ops.sum(kernel * ops.matmul(covariance, kernel), axis=0)
            for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(self.momentum * moving + (1 - self.momentum) * now)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        maps = ops.matmul(ops.transpose(patches), kernel * scale) + (self.bias - mean) * scale + self.beta
        return ops.reshape(maps, (-1, height, width, self.filters))

    def get_config(self):
        config = {"filters": self.filters, "kernel_size": self.kernel_size}
        return super().get_config() | config | {"momentum": self.momentum, "epsilon": self.epsilon}


# Choi et al. 2017, Table 1: width of each layer, for the budgets in order. Convolutions come first (as many as there
# are pools below), then fully-connected layers, or the two GRUs of crnn. The table gives k1c2 one fully-connected
# layer, section 2.1 and the parameter counts two.
CHOI_BUDGETS = ("0.1M", "0.25M", "0.5M", "1M", "3M")
_K1C2 = [(a, a, b, b, b, b) for a, b in ((15, 30), (23, 47), (33, 66), (47, 95), (81, 163))]
CHOI_WIDTHS = {
    "k1c2": _K1C2,
    "k1c2_1x8": _K1C2,
    "k2c1": [(a, a, a, b, b, b, b) for a, b in ((43, 87), (72, 145), (106, 212), (152, 304), (265, 535))],
    "k2c2": [
        (20, 41, 41, 62, 83),
        (33, 66, 66, 100, 133),
        (47, 95, 95, 142, 190),
        (67, 135, 135, 203, 271),
        (118, 236, 236, 355, 473),
    ],
    "crnn": [(a, b, b, b, a, a) for a, b in ((30, 60), (48, 96), (68, 137), (96, 195), (169, 339))],
}
CHOI_KERNELS = {"k1c2": (1, 4), "k1c2_1x8": (1, 8), "k2c1": (1, 4), "k2c2": (3, 3), "crnn": (3, 3)}
CHOI_POOLS = {  # bands, time (sections 2.1 to 2.4)
    "k1c2": ((1, 4), (1, 5), (1, 8), (1, 8)),
    "k1c2_1x8": ((1, 4), (1, 5), (1, 8), (1, 8)),
    "k2c1": ((1, 4), (1, 4), (1, 4), (1, 4), (1, 5)),
    "k2c2": ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4)),
    "crnn": ((2, 2), (3, 3), (4, 4), (4, 4)),
}


def choi_network(name: str, budget: str, num_tags: int = 50) -> Model:
    """Return one of the networks of Choi et al. 2017 (section 2, Table 1), not compiled.

    `name` is "k1c2", "k2c1", "k2c2" or "crnn", `budget` "0.1M", "0.25M", "0.5M", "1M" or "3M" trainable parameters.
    k1c2 as described misses its budgets by up to 8 %; "k1c2_1x8" (1 x 8 kernels, no input norm) comes within 2.4 %.
    Input: float32 (batch, 96, 1366, 1), a log-mel-spectrogram (bands, time) in dB.
    Output: float32 (batch, num_tags), one probability a tag.
    Raises ValueError for another name or budget.
    """
    if name not in CHOI_WIDTHS:
        raise ValueError(f"name is {name!r}; use one of {', '.join(CHOI_WIDTHS)}.")
    if budget not in CHOI_BUDGETS:
        raise ValueError(f"budget is {budget!r}; use one of {', '.join(CHOI_BUDGETS)}.")
    widths, title = CHOI_WIDTHS[name][CHOI_BUDGETS.index(budget)], f"choi_{name}_{budget}"
    if name == "crnn":
        return choi_crnn(widths, num_tags, title)
    inputs = x = Input((96, 1366, 1), name="log_mel")
    if name != "k1c2_1x8":
        x = layers.BatchNormalization(axis=2, name="time_norm")(x)
    if name == "k2c1":
        # A 96 x 4 kernel sees all bands at once: the same as a 1 x 4 kernel with the bands as channels.
        x = layers.Permute((3, 2, 1), name="bands_as_channels")(x)
    for i, pool in enumerate(CHOI_POOLS[name], start=1):
        x = _conv_block(x, i, widths[i - 1], CHOI_KERNELS[name], pool)
    x = layers.Flatten(name="flatten")(x)
    for i, width in enumerate(widths[len(CHOI_POOLS[name]) :], start=1):
        x = layers.Dense(width, name=f"fc{i}")(x)
        x = layers.BatchNormalization(name=f"fc_norm{i}")(x)
        x = layers.ELU(name=f"fc_elu{i}")(x)
    return Model(inputs, _tags(x, num_tags), name=title)


def choi_crnn(
    widths: tuple[int, ...], num_tags: int, name: str, recurrent_activation="sigmoid", dropout: float = 0.0
) -> Model:
    """Return Choi's CRNN (section 2.4) with four convolution and two GRU `widths`; input and output: `choi_network`.

    `recurrent_activation` is that of the GRUs' gates, `dropout` the rate before the tags: the model released in 2016
    (`helpers.pretrained`) differs from the paper in both.
    """
    inputs = Input((96, 1366, 1), name="log_mel")
    x = layers.ZeroPadding2D((0, 37), name="pad")(inputs)  # 1440 frames, which the pools divide
    # The released code calls this axis frequency; its weights have 1440 entries.
    x = layers.BatchNormalization(axis=2, name="time_norm")(x)
    for i, pool in enumerate(CHOI_POOLS["crnn"], start=1):
        x = _conv_block(x, i, widths[i - 1], CHOI_KERNELS["crnn"], pool)
        x = layers.Dropout(0.1, name=f"dropout{i}")(x)
    x = layers.Reshape((15, widths[3]), name="sequence")(x)
    # The GRU of 2016 resets its state before the matrix product; Keras 3 does so after it, with one bias more.
    options = {"reset_after": False, "recurrent_activation": recurrent_activation}
    x = layers.GRU(widths[4], return_sequences=True, name="gru1", **options)(x)
    x = layers.GRU(widths[5], name="gru2", **options)(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout5")(x)
    return Model(inputs, _tags(x, num_tags), name=name)


def _conv_block(x, i: int, width: int, kernel: tuple[int, int], pool: tuple[int, int]):
    if x.shape[-1] == 1:
        x = layers.Reshape(x.shape[1:-1], name="image")(x)
        x = NormedConv(width, kernel, name=f"conv{i}_norm{i}")(x)
    else:
        x = layers.Conv2D(width, kernel, padding="same", name=f"conv{i}")(x)
        x = layers.BatchNormalization(name=f"norm{i}")(x)
    # As in `mason_crnn`: ELU commutes with max-pooling and has less to do after it.
    x = layers.MaxPooling2D(pool, name=f"pool{i}")(x)
    return layers.ELU(name=f"elu{i}")(x)


def _tags(x, num_tags: int):
    return layers.Dense(num_tags, activation="sigmoid", dtype="float32", name="tags")(x)
