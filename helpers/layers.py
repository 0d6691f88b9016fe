"""The convolution block of both papers; on an image of one channel it takes a faster form, `NormedConv`."""

from keras import layers, ops, saving


def conv_block(x, i: int, filters: int, kernel: tuple[int, int], pool: tuple[int, int]):
    """Apply the `i`-th convolution, batch norm, ELU and max-pooling to (batch, height, width[, channels])."""
    if x.ndim == 3:
        x = NormedConv(filters, kernel, name=f"conv{i}_norm{i}")(x)
    else:
        x = layers.Conv2D(filters, kernel, padding="same", name=f"conv{i}")(x)
        x = layers.BatchNormalization(name=f"norm{i}")(x)
    # ELU is monotone, so it commutes with max-pooling: after it, it has 4 to 16 times fewer values to treat.
    x = layers.MaxPooling2D(pool, name=f"pool{i}")(x)
    return layers.ELU(name=f"elu{i}")(x)


@saving.register_keras_serializable("crnn")
class NormedConv(layers.Layer):
    """`Conv2D(filters, kernel_size, padding="same")` of a one-channel image, then `BatchNormalization()`, made faster.

    With few inputs a pixel (nine for a 3 x 3 kernel), mean and variance of every feature map follow from the covariance
    of the inputs, so the large maps need not be read again. Input: (batch, height, width); output: float32 (batch,
    height, width, filters). Where `mask` (batch, height) is False, mean and variance leave the pixels out.
    """

    def __init__(self, filters: int, kernel_size=(3, 3), momentum: float = 0.99, epsilon: float = 1e-3, **options):
        super().__init__(**options | {"dtype": "float32"})
        self.filters, self.kernel_size, self.momentum, self.epsilon = filters, tuple(kernel_size), momentum, epsilon
        self.supports_masking = True

    def build(self, input_shape):
        self.kernel = self.add_weight((*self.kernel_size, 1, self.filters), "glorot_uniform", name="kernel")
        self.bias = self.add_weight((self.filters,), "zeros", name="bias")
        self.gamma = self.add_weight((self.filters,), "ones", name="gamma")
        self.beta = self.add_weight((self.filters,), "zeros", name="beta")
        self.moving_mean = self.add_weight((self.filters,), "zeros", trainable=False, name="moving_mean")
        self.moving_variance = self.add_weight((self.filters,), "ones", trainable=False, name="moving_variance")

    def call(self, x, mask=None, training=False):
        (rows, columns), (height, width) = self.kernel_size, x.shape[1:]
        # As much on both sides; one more after the image if the kernel is even.
        padded = ops.pad(x, [[0, 0]] + [[(size - 1) // 2, size // 2] for size in self.kernel_size])
        shifts = [padded[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
        patches = ops.reshape(ops.stack(shifts), (rows * columns, -1))  # a column a pixel
        kernel = ops.reshape(self.kernel, (rows * columns, self.filters))
        mean, variance = self.moving_mean, self.moving_variance
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
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        maps = ops.matmul(ops.transpose(patches), kernel * scale) + (self.bias - mean) * scale + self.beta
        return ops.reshape(maps, (-1, height, width, self.filters))

    def get_config(self):
        config = {name: getattr(self, name) for name in ("filters", "kernel_size", "momentum", "epsilon")}
        return super().get_config() | config
