"""What is done to clips in notebook 11: as much as the name says, and no sample more or fewer."""

import numpy as np
import pytest

from helpers import audio, changes

TIME = np.arange(audio.NUM_SAMPLES) / audio.SR
CLIP = (0.3 * np.sin(2 * np.pi * 440 * TIME) * np.sin(np.pi * TIME) ** 2).astype(np.float32)  # a swell a second


def strongest(clip):
    return np.abs(np.fft.rfft(clip)).argmax() * audio.SR / len(clip)


@pytest.mark.parametrize("name", changes.CHANGES)
def test_a_changed_clip_is_as_long_and_finite(name):
    changed = changes.CHANGES[name](CLIP)
    assert changed.shape == CLIP.shape and np.isfinite(changed).all() and not np.array_equal(changed, CLIP)


def test_noise_has_the_power_that_is_said():
    added = changes.noise(CLIP, 20) - CLIP
    assert 20 * np.log10(CLIP.std() / added.std()) == pytest.approx(20, abs=0.1)


def test_the_mp3_file_has_32_kbit_a_second(monkeypatch):
    sizes, load = [], changes.load_clip
    monkeypatch.setattr(changes, "load_clip", lambda file: sizes.append(file.stat().st_size) or load(file))
    changed = changes.mp3(CLIP)
    assert 8 * sizes[0] / 1000 / 29.12 == pytest.approx(32, abs=0.5)
    assert changed.std() == pytest.approx(0.95 * CLIP.std(), rel=0.01)  # at this rate LAME turns the level down


def test_pitch_goes_up_a_semitone_and_tempo_leaves_it():
    assert strongest(changes.CHANGES["a semitone higher"](CLIP)) == pytest.approx(440 * 2 ** (1 / 12), rel=0.005)
    slower = changes.CHANGES["5 % slower"](CLIP)
    assert strongest(slower) == pytest.approx(440, rel=0.005)
    envelope = np.abs(np.fft.rfft(np.abs(slower)))[10:60]  # 1 / 1.05 swells a second
    assert (10 + envelope.argmax()) / 29.12 == pytest.approx(1 / 1.05, abs=0.02)
