"""Training step of the small network: `helpers.models.mason_crnn` against the layers as the paper lists them.

    python benchmarks/training_step.py

Both sides train on the same songs, in turn, so that a busy machine slows both alike; the ratio is the median over
rounds. First, with dropout off and equal weights, their losses must be equal.
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np
from keras import layers

from helpers import models

SEGMENTS, NUM_SONGS, BATCH_SIZE, NUM_ROUNDS = 252, 200, 10, 15


def as_typed(segments: int, dropout: bool, filters: int = 60, units: int = 30) -> keras.Model:
    """The network in the order of Mason 2020, Figure 2: pitch first, ELU before pooling."""
    inputs = keras.Input((12, segments, 1))
    x = layers.BatchNormalization(axis=1)(inputs)
    for pool in (2, 2, 3):
        x = layers.Conv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ELU()(x)
        x = layers.MaxPooling2D(pool)(x)
        x = layers.Dropout(0.1 if dropout else 0.0)(x)
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Reshape((segments // 12, filters))(x)
    x = layers.GRU(units, return_sequences=True)(x)
    x = layers.GRU(units)(x)
    x = layers.Dropout(0.3 if dropout else 0.0)(x)
    return keras.Model(inputs, layers.Dense(50, activation="sigmoid")(x))


def compiled(model: keras.Model) -> keras.Model:
    """Compile for Adam without XLA, which is slower here."""
    model.compile("adam", "binary_crossentropy", jit_compile=False)
    return model


def equal_losses(x: np.ndarray, y: np.ndarray) -> tuple[list, list]:
    """Train both without dropout from equal weights; return their losses of five epochs."""
    fast = models.mason_crnn("small", SEGMENTS)
    for layer in fast.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    typed = as_typed(SEGMENTS, dropout=False)
    # Time and pitch have changed places in our kernels.
    typed.set_weights([w.transpose(1, 0, 2, 3) if w.ndim == 4 else w for w in fast.get_weights()])
    return tuple(
        compiled(model).fit(x[:50], y[:50], BATCH_SIZE, epochs=5, shuffle=False, verbose=0).history["loss"]
        for model in (typed, fast)
    )


def seconds(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """Return the seconds of one epoch."""
    start = time.perf_counter()
    model.fit(x, y, BATCH_SIZE, verbose=0)
    return time.perf_counter() - start


def main() -> None:
    """Check that losses are equal, then time both sides in turn."""
    rng = np.random.default_rng(0)
    x = rng.random((NUM_SONGS, 12, SEGMENTS, 1), dtype=np.float32)
    y = (rng.random((NUM_SONGS, 50)) < 0.1).astype("float32")
    losses = equal_losses(x, y)
    np.testing.assert_allclose(*losses, rtol=1e-3)
    sides = [compiled(as_typed(SEGMENTS, dropout=True)), compiled(models.mason_crnn("small", SEGMENTS))]
    for model in sides:
        seconds(model, x, y)  # the first epoch also traces the graph
    times = np.array([[seconds(model, x, y) for model in sides] for _ in range(NUM_ROUNDS)])
    typed, fast = NUM_SONGS / np.median(times, axis=0)
    print(f"losses equal to {np.abs(np.subtract(*losses)).max():.1e} over five epochs without dropout")
    print(f"as typed: {typed:.0f} songs a second, ours: {fast:.0f}")
    print(f"ratio: {np.median(times[:, 0] / times[:, 1]):.2f}x (median of {NUM_ROUNDS} rounds in turn)")


if __name__ == "__main__":
    main()
