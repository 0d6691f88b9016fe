"""Mason's network: the exact counts, the exact function."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from helpers import models, paths

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


def test_wrong_arguments_say_what_is_right():
    with pytest.raises(ValueError, match="'small' or 'large'"):
        models.mason_crnn("medium")
    with pytest.raises(ValueError, match="at least 12"):
        models.mason_crnn("small", segments=11)


FORWARD = """
import sys, numpy as np
from helpers import models
rng = np.random.default_rng(0)
model = models.mason_crnn("small", 48)
model.set_weights([rng.normal(0, 0.2, w.shape) if w.ndim > 1 else np.full(w.shape, 0.7) for w in model.get_weights()])
np.save(sys.argv[1], model.predict(rng.random((2, 12, 48, 1), dtype="float32"), verbose=0))
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_give_the_same_forward_result(backend, tmp_path):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    results = []
    for name in ("tensorflow", backend):
        out = tmp_path / f"{name}.npy"
        environment = os.environ | {"KERAS_BACKEND": name, "PYTHONPATH": str(paths.ROOT)}
        subprocess.run([sys.executable, "-c", FORWARD, out], env=environment, check=True, capture_output=True)
        results.append(np.load(out))
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)
