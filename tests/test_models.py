"""Mason's network: the exact counts, and every number of the paper by comparison with the layers as it lists them."""

import keras
import nbformat
import numpy as np
import pytest
from keras import layers

from helpers import models, paths

COUNTS = {"small": (81_314, 384), "large": (2_514_154, 2_058)}  # Mason 2020, "Results"
WIDTHS = {"small": (60, 30), "large": (339, 169)}  # Table 2


def count(weights):
    return sum(int(np.prod(w.shape)) for w in weights)


def drawn(model):
    """Give `model` random weights, always the same, with norms that turn zeros into something, of both signs."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        noise, start = rng.normal(size=weight.shape), weight.numpy()
        if "variance" in weight.path:
            weight.assign(0.2 + np.abs(noise) / 5)  # small enough that epsilon shows
        else:
            weight.assign(start + 0.5 * noise if noise.ndim == 1 else 0.8 * noise / noise[..., 0].size ** 0.5)
    return model


def dropouts(model):
    """Return {rate: names of the layers before}: what is dropped, and where."""
    before = dict(zip(model.layers[1:], model.layers, strict=False))
    found = [(layer.rate, before[layer].name) for layer in model.layers if isinstance(layer, layers.Dropout)]
    return {rate: [name for r, name in found if r == rate] for rate, _ in found}


@pytest.mark.parametrize("segments", [12, 252, 512, 1024])
@pytest.mark.parametrize("size", COUNTS)
def test_parameter_counts_are_the_papers_at_every_length(size, segments):
    model = models.mason_crnn(size, segments)
    assert (count(model.trainable_weights), count(model.non_trainable_weights)) == COUNTS[size]
    assert model.input_shape == (None, 12, segments, 1) and model.output_shape == (None, 50)
    assert model.get_layer("sequence").output.shape == (None, segments // 12, WIDTHS[size][0])
    assert models.MASON_WIDTHS == WIDTHS
    assert dropouts(model) == {0.1: ["elu1", "elu2", "elu3"], 0.3: ["gru2"]}


def as_typed(segments, size="small"):
    """The network as Figure 2 reads: pitch first, norm over pitches, ELU before pooling (dropout left out)."""
    filters, units = WIDTHS[size]
    inputs = keras.Input((12, segments, 1))
    x = layers.BatchNormalization(axis=1, momentum=0.99, epsilon=0.001)(inputs)
    for pool in (2, 2, 3):
        x = layers.Conv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization(momentum=0.99, epsilon=0.001)(x)
        x = layers.ELU()(x)
        x = layers.MaxPooling2D(pool)(x)
    x = layers.Reshape((segments // 12, filters))(x)
    for whole in (True, False):
        options = {"reset_after": True, "activation": "tanh", "recurrent_activation": "sigmoid"}
        x = layers.GRU(units, return_sequences=whole, **options)(x)
    return keras.Model(inputs, layers.Dense(50, activation="sigmoid")(x))


@pytest.mark.parametrize("segments", [252, 100])
def test_the_fast_order_computes_what_the_paper_describes(segments):
    typed, fast = as_typed(segments), drawn(models.mason_crnn("small", segments))
    typed.set_weights([w.transpose(1, 0, 2, 3) if w.ndim == 4 else w for w in fast.get_weights()])  # pitch first
    x = np.random.default_rng(0).random((3, 12, segments, 1), dtype=np.float32)
    scores = fast.predict(x, verbose=0)
    assert np.ptp(scores, axis=0).mean() > 5e-3  # of the input, not only of the biases
    np.testing.assert_allclose(scores, typed.predict(x, verbose=0), atol=5e-5)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 4), (1, 8)])
def test_normed_conv_is_a_convolution_and_its_norm_also_in_training(kernel):
    rng = np.random.default_rng(0)
    x = rng.normal(-40, 20, (4, 9, 30, 1)).astype("float32")  # decibels
    image = keras.Input((9, 30))
    ours = keras.Model(image, models.NormedConv(5, kernel)(image))
    image = keras.Input((9, 30, 1))
    norm = layers.BatchNormalization(momentum=0.9)
    plain = keras.Model(image, norm(layers.Conv2D(5, kernel, padding="same")(image)))
    plain.set_weights([np.abs(rng.normal(1, 0.5, w.shape)) for w in plain.get_weights()])
    ours.set_weights(plain.get_weights())
    assert ours.layers[-1].momentum == 0.99
    ours.layers[-1].momentum = 0.9  # what short runs do
    for training in (False, True, False):  # the last sees the moving averages that training has changed
        a, b = (keras.ops.convert_to_numpy(m(i, training=training)) for m, i in ((ours, x[..., 0]), (plain, x)))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)
    longer, mask = np.pad(x[..., 0], ((0, 0), (0, 3), (0, 0))), np.tile(np.arange(12) < 9, (4, 1))
    masked, a = ours.layers[-1](longer, mask=mask, training=True), ours(x[..., 0], training=True)
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (masked[:, :9], a)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rows", [12, 24])
def test_a_padded_song_scores_in_notebook_10_as_in_a_network_of_its_own_length(rows):
    cells = nbformat.read(paths.ROOT / "notebooks" / "10_beyond.ipynb", as_version=4).cells
    (code,) = (cell.source for cell in cells if cell.source.startswith("def masked"))
    exec(code, names := {"keras": keras, "layers": layers, "models": models, "ops": keras.ops})
    network = drawn(models.mason_crnn("small", 60, rows=rows))
    assert count(network.trainable_weights) == COUNTS["small"][0] + 2 * (rows - 12)  # of the input norm
    masked, lengths = names["masked"](network), (12, 13, 23, 35, 59, 60)
    x = np.zeros((len(lengths), rows, 60, 1), np.float32)
    for song, length in zip(x, lengths, strict=True):
        song[:, :length] = np.random.default_rng(length).normal(size=(rows, length, 1))
    found = masked.predict(x, verbose=0)
    for song, length, scores in zip(x, lengths, found, strict=True):
        own = models.mason_crnn("small", length, rows=rows)
        own.set_weights(network.get_weights())
        np.testing.assert_allclose(keras.ops.convert_to_numpy(own(song[None, :, :length]))[0], scores, atol=1e-5)


def test_wrong_arguments_say_what_is_right():
    for wrong in ({"size": "medium"}, {"segments": 11}, {"rows": 13}):
        with pytest.raises(ValueError, match="use 'small' or 'large', at least 12 segments, 12 or 24 rows"):
            models.mason_crnn(**{"size": "small"} | wrong)
