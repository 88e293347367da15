"""MER-CLIP as the paper lays it out, switch by switch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from conftest import TINY
from merclip.engine import embed_labels, label_tokens
from merclip.errors import InputError
from merclip.labels import LabelSet
from merclip.network import MERCLIP, DecoderConfig, NetworkConfig, architecture, build_towers
from merclip.network.decoder import CrossModalDecoder
from merclip.network.encoders import TextEncoder
from merclip.network.residual import build_residual
from merclip.network.text_tower import build_text_tower
from merclip.preprocess import ClipFeatures, Sample, VisionConfig, pad_features
from merclip.preprocess.text import tokenize

WIDTH = 32


def make(**changes: Any) -> MERCLIP:
    torch.manual_seed(0)
    config = NetworkConfig(architecture(TINY), decoder=DecoderConfig(heads=2))
    config = config.with_overrides(changes)
    return MERCLIP(config, build_towers(config.backbone), fusion_trained=True).eval()


def make_sample(text: str | None = "well done", n_frames: int = 3, n_segments: int = 2) -> Sample:
    generator = torch.Generator().manual_seed(1)
    return Sample(
        tokens=None if text is None else tokenize(text).ids,
        frames=torch.randint(0, 256, (n_frames, 3, 32, 32), generator=generator).byte()
        if n_frames
        else None,
        segments=torch.randn(n_segments, 32, 32, generator=generator) if n_segments else None,
    )


@torch.inference_mode()
def fused(network: MERCLIP, *samples: Sample) -> torch.Tensor:
    rows = network.encode(samples, VisionConfig())
    return network.fuse(pad_features([ClipFeatures(row) for row in rows]))


@torch.inference_mode()
def labels(network: MERCLIP, *texts: str) -> torch.Tensor:
    return network.encode_labels([tokenize(text).ids for text in texts])


def test_every_encoder_gives_sequences_in_one_space():
    (row,) = make().encode([make_sample()], VisionConfig())
    assert {letter: tuple(part.shape) for letter, part in row.items()} == {
        "L": (4, WIDTH),
        "V": (3, WIDTH),
        "A": (2, WIDTH),
    }


def test_audio_starts_from_the_image_towers_weights_and_is_a_copy_of_its_own():
    network = make()
    vision, audio = network.encoders["V"], network.encoders["A"]
    pairs = list(zip(vision.parameters(), audio.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert all(a.data_ptr() != b.data_ptr() for a, b in pairs)


def test_the_label_encoder_is_frozen_and_the_language_encoder_is_not():
    network = make()
    assert not any(p.requires_grad for p in network.label_encoder.parameters())
    assert all(p.requires_grad for p in network.encoders["L"].parameters())


def test_a_shared_token_table_is_one_frozen_tensor():
    network = make(share_token_table=True)
    table = network.label_encoder.tower.token_embedding.weight
    assert network.encoders["L"].tower.token_embedding.weight is table
    assert not table.requires_grad
    assert all(table is not p for p in network.encoder_parameters())


def test_text_features_equal_open_clips_whole_context():
    network = make()
    text = "a strong feeling of annoyance"
    tower = network.label_encoder.tower
    padded = torch.zeros(1, 77, dtype=torch.long)
    ids = tokenize(text).ids
    padded[0, : len(ids)] = ids
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(tower(padded), dim=-1)
        network.fusion_trained = False  # without contexts
        torch.testing.assert_close(labels(network, text), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("order", ["V", "A", "L", "VA", "LV", "AL", "LVA", "VAL", "AVL"])
def test_any_fusion_order_works(order):
    result = fused(make(fusion=order), make_sample())
    assert result.shape == (1, WIDTH)
    assert float(result.norm()) == pytest.approx(1, abs=1e-5)


def test_order_matters():
    sample = make_sample()
    first, second = make(fusion="LVA"), make(fusion="VAL")
    second.load_state_dict(first.state_dict())
    assert not torch.allclose(fused(first, sample), fused(second, sample), atol=1e-4)


@pytest.mark.parametrize("order", ["", "LL", "LX", "lva"])
def test_a_wrong_fusion_order_is_refused(order):
    with pytest.raises(ValueError, match="fusion"):
        make(fusion=order)


def test_a_missing_modality_skips_its_layer():
    whole, without_sound = make(), make(fusion="LV")
    without_sound.load_state_dict(whole.state_dict(), strict=False)
    sample = make_sample(n_segments=0)
    torch.testing.assert_close(fused(whole, sample), fused(without_sound, sample))


def test_a_missing_modality_is_skipped_for_its_own_clip_alone():
    network = make()
    complete, partial = make_sample(), make_sample(text=None, n_segments=0)
    together = fused(network, complete, partial)
    torch.testing.assert_close(together[:1], fused(network, complete), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[1:], fused(network, partial), atol=1e-5, rtol=1e-4)


def test_a_clip_with_nothing_gives_the_query_and_no_nan():
    network = make()
    result = fused(network, make_sample(text=None, n_frames=0, n_segments=0))
    assert torch.isfinite(result).all()


def test_batches_of_many_lengths_give_the_same_scores_as_single_clips():
    network = make()
    texts = ["no", "this is a longer sentence about it", "well well"]
    samples = [make_sample(text, i + 1, 3 - i) for i, text in enumerate(texts)]
    one_by_one = torch.cat([fused(network, sample) for sample in samples])
    torch.testing.assert_close(fused(network, *samples), one_by_one, atol=1e-5, rtol=1e-4)


def decoder_with_one_layer() -> CrossModalDecoder:
    torch.manual_seed(0)
    return CrossModalDecoder(WIDTH, "V", {"V": 12}, DecoderConfig(heads=2)).eval()


def decode(decoder: CrossModalDecoder, keys: torch.Tensor) -> torch.Tensor:
    batch = pad_features([ClipFeatures({"V": keys})])
    query = torch.linspace(-1, 1, WIDTH).view(1, 1, WIDTH)
    with torch.inference_mode():
        return decoder(query, batch, {"V": keys.mean(dim=0, keepdim=True)})


def test_with_one_key_attention_does_not_depend_on_query_and_key_weights():
    decoder = decoder_with_one_layer()
    keys = torch.randn(1, WIDTH)
    before = decode(decoder, keys)
    with torch.no_grad():
        decoder.layers["V"][0].attention.in_proj_weight[: 2 * WIDTH].normal_()
    torch.testing.assert_close(decode(decoder, keys), before)
    assert not torch.allclose(decode(decoder, torch.randn(1, WIDTH)), before)


def test_masked_keys_change_nothing():
    decoder = decoder_with_one_layer()
    keys, query = torch.randn(2, WIDTH), torch.randn(1, 1, WIDTH)
    layer, mask = decoder.layers["V"][0], torch.tensor([[True, True, False, False]])
    with torch.inference_mode():
        results = [
            layer(query, torch.cat([keys, torch.randn(2, WIDTH) * 100])[None], mask)
            for _ in range(2)
        ]
    torch.testing.assert_close(*results)


def test_temporal_embeddings_start_at_zero_and_make_order_visible():
    decoder = decoder_with_one_layer()
    keys = torch.randn(3, WIDTH)
    torch.testing.assert_close(decode(decoder, keys), decode(decoder, keys.flip(0)))
    with torch.no_grad():
        decoder.positions["V"].normal_()
    assert not torch.allclose(decode(decoder, keys), decode(decoder, keys.flip(0)), atol=1e-4)


@pytest.mark.parametrize("depth", [1, 2])
def test_depth_is_layers_for_each_modality(depth):
    network = make(decoder={"depth": depth})
    assert [len(network.decoder.layers[letter]) for letter in "LVA"] == [depth] * 3


def test_global_embeddings_can_join_the_keys():
    sample = make_sample()
    plain, joined = make(), make(decoder={"include_global": True})
    joined.load_state_dict(plain.state_dict())
    assert not torch.allclose(fused(plain, sample), fused(joined, sample), atol=1e-5)


def test_global_embeddings_are_the_end_token_and_means_over_time():
    network = make()
    with torch.inference_mode():
        (row,) = network.encode([make_sample()], VisionConfig())
        found = network.global_embeddings(pad_features([ClipFeatures(row)]))
    torch.testing.assert_close(found["L"][0], row["L"][-1])
    torch.testing.assert_close(found["V"][0], row["V"].mean(dim=0))
    torch.testing.assert_close(found["A"][0], row["A"].mean(dim=0))


@pytest.mark.parametrize("query", ["Emotion", "Sentiment", "How does this person feel", None])
def test_the_query_word_can_be_any_or_none(query):
    assert torch.isfinite(fused(make(query=query), make_sample())).all()


def test_the_query_word_changes_the_answer():
    sample = make_sample()
    assert not torch.allclose(
        fused(make(query="Emotion"), sample), fused(make(query=None), sample), atol=1e-5
    )


def test_a_query_of_nothing_at_all_is_refused():
    with pytest.raises(ValueError, match="query"):
        make(query=None, n_query_contexts=0)


def test_all_query_tokens_can_start_the_decoder():
    assert fused(make(all_query_tokens=True), make_sample()).shape == (1, WIDTH)


def test_contexts_can_be_shared_between_query_and_labels():
    shared, separate = make(share_contexts=True), make()
    assert shared.query_prompt is shared.label_prompt
    assert separate.query_prompt is not separate.label_prompt
    assert separate.query_prompt.vectors.shape == (8, 32)


def test_label_contexts_change_labels_and_learn_through_the_frozen_encoder():
    network = make()
    with torch.no_grad():
        network.label_prompt.vectors.normal_(std=1)
    assert not torch.allclose(
        labels(network, "happy"), labels(make(n_label_contexts=0), "happy"), atol=1e-3
    )
    network.encode_labels([tokenize("happy").ids]).sum().backward()
    assert network.label_prompt.vectors.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.label_encoder.parameters())


def test_contexts_take_room_from_labels():
    assert make().max_label_tokens == 69
    assert make(n_label_contexts=0).max_label_tokens == 77


def test_without_the_decoder_global_embeddings_are_concatenated():
    network = make(use_decoder=False)
    assert network.decoder is None
    assert network.concatenation.in_features == 3 * WIDTH
    assert fused(network, make_sample(text=None)).shape == (1, WIDTH)


def test_without_the_label_encoder_a_linear_layer_scores_fixed_labels():
    network = make(use_label_encoder=False, n_classes=4)
    with torch.inference_mode():
        assert network.logits(fused(network, make_sample()), None, False).shape == (1, 4)


def test_one_of_n_logits_are_scaled_cosines():
    network = make()
    clip, texts = fused(network, make_sample()), labels(network, "happy", "sad")
    with torch.inference_mode():
        logits = network.logits(clip, texts, multi_label=False)
    torch.testing.assert_close(logits, clip @ texts.T * network.scales.softmax.exp())


def test_multi_label_logits_have_their_own_scale_and_bias():
    network = make()
    clip, texts = fused(network, make_sample()), labels(network, "happy", "sad")
    with torch.inference_mode():
        logits = network.logits(clip, texts, multi_label=True)
    torch.testing.assert_close(logits, clip @ texts.T * 10 - 5)


def test_no_scale_exceeds_100():
    network = make()
    with torch.no_grad():
        network.scales.softmax.fill_(20.0)
        logits = network.logits(torch.eye(2), torch.eye(2), multi_label=False)
    assert float(logits.max()) == pytest.approx(100)


def test_untrained_fusion_compares_text_and_video_with_labels():
    network = make()
    network.fusion_trained = False
    (row,) = network.encode([make_sample()], VisionConfig())
    text, video = row["L"][-1], row["V"].mean(dim=0)
    expected = sum(torch.nn.functional.normalize(part, dim=-1) for part in (text, video))
    expected = torch.nn.functional.normalize(expected, dim=-1)
    torch.testing.assert_close(fused(network, make_sample())[0], expected)


def test_descriptions_of_a_label_are_averaged():
    network = make()
    known = LabelSet.of({"joy": ["delight", "happiness"], "sorrow": "grief"})
    with torch.inference_mode():
        found = embed_labels(network, label_tokens(known, ["{}"], 77))
    mean = labels(network, "delight", "happiness").mean(dim=0)
    torch.testing.assert_close(found[0], mean / mean.norm())
    torch.testing.assert_close(found[1:], labels(network, "grief"))


def test_lower_precision_of_the_towers_changes_little():
    network, samples = make(), [make_sample(), make_sample("oh no", 1, 1)]
    exact = fused(network, *samples)
    network.set_tower_dtype(torch.bfloat16)
    rounded = fused(network, *samples)
    assert rounded.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(exact, rounded).min() > 0.99


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50", "ViT-B-16-quickgelu"])
def test_open_clip_names_are_architectures(name):
    assert architecture(name)["embed_dim"] in (512, 1024)


def test_a_json_file_is_an_architecture(tmp_path):
    import json

    path = tmp_path / "small.json"
    path.write_text(json.dumps(TINY))
    assert architecture(path) == TINY


def test_a_resnet_serves_as_well():
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32}
    config = NetworkConfig({**TINY, "vision_cfg": vision}, decoder=DecoderConfig(heads=2))
    network = MERCLIP(config, build_towers(config.backbone), fusion_trained=True).eval()
    sample = Sample(frames=torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert fused(network, sample).shape == (1, WIDTH)


RESIDUAL = {"tower": "residual", "image_size": 32, "widths": [8, 16, 24], "blocks": 1, "hidden": 20}


def test_a_small_residual_tower_serves_as_well():
    network = make(backbone={**TINY, "vision_cfg": RESIDUAL})
    assert fused(network, make_sample(), make_sample(None)).shape == (2, WIDTH)
    tower = network.encoders["V"].tower
    pictures = torch.randn(3, 3, 32, 32)
    assert tower.features(pictures).shape == (3, 24)
    torch.testing.assert_close(tower(pictures)[1:2], tower(pictures[1:2]), atol=1e-5, rtol=1e-4)


def test_trunks_and_bands_lie_side_by_side():
    tower = build_residual(WIDTH, {**RESIDUAL, "image_size": [24, 40], "trunks": 2}).eval()
    pictures = torch.randn(2, 3, 24, 40)
    first = tower.trunks[0](pictures)
    torch.testing.assert_close(tower.features(pictures)[:, :24], first)
    bands = build_residual(WIDTH, {**RESIDUAL, "image_size": [24, 40], "pool": "bands"}).eval()
    assert bands.features(pictures).shape == (2, 5 * 24)
    assert bands.features(pictures.repeat(1, 1, 2, 1)).shape == (2, 5 * 24)


def test_an_audio_tower_of_its_own_takes_pictures_of_another_shape():
    audio = {**RESIDUAL, "image_size": [24, 40], "pool": "bands"}
    network = make(backbone={**TINY, "audio_cfg": audio})
    assert network.config.audio_size == (24, 40)
    sample = Sample(segments=torch.randn(2, 3, 24, 40))
    assert fused(network, sample).shape == (1, WIDTH)
    grey = torch.randn(2, 24, 40)
    same = fused(network, Sample(segments=grey[:, None].expand(-1, 3, -1, -1)))
    torch.testing.assert_close(fused(network, Sample(segments=grey)), same)


def test_an_audio_tower_of_another_kind_is_refused():
    with pytest.raises(InputError, match="audio_cfg"):
        architecture({**TINY, "audio_cfg": TINY["vision_cfg"]})


def test_a_mirrored_frame_gives_the_same_where_frames_are_mirrored():
    network, frames = make(), make_sample().frames

    def encoded(frames: torch.Tensor, mirror: bool) -> torch.Tensor:
        with torch.inference_mode():
            (row,) = network.encode([Sample(frames=frames)], VisionConfig(mirror=mirror))
        return row["V"]

    both = encoded(frames, True)
    torch.testing.assert_close(encoded(frames.flip(-1), True), both)
    once, other = encoded(frames, False), encoded(frames.flip(-1), False)
    assert not torch.allclose(once, other, atol=1e-4)
    torch.testing.assert_close((once + other) / 2, both)


def test_a_change_of_the_shared_token_table_is_the_language_encoders_alone():
    network = make(share_token_table=True, token_rank=3)
    plain = make(share_token_table=True)
    for part in ("decoder", "query_prompt"):
        getattr(plain, part).load_state_dict(getattr(network, part).state_dict())
    sample = Sample(tokens=make_sample().tokens)
    torch.testing.assert_close(fused(network, sample), fused(plain, sample))
    table = network.encoders["L"].tower.token_embedding
    assert table.table.weight is network.label_encoder.tower.token_embedding.weight
    before = labels(network, "joy")
    torch.nn.init.normal_(table.rows.weight)
    assert not torch.allclose(fused(network, sample), fused(plain, sample), atol=1e-4)
    torch.testing.assert_close(labels(network, "joy"), before)
    trained = {id(p) for p in network.encoder_parameters()}
    assert id(table.rows.weight) in trained and id(table.table.weight) not in trained


@pytest.mark.parametrize("wrong", [{"patch_size": 8}, {"pool": "max"}])
def test_unknown_settings_of_a_residual_tower_are_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        build_towers({**TINY, "vision_cfg": {**RESIDUAL, **wrong}})


def test_an_unknown_architecture_is_named():
    with pytest.raises(FileNotFoundError, match="ViT-Z"):
        architecture("ViT-Z")


def test_a_foreign_text_tower_is_refused():
    with pytest.raises(ValueError, match="text tower"):
        architecture("roberta-ViT-B-32")


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="heads"):
        make(decoder={"heads": 5})


def test_the_configuration_survives_its_dictionary():
    config = make(fusion="VA", query=None, decoder={"depth": 2}).config
    assert NetworkConfig.from_dict(config.to_dict()) == config


def test_an_unknown_switch_is_named():
    with pytest.raises(ValueError, match="fussion"):
        make(fussion="LVA")


def test_the_own_text_tower_is_that_of_open_clip():
    from open_clip.model import CustomTextCLIP

    torch.manual_seed(0)
    values = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}
    peer = CustomTextCLIP(16, TINY["vision_cfg"], values).text.eval()
    own = build_text_tower(16, values).eval()
    start = {name: tensor.std() for name, tensor in own.state_dict().items() if tensor.ndim > 1}
    for name, deviation in start.items():
        torch.testing.assert_close(deviation, peer.state_dict()[name].std(), rtol=0.2, atol=0)
    own.load_state_dict(peer.state_dict())
    ids = [torch.randint(1, 49000, (length,)) for length in (3, 7, 12)]
    contexts = torch.randn(4, 32)
    with torch.no_grad():
        for given in (None, contexts):
            (found, lengths), (wanted, _) = (TextEncoder(t)(ids, given) for t in (own, peer))
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    texts = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    texts = torch.nn.functional.pad(texts, (0, 20 - texts.shape[1]))
    with torch.no_grad():
        # open_clip reads the token with the largest number; put the end token there.
        texts[torch.arange(3), torch.tensor([2, 6, 11])] = 49407
        ends, _ = TextEncoder(own)([row[row > 0] for row in texts])
        torch.testing.assert_close(ends[[0, 1, 2], [2, 6, 11]], peer(texts), rtol=1e-5, atol=1e-6)


def test_an_own_text_tower_is_checked():
    with pytest.raises(InputError, match="unknown keys \\['pool_type'\\]"):
        build_text_tower(16, {"pool_type": "last"})
    with pytest.raises(InputError, match="does not divide"):
        build_text_tower(16, {"width": 30, "heads": 4})
