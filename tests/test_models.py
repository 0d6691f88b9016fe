"""Mason's network: the exact counts, the exact function."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import models

COUNTS = {"small": (81_314, 384), "large": (2_514_154, 2_058)}  # Mason 2020, section "Results"


def count(weights):
    return sum(int(np.prod(w.shape)) for w in weights)


@pytest.mark.parametrize("segments", [12, 252, 512, 1024])
@pytest.mark.parametrize("size", COUNTS)
def test_parameter_counts_are_the_papers_at_every_length(size, segments):
    model = models.mason_crnn(size, segments)
    assert (count(model.trainable_weights), count(model.non_trainable_weights)) == COUNTS[size]
    assert model.input_shape == (None, 12, segments, 1) and model.output_shape == (None, 50)
    assert model.get_layer("sequence").output.shape == (None, segments // 12, models.MASON_WIDTHS[size][0])


def typed(segments, filters=60, units=30):
    """The network as the paper reads: pitch first, norm over axis 1, ELU before pooling (dropout left out)."""
    inputs = keras.Input((12, segments, 1))
    x = layers.BatchNormalization(axis=1)(inputs)
    for pool in (2, 2, 3):
        x = layers.Conv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ELU()(x)
        x = layers.MaxPooling2D(pool)(x)
    x = layers.Reshape((segments // 12, filters))(x)
    x = layers.GRU(units, return_sequences=True)(x)
    x = layers.GRU(units)(x)
    return keras.Model(inputs, layers.Dense(50, activation="sigmoid")(x))


def pitch_first(weights):
    return [w.transpose(1, 0, 2, 3) if w.ndim == 4 else w for w in weights]


@pytest.mark.parametrize("segments", [252, 100])
def test_the_fast_order_computes_what_the_paper_describes(segments):
    keras.utils.set_random_seed(1)
    plain, fast = typed(segments), models.mason_crnn("small", segments)
    # Random norms, negative scales among them, so that no order of layers is equal by luck.
    rng = np.random.default_rng(0)
    fast.set_weights([w + rng.normal(0, 0.3, w.shape) ** 2 * np.sign(rng.normal()) for w in fast.get_weights()])
    for layer in fast.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta, mean, np.abs(variance) + 0.5])
    plain.set_weights(pitch_first(fast.get_weights()))
    x = rng.random((3, 12, segments, 1), dtype=np.float32)
    np.testing.assert_allclose(fast.predict(x, verbose=0), plain.predict(x, verbose=0), atol=1e-5)


def test_both_orders_train_alike():
    rng = np.random.default_rng(0)
    x, y = rng.random((20, 12, 60, 1), dtype=np.float32), (rng.random((20, 50)) < 0.2).astype("float32")
    fast = models.mason_crnn("small", 60)
    for layer in fast.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    plain = typed(60)
    plain.set_weights(pitch_first(fast.get_weights()))
    losses = []
    for model in (fast, plain):
        model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", jit_compile=False)
        losses.append(model.fit(x, y, batch_size=5, epochs=2, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    for ours, theirs in zip(pitch_first(fast.get_weights()), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 4), (1, 8)])
def test_normed_conv_is_a_convolution_and_its_norm(kernel):
    rng = np.random.default_rng(0)
    x = rng.normal(-40, 20, (4, 9, 30, 1)).astype("float32")  # decibels
    image = keras.Input((9, 30))
    ours = keras.Model(image, models.NormedConv(5, kernel)(image))
    image = keras.Input((9, 30, 1))
    plain = layers.BatchNormalization()(layers.Conv2D(5, kernel, padding="same")(image))
    plain = keras.Model(image, plain)
    plain.set_weights([np.abs(rng.normal(1, 0.5, w.shape)) for w in plain.get_weights()])
    ours.set_weights(plain.get_weights())
    for training in (False, True, False):  # the last sees the moving averages that training has changed
        a, b = (keras.ops.convert_to_numpy(m(i, training=training)) for m, i in ((ours, x[..., 0]), (plain, x)))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)
    again = models.NormedConv.from_config(ours.layers[-1].get_config())
    assert (again.kernel_size, again.filters) == (kernel, 5)


@pytest.fixture(params=[12, 24])
def drawn(request):
    """A network of 12 or 24 rows with random weights whose norms turn zeros into something else, without dropout."""
    rng = np.random.default_rng(0)
    model = models.mason_crnn("small", 60, rows=request.param)
    model.set_weights([np.abs(w + rng.normal(0, 0.3, w.shape)) if w.ndim == 1 else w for w in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    return model


def padded(rows, lengths, segments):
    """Songs of random numbers, the same whatever `segments` is, with zeros after their ends."""
    x = np.zeros((len(lengths), rows, segments, 1), np.float32)
    for i, length in enumerate(lengths):
        x[i, :, :length] = np.random.default_rng(i).normal(size=(rows, length, 1))
    return x


def test_twenty_four_rows_add_only_their_norm(drawn):
    extra = 2 * (drawn.input_shape[1] - 12)
    trainable, fixed = COUNTS["small"]
    assert (count(drawn.trainable_weights), count(drawn.non_trainable_weights)) == (trainable + extra, fixed + extra)
    assert drawn.get_layer("sequence").output.shape == (None, 5, 60)


def test_a_padded_song_scores_as_in_a_network_of_its_own_length(drawn):
    masked, rows, lengths = models.masked(drawn), drawn.input_shape[1], (12, 13, 23, 35, 59, 60)
    x = padded(rows, lengths, 60)
    found = keras.ops.convert_to_numpy(masked(x))
    for song, length, scores in zip(x, lengths, found, strict=True):
        own = models.mason_crnn("small", length, rows=rows)
        own.set_weights(drawn.get_weights())
        np.testing.assert_allclose(keras.ops.convert_to_numpy(own(song[None, :, :length]))[0], scores, atol=1e-5)
    assert np.abs(keras.ops.convert_to_numpy(drawn(x))[:-1] - found[:-1]).max(axis=1).min() > 1e-3


@pytest.mark.parametrize("drawn", [12], indirect=True)
def test_padding_changes_nothing_in_training(drawn):
    """One network as it is and masked on whole songs; two masked ones on short songs with little and much padding."""
    rows, y = drawn.input_shape[1], (np.random.default_rng(0).random((8, 50)) < 0.2).astype("float32")
    long = models.mason_crnn("small", 96, rows=rows)
    for layer in long.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    weights = drawn.get_weights()
    for lengths, pair in (
        ([60] * 8, (drawn, models.masked(drawn))),
        (range(12, 60, 6), map(models.masked, (drawn, long))),
    ):
        ends = []
        for network in pair:
            network.set_weights(weights)
            network.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", run_eagerly=True)
            x = padded(rows, lengths, network.input_shape[2])
            ends.append([network.train_on_batch(x, y) for _ in range(3)])
            ends.append(network.get_weights())
        np.testing.assert_allclose(ends[0], ends[2], rtol=1e-4)
        for first, second in zip(ends[1], ends[3], strict=True):
            np.testing.assert_allclose(first, second, atol=1e-4)


def test_a_masked_network_is_saved_and_loaded(drawn, tmp_path, recwarn):
    masked, x = models.masked(drawn), padded(drawn.input_shape[1], (12, 40), 60)
    masked.save(tmp_path / "masked.keras")
    loaded = keras.saving.load_model(tmp_path / "masked.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), masked.predict(x, verbose=0))
    assert not [w for w in recwarn if "mask" in str(w.message)]


def test_wrong_arguments_say_what_is_right():
    with pytest.raises(ValueError, match="'small' or 'large'"):
        models.mason_crnn("medium")
    with pytest.raises(ValueError, match="at least 12"):
        models.mason_crnn("small", segments=11)
    with pytest.raises(ValueError, match="rows is 13"):
        models.mason_crnn("small", rows=13)
