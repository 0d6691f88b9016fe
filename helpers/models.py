"""The networks of both papers in plain Keras 3: they run on TensorFlow, JAX or PyTorch unchanged."""

from keras import Input, Model, layers, ops, saving

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
    # Time first: the pitches lie on the last axis, batch norm's default, and the recurrent layers at the end get
    # time where they want it. Kernels and pools are square, so nothing else changes.
    x = layers.Permute((2, 1, 3))(inputs)
    x = layers.Reshape((segments, 12))(x)
    x = layers.BatchNormalization(name="pitch_norm")(x)
    for i, pool in enumerate((2, 2, 3), start=1):
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


@saving.register_keras_serializable("crnn")
class NormedConv(layers.Layer):
    """A 3 x 3 convolution of a one-channel image and the batch norm after it, in one matrix product.

    The same function and the same weights, in the same order, as `Conv2D(filters, 3, padding="same")` and
    `BatchNormalization()`. With nine inputs a pixel, the mean and variance of every feature map follow from the
    9 x 9 covariance of the inputs, so the large maps need not be read again to be normalised.
    Input: (batch, height, width). Output: float32 (batch, height, width, filters).
    """

    def __init__(self, filters: int, momentum: float = 0.99, epsilon: float = 1e-3, **options):
        super().__init__(**options | {"dtype": "float32"})
        self.filters, self.momentum, self.epsilon = filters, momentum, epsilon

    def build(self, input_shape):
        shape = (self.filters,)
        self.kernel = self.add_weight((3, 3, 1, self.filters), "glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape, "zeros", name="bias")
        self.gamma = self.add_weight(shape, "ones", name="gamma")
        self.beta = self.add_weight(shape, "zeros", name="beta")
        self.moving_mean = self.add_weight(shape, "zeros", trainable=False, name="moving_mean")
        self.moving_variance = self.add_weight(shape, "ones", trainable=False, name="moving_variance")

    def call(self, x, training=False):
        height, width = x.shape[1:]
        padded = ops.pad(x, [[0, 0], [1, 1], [1, 1]])
        shifts = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        patches = ops.reshape(ops.stack(shifts), (9, -1))
        kernel = ops.reshape(self.kernel, (9, self.filters))
        if training:
            centre = ops.mean(patches, axis=1, keepdims=True)
            spread = patches - centre
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
        config = {"filters": self.filters, "momentum": self.momentum, "epsilon": self.epsilon}
        return super().get_config() | config
