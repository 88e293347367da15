"""The backbone of conversations: values by the formulas, masks, causality, any modalities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from merclip import errors
from merclip.network.anchors import Anchors
from merclip.network.dialogue import (
    MAX_TURNS,
    DialogueBatch,
    DialogueConfig,
    DialogueNetwork,
    pad_dialogues,
    positions,
)

WIDTHS = {"L": 6, "A": 5, "V": 7}
HIDDEN, HEADS, N_CLASSES, N_SPEAKERS = 8, 2, 3, 2


def make_network(letters="LAV", *, anchors=False, seed=0, **changed):
    torch.manual_seed(seed)
    values = {"n_classes": N_CLASSES, "n_speakers": N_SPEAKERS, "hidden": HIDDEN, "heads": HEADS}
    config = DialogueConfig({letter: WIDTHS[letter] for letter in letters}, **{**values, **changed})
    found = Anchors([torch.randn(n, 4) for n in (3, 1, 2)]) if anchors else None
    network = DialogueNetwork(config, found).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            # Norms and biases that start at 1 and 0 would hide what is done with them.
            parameter.add_(0.3 * torch.randn_like(parameter))
        for letter in letters:
            network.means[letter].zero_()
            network.scales[letter].fill_(1.0)
        network.speakers.weight[N_SPEAKERS].zero_()
    return network


def make_dialogue(n, letters="LAV", seed=1):
    generator = torch.Generator().manual_seed(seed)
    features = {letter: torch.randn(n, WIDTHS[letter], generator=generator) for letter in letters}
    return features, torch.randint(N_SPEAKERS, (n,), generator=generator)


def batch_of(*dialogues):
    features, speakers = zip(*dialogues, strict=True)
    return pad_dialogues(features, speakers, N_SPEAKERS)


def by_formulas(network, features, speakers, causal=False):
    """Work out one dialogue's representations and logits, number by number, in float64."""
    w = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    n, letters = len(speakers), network.config.letters
    encoding = np.zeros((n, HIDDEN))
    for place in range(n):
        for pair in range(HIDDEN // 2):
            angle = place / 10000 ** (2 * pair / HIDDEN)
            encoding[place, 2 * pair : 2 * pair + 2] = math.sin(angle), math.cos(angle)
    streams = {
        letter: features[letter].double().numpy() @ w[f"projections.{letter}.weight"].T
        + encoding
        + w["speakers.weight"][speakers.numpy()]
        for letter in letters
    }
    found = {}
    for target in letters:
        parts = []
        for source in letters:
            name = f"transformers.{target}{source}"
            state = attended(w, name, streams[target], streams[source], causal)
            mean, variance = state.mean(1, keepdims=True), state.var(1, keepdims=True)
            normed = (state - mean) / np.sqrt(variance + 1e-5)
            normed = normed * w[f"{name}.norm.weight"] + w[f"{name}.norm.bias"]
            inner = normed @ w[f"{name}.inner.weight"].T + w[f"{name}.inner.bias"]
            inner = tanh_gelu(inner)
            state = state + inner @ w[f"{name}.outer.weight"].T + w[f"{name}.outer.bias"]
            gate = 1 / (1 + np.exp(-(state @ w[f"gates.{target}{source}.weight"].T)))
            parts.append(state * gate)
        joined = np.concatenate(parts, axis=1)
        found[target] = joined @ w[f"joints.{target}.weight"].T + w[f"joints.{target}.bias"]
    scores = np.exp(np.stack([found[letter] @ w["fusion.weight"].T for letter in letters]))
    shares = scores / scores.sum(axis=0)
    found["F"] = sum(shares[i] * found[letter] for i, letter in enumerate(letters))
    return found, {letter: classified(w, letter, state) for letter, state in found.items()}


def attended(w, name, target, source, causal):
    weight, bias = w[f"{name}.attention.in_proj_weight"], w[f"{name}.attention.in_proj_bias"]
    query, key, value = (
        rows @ weight[i * HIDDEN : (i + 1) * HIDDEN].T + bias[i * HIDDEN : (i + 1) * HIDDEN]
        for i, rows in enumerate((target, source, source))
    )
    size, taken = HIDDEN // HEADS, []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        logits = query[:, part] @ key[:, part].T / math.sqrt(size)
        if causal:
            logits[np.triu_indices(len(logits), 1)] = -np.inf
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        taken.append(share / share.sum(axis=1, keepdims=True) @ value[:, part])
    out = np.concatenate(taken, axis=1) @ w[f"{name}.attention.out_proj.weight"].T
    return target + out + w[f"{name}.attention.out_proj.bias"]


def tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def classified(w, letter, state):
    erf = np.vectorize(math.erf)
    for layer in (0, 3):
        name = f"classifiers.{letter}.{layer}"
        state = state @ w[f"{name}.weight"].T + w[f"{name}.bias"]
        state = state * 0.5 * (1 + erf(state / math.sqrt(2)))
    name = f"classifiers.{letter}.6"
    return state @ w[f"{name}.weight"].T + w[f"{name}.bias"]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("letters", ["LAV", "LA", "V"])
def test_values_are_those_of_the_formulas(letters, causal):
    network = make_network(letters, causal=causal)
    features, speakers = make_dialogue(5, letters)
    with torch.inference_mode():
        found = network(batch_of((features, speakers)))
    states, logits = by_formulas(network, features, speakers, causal)
    assert set(found.logits) == {*letters, "F"}
    for letter in (*letters, "F"):
        assert np.allclose(found.representations[letter][0], states[letter], atol=1e-5, rtol=1e-5)
        assert np.allclose(found.logits[letter][0], logits[letter], atol=1e-5, rtol=1e-5)


def test_nine_transformers_and_gates_without_bias():
    network = make_network()
    assert len(network.transformers) == len(network.gates) == 9
    without = [*network.gates.values(), *network.projections.values(), network.fusion]
    assert all(layer.bias is None for layer in without)
    assert network.speakers.weight.shape == (N_SPEAKERS + 1, HIDDEN)


def test_released_sizes():
    config = DialogueConfig({"L": 1024, "A": 1582, "V": 342}, n_classes=6)
    assert (config.hidden, config.heads) == (768, 4)
    with torch.device("meta"):
        network = DialogueNetwork(config)
    assert network.joints["L"].weight.shape == (768, 2304)
    assert network.projections["A"].weight.shape == (768, 1582)


def test_anchor_logits_are_a_hundred_cosines():
    network = make_network(anchors=True)
    with torch.inference_mode():
        output = network(batch_of(make_dialogue(4)))
        selected = network.anchors.selected()
        found = network.anchor_logits(output, selected)["F"][0]
        hidden = torch.nn.functional.elu(
            network.branch.projections["F"][0](output.representations["F"])
        )
        embedded = network.branch.projections["F"][3](hidden)[0]
        cosine = torch.nn.functional.cosine_similarity(embedded[:, None], selected[None], dim=-1)
    assert torch.allclose(found, 100 * cosine, atol=1e-3)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_and_batch_size_never_change_an_answer(causal):
    network = make_network(causal=causal)
    dialogues = [make_dialogue(n, seed=n) for n in (2, 7, 4)]
    with torch.inference_mode():
        together = network(batch_of(*dialogues)).logits
        for row, dialogue in enumerate(dialogues):
            alone = network(batch_of(dialogue)).logits
            for letter, logits in alone.items():
                kept = together[letter][row, : len(dialogue[1])]
                assert torch.allclose(kept, logits[0], atol=1e-5)


def test_what_stands_in_padding_does_not_matter():
    network = make_network()
    batch = batch_of(make_dialogue(2), make_dialogue(5, seed=2))
    loud = {
        letter: part.masked_fill(~batch.mask[..., None], 1e3)
        for letter, part in batch.features.items()
    }
    with torch.inference_mode():
        quiet = network(batch).logits["F"][batch.mask]
        assert torch.allclose(
            network(DialogueBatch(loud, *batch[1:])).logits["F"][batch.mask], quiet
        )


def test_causal_answers_never_change_when_more_is_said():
    network = make_network(causal=True)
    features, speakers = make_dialogue(6)
    with torch.inference_mode():
        whole = network(batch_of((features, speakers))).logits["F"][0]
        for n in range(1, 6):
            part = {letter: rows[:n] for letter, rows in features.items()}
            said = network(batch_of((part, speakers[:n]))).logits["F"][0]
            assert torch.allclose(said, whole[:n], atol=1e-5)


def test_without_causal_later_utterances_count():
    network = make_network()
    features, speakers = make_dialogue(6)
    part = {letter: rows[:2] for letter, rows in features.items()}
    with torch.inference_mode():
        whole = network(batch_of((features, speakers))).logits["F"][0]
        said = network(batch_of((part, speakers[:2]))).logits["F"][0]
    assert not torch.allclose(said, whole[:2], atol=1e-3)


def test_without_context_each_utterance_stands_alone():
    network = make_network(context=False)
    features, speakers = make_dialogue(4)
    changed = {letter: rows.clone() for letter, rows in features.items()}
    for rows in changed.values():
        rows[1] += 1
    with torch.inference_mode():
        before = network(batch_of((features, speakers))).logits["F"][0]
        after = network(batch_of((changed, speakers))).logits["F"][0]
    kept = [0, 2, 3]
    assert torch.equal(before[kept], after[kept]) and not torch.allclose(before[1], after[1])


def test_speakers_and_order_count():
    network = make_network()
    features, speakers = make_dialogue(4)
    with torch.inference_mode():
        first = network(batch_of((features, speakers))).logits["F"]
        assert not torch.allclose(network(batch_of((features, 1 - speakers))).logits["F"], first)
        turned = {letter: rows.flip(0) for letter, rows in features.items()}
        back = network(batch_of((turned, speakers.flip(0)))).logits["F"].flip(1)
    assert not torch.allclose(back, first, atol=1e-4)


def test_an_absent_modality_stays_zero_with_standardised_features():
    network = make_network()
    features, speakers = make_dialogue(3)
    features["A"][1] = 0
    network.set_standard("A", torch.full((5,), 2.0), torch.full((5,), 0.5))
    projected = network._projected("A", batch_of((features, speakers)))[0]
    assert not projected[1].any() and projected[0].any()
    assert torch.allclose(
        projected[0], network.projections["A"]((features["A"][0] - 2) / 0.5), atol=1e-5
    )


def test_more_turns_than_vegas_512_work_and_too_many_say_so():
    network = make_network("L")
    with torch.inference_mode():
        assert network(batch_of(make_dialogue(600, "L"))).logits["F"].isfinite().all()
        with pytest.raises(errors.InputError, match="cut it into scenes"):
            network(batch_of(make_dialogue(MAX_TURNS + 1, "L")))


def test_positions_are_sinusoids():
    found = positions(3, 4)
    assert torch.allclose(found[0], torch.tensor([0.0, 1.0, 0.0, 1.0]))
    rates = [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]
    assert torch.allclose(found[2], torch.tensor(rates), atol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        {"widths": {}},
        {"widths": {"X": 3}},
        {"hidden": 7},
        {"heads": 3},
        {"dropout": 1.0},
        {"n_speakers": 0},
    ],
)
def test_configs_that_cannot_be(values):
    with pytest.raises(errors.InputError):
        DialogueConfig(**{"widths": {"L": 4}, "hidden": 8, "heads": 2, **values})
