"""Frames, sound and text become the tensors that the paper and CLIP name."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from merclip.preprocess import AudioConfig, PreprocessConfig, VisionConfig
from merclip.preprocess.audio import cut_segments, log_mel, sound_to_tensor
from merclip.preprocess.pitch import LOWEST, PER_OCTAVE, pitch_pictures
from merclip.preprocess.text import known_share, pad_tokens, tokenize
from merclip.preprocess.vision import frames_to_tensor, normalize_frames

RATE = 16000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (0.1 * generator.normal(size=round(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize("config", [AudioConfig(), AudioConfig.paper()])
def test_two_seconds_at_16_khz_are_63_frames_of_224_bands(config):
    segments = cut_segments(torch.from_numpy(noise(2)), config)
    assert log_mel(segments, config).shape == (1, 63, 224)


def mel_filters(n_fft: int) -> torch.Tensor:
    from torchaudio.functional import melscale_fbanks

    return melscale_fbanks(n_fft // 2 + 1, 0, 8000, 224, RATE, "slaney", "slaney")


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
@pytest.mark.parametrize(("n_fft", "empty"), [(512, 12), (1024, 0), (2048, 0)])
def test_mel_filters_are_empty_only_for_a_short_transform(n_fft, empty):
    assert int((mel_filters(n_fft).amax(dim=0) == 0).sum()) == empty


def test_the_default_transform_has_linearly_independent_filters():
    assert torch.linalg.matrix_rank(mel_filters(AudioConfig().n_fft)) == 224


@pytest.mark.parametrize("seconds", [0.006, 0.3, 2, 5, 305])
def test_any_length_gives_finite_segments(seconds):
    segments = sound_to_tensor(noise(seconds), 96, AudioConfig())
    assert segments.shape == (min(12, math.ceil(seconds / 2)), 96, 96)
    assert torch.isfinite(segments).all()


def test_silence_and_nothing_give_no_segments():
    assert len(sound_to_tensor(np.zeros(40000, np.float32), 96, AudioConfig())) == 0
    assert len(sound_to_tensor(np.zeros(0, np.float32), 96, AudioConfig())) == 0


def test_a_short_tail_is_dropped_only_beside_other_segments():
    config = AudioConfig()
    assert len(cut_segments(torch.ones(2 * RATE + 3999), config)) == 1
    assert len(cut_segments(torch.ones(2 * RATE + 4000), config)) == 2
    assert len(cut_segments(torch.ones(100), config)) == 1


def test_long_sound_keeps_evenly_spaced_segments():
    ramp = torch.arange(24 * 2 * RATE) // (2 * RATE)
    kept = cut_segments(ramp.float(), AudioConfig())[:, 0]
    assert kept.tolist() == list(range(1, 24, 2))


@pytest.mark.parametrize("seconds", [0.2, 3.0, 3.1, 4.6, 20.0, 36.0])
def test_overlapping_segments_reach_from_start_to_end(seconds):
    config = AudioConfig(segment=3.0, overlap=0.5)
    ramp = torch.arange(round(seconds * RATE)).float() + 1
    segments = cut_segments(ramp, config)
    assert len(segments) == min(12, 1 + math.ceil(max(0.0, seconds - 3) / 1.5))
    assert segments.shape[1] == 3 * RATE
    assert segments[0, 0] == 1
    assert segments.max() == len(ramp)
    steps = segments[1:, 0] - segments[:-1, 0]
    assert (steps <= 3 * RATE).all() and (steps > 0).all()


def test_quiet_segments_are_left_out_beside_loud_ones():
    sound = np.concatenate([noise(2), noise(2, seed=1) * 0.05])
    assert len(sound_to_tensor(sound, 32, AudioConfig(quiet_db=20.0))) == 1
    assert len(sound_to_tensor(sound, 32, AudioConfig(quiet_db=40.0))) == 2
    assert len(sound_to_tensor(sound[2 * RATE :], 32, AudioConfig(quiet_db=20.0))) == 1


@pytest.mark.parametrize("hertz", [80.0, 120.0, 200.0, 330.0])
def test_a_harmonic_tone_is_brightest_at_its_own_pitch(hertz):
    time = np.arange(2 * RATE) / RATE
    tone = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 12)).astype(np.float32)
    picture = pitch_pictures(torch.from_numpy(tone)[None], AudioConfig())[0]
    # An octave below a tone is periodic too, so the highest of the bright pitches counts.
    middle = picture[len(picture) // 2]
    bright = LOWEST * 2 ** (torch.nonzero(middle > 0.9 * middle.max()).max() / PER_OCTAVE)
    assert bright == pytest.approx(hertz, rel=0.06)
    assert 0 <= picture.min() and picture.max() <= 1.001


def test_noise_and_silence_have_no_pitch():
    config = AudioConfig()
    assert pitch_pictures(torch.from_numpy(noise(2))[None], config).mean() < 0.1
    assert pitch_pictures(torch.zeros(1, 2 * RATE), config).abs().max() == 0


def test_pitch_fades_where_the_sound_is_quiet():
    time = np.arange(RATE) / RATE
    tone = np.sign(np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    picture = pitch_pictures(torch.from_numpy(np.r_[tone, tone * 0.001])[None], AudioConfig())[0]
    assert picture[: len(picture) // 3].max() > 0.5
    assert picture[2 * len(picture) // 3 :].max() == 0


def test_pictures_of_sound_have_the_size_and_channels_of_the_configuration():
    config = AudioConfig(size=(40, 24), pitch=True)
    pictures = sound_to_tensor(noise(3), 224, config)
    assert pictures.shape == (2, 3, 40, 24)
    torch.testing.assert_close(pictures[:, 0], pictures[:, 2])
    assert sound_to_tensor(np.zeros(0, np.float32), 224, config).shape == (0, 3, 40, 24)


def test_a_segment_has_mean_0_and_deviation_1_whatever_its_loudness():
    config = AudioConfig()
    quiet, loud = (sound_to_tensor(noise(2) * gain, 63, config) for gain in (0.05, 5))
    assert quiet.mean().abs() < 0.05
    torch.testing.assert_close(quiet, loud, atol=1e-3, rtol=1e-3)


def test_standardizing_over_the_clip_keeps_changes_of_loudness():
    sound = np.concatenate([noise(2) * 0.1, noise(2, seed=1)])
    segments = sound_to_tensor(sound, 63, AudioConfig(standardize="clip"))
    assert segments[1].mean() > segments[0].mean() + 1


def test_a_tone_is_bright_at_its_own_mel_band():
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    config = AudioConfig()
    picture = log_mel(cut_segments(torch.from_numpy(tone), config), config)[0]
    band = int(picture.mean(dim=0).argmax())
    centres = mel_filters(config.n_fft).argmax(dim=0) * RATE / config.n_fft
    assert abs(float(centres[band]) - 1000) < 40


@pytest.mark.parametrize("size", [(360, 640), (641, 361), (48, 48), (225, 224), (30, 227)])
def test_frames_equal_clips_own_preprocessing(size):
    from PIL import Image
    from torchvision.transforms import v2

    frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    ours = frames_to_tensor(frames, 224, VisionConfig())
    reference = v2.Compose(
        [v2.Resize(224, interpolation=v2.InterpolationMode.BICUBIC), v2.CenterCrop(224)]
    )
    expected = np.stack([np.asarray(reference(Image.fromarray(frame))) for frame in frames])
    difference = np.abs(ours.permute(0, 2, 3, 1).numpy().astype(int) - expected.astype(int))
    assert difference.max() <= 2
    assert difference.mean() < 0.02


def test_an_extreme_shape_stays_small():
    frames = np.zeros((1, 2, 40000, 3), np.uint8)
    assert frames_to_tensor(frames, 224, VisionConfig()).shape == (1, 3, 224, 224)


def test_normalising_uses_clips_mean_and_deviation():
    config = VisionConfig()
    grey = torch.full((1, 3, 2, 2), 128, dtype=torch.uint8)
    value = normalize_frames(grey, config, torch.float32)[0, :, 0, 0]
    expected = [(128 / 255 - m) / s for m, s in zip(config.mean, config.std, strict=True)]
    assert value.tolist() == pytest.approx(expected)


def test_tokens_equal_open_clips():
    import open_clip

    text = "A state of delight, and inner peace!"
    expected = open_clip.tokenize(text)[0]
    assert tokenize(text).ids.tolist() == expected[expected > 0].tolist()


def test_a_long_text_is_cut_and_its_end_is_named():
    tokens = tokenize("very " * 80 + "angry indeed")
    assert len(tokens.ids) == 77
    assert tokens.ids[-1] == 49407
    assert tokens.lost.endswith("angry indeed")
    assert tokenize("happy").lost == ""


def test_letters_of_known_words_are_counted_but_not_names_and_signs():
    def share(text):
        return known_share(tokenize(text).ids, known)

    known = torch.zeros(49408, dtype=torch.bool)
    known[tokenize("it is so good to see you !").ids] = True
    assert share("It is SO good to see you!") == 1.0
    assert share("It is nice") == 4 / 8
    # "itis" is made of the pieces of known words, and is none.
    assert share("itis good") == 4 / 8
    assert share("@Nobody_known #unheard so good") == share("?! \U0001f600 42") == 1.0
    assert share("größer") == share("すごい") == 0.0


def test_padding_is_cut_to_the_longest_text():
    ids, lengths = pad_tokens([tokenize("happy").ids, tokenize("over the moon").ids])
    assert ids.shape == (2, 5)
    assert lengths.tolist() == [3, 5]


def test_the_configuration_survives_its_dictionary():
    config = PreprocessConfig(image_size=96, audio=AudioConfig(size=(96, 80)))
    assert PreprocessConfig.from_dict(config.to_dict()) == config


def test_an_unknown_setting_is_named():
    with pytest.raises(ValueError, match="n_frame"):
        PreprocessConfig.from_dict({"vision": {"n_frame": 3}})
