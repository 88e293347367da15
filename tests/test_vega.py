"""VEGA's anchors, branch and losses against their formulas, worked out here by numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from merclip.errors import InputError
from merclip.network.anchors import AnchorBranch, Anchors
from merclip.training import (
    OutputWeights,
    Temperatures,
    VegaObjective,
    released_class_weights,
    vega_loss,
    vega_terms,
)
from merclip.training.vega import Totals

K, D, W = 4, 6, 5
RELEASED = {
    "L1": 0.9521,
    "L2": 0.3468,
    "L3": 0.46216,
    "L4": 0.4868,
    "ce": {"F": 0.7666, "L": 0.5132, "A": 0.3536, "V": 0.7753},
    "kl": {"L": 0.3891, "A": 0.6867, "V": 0.7815},
    "anchor_ce": {"F": 0.5279, "L": 0.1692, "A": 0.3020, "V": 0.2249},
    "anchor_kl": {"L": 0.9358, "A": 0.2729, "V": 0.7159},
}


def _log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def _weighted_cross_entropy(logits, targets, class_weights, mask):
    """As PyTorch's weighted cross-entropy has it, over what is no padding."""
    logits, targets = logits[mask], targets[mask]
    weights = class_weights[targets]
    picked = _log_softmax(logits)[np.arange(len(targets)), targets]
    return -(weights * picked).sum() / weights.sum()


def _kl(teacher, student, temperature, mask):
    """Averaged over unmasked elements, the class axis included, times the squared temperature."""
    p, q = _log_softmax(teacher[mask] / temperature), _log_softmax(student[mask] / temperature)
    return temperature**2 * (np.exp(p) * (p - q)).mean()


def _reference(labels, anchors, targets, class_weights, mask, temperatures):
    def classes(logits, shares):
        return sum(
            shares[m] * _weighted_cross_entropy(logits[m], targets, class_weights, mask)
            for m in "FLAV"
        )

    def distil(logits, shares, row):
        return sum(
            shares[m] * _kl(logits["F"], logits[m], temperatures[row]["LAV".index(m)], mask)
            for m in "LAV"
        )

    return (
        RELEASED["L1"] * classes(labels, RELEASED["ce"])
        + RELEASED["L2"] * distil(labels, RELEASED["kl"], 0)
        + RELEASED["L3"] * classes(anchors, RELEASED["anchor_ce"])
        + RELEASED["L4"] * distil(anchors, RELEASED["anchor_kl"], 1)
    )


def _outputs(shape, seed, k=K):
    generator = np.random.default_rng(seed)
    return {letter: 3 * generator.normal(size=(*shape, k)) for letter in "FLAV"}


def _as_tensors(arrays):
    return {name: torch.from_numpy(array).float() for name, array in arrays.items()}


def _drawn(shape, seed=0):
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, K, size=shape)
    return targets, generator.uniform(0.5, 3.0, size=K), generator.random(shape) < 0.7


@pytest.mark.parametrize("shape", [(11,), (3, 7)], ids=["utterances", "padded dialogues"])
@pytest.mark.parametrize("learned", [None, [[0.5, 1.7, 3.0], [2.5, 0.9, 1.1]]])
def test_the_released_objective_is_the_formula(shape, learned):
    labels, anchors = _outputs(shape, 1), _outputs(shape, 2)
    targets, class_weights, mask = _drawn(shape)
    temperatures = Temperatures(2.0)
    if learned is not None:
        with torch.no_grad():
            temperatures.logs.copy_(torch.tensor(learned).flatten().log())
    weights = torch.from_numpy(class_weights).float()[torch.from_numpy(targets)]
    terms = vega_terms(
        _as_tensors(labels),
        _as_tensors(anchors),
        torch.from_numpy(np.where(mask, targets, -100)),
        VegaObjective.of("vega"),
        temperatures,
        mask=torch.from_numpy(mask),
        weights=weights,
    )
    wanted = _reference(labels, anchors, targets, class_weights, mask, learned or [[2.0] * 3] * 2)
    found = vega_loss(terms, VegaObjective.of("vega")).item()
    assert found == pytest.approx(wanted, abs=1e-5)


def test_class_weights_count_as_in_torch():
    logits, targets = torch.randn(9, K), torch.randint(K, (9,))
    class_weights = torch.tensor([0.3, 2.0, 1.0, 4.0])
    wanted = torch.nn.functional.cross_entropy(logits, targets, weight=class_weights)
    objective = replace(VegaObjective.of("even"), label_outputs=OutputWeights(fused=1.0))
    terms = vega_terms(
        {"F": logits}, None, targets, objective, Temperatures(), weights=class_weights[targets]
    )
    assert set(terms) == {"label_loss", "label_distillation"}
    torch.testing.assert_close(terms["label_loss"], wanted)


def test_parts_of_a_batch_add_up_to_all_of_it():
    labels, anchors = _as_tensors(_outputs((8,), 1)), _as_tensors(_outputs((8,), 2))
    targets, weights = torch.randint(K, (8,)), torch.rand(8)
    present = {"A": torch.rand(8) < 0.5}
    objective, temperatures = VegaObjective(), Temperatures()

    def loss(rows, totals=None):
        terms = vega_terms(
            {m: part[rows] for m, part in labels.items()},
            {m: part[rows] for m, part in anchors.items()},
            targets[rows],
            objective,
            temperatures,
            present={m: part[rows] for m, part in present.items()},
            weights=weights[rows],
            totals=totals,
        )
        return vega_loss(terms, objective)

    totals = Totals(float(weights.sum()), 8.0)
    parts = loss(slice(0, 3), totals) + loss(slice(3, 8), totals)
    torch.testing.assert_close(parts, loss(slice(None)))


def test_what_an_utterance_lacks_gives_no_gradient():
    labels = {m: torch.randn(4, K, requires_grad=True) for m in "FLAV"}
    present = {"A": torch.tensor([True, False, True, False])}
    terms = vega_terms(
        labels, None, torch.zeros(4).long(), VegaObjective(), Temperatures(), present=present
    )
    vega_loss(terms, VegaObjective()).backward()
    assert (labels["A"].grad.abs().sum(dim=1) > 0).tolist() == [True, False, True, False]
    assert (labels["L"].grad.abs().sum(dim=1) > 0).all()


def test_classes_without_anchors_are_left_out_of_the_anchors_loss():
    anchors = _as_tensors(_outputs((6,), 3, k=2))
    labels, targets = _as_tensors(_outputs((6,), 1)), torch.tensor([0, 1, 2, 3, 2, 0])
    places = torch.tensor([-1, 0, 1, -1])
    objective = replace(VegaObjective(), anchor_outputs=OutputWeights(fused=1.0))
    terms = vega_terms(labels, anchors, targets, objective, Temperatures(), places=places)
    seen, columns = [1, 2, 4], torch.tensor([0, 1, 1])
    losses = torch.nn.functional.cross_entropy(anchors["F"][seen], columns, reduction="sum")
    torch.testing.assert_close(terms["anchor_loss"], losses / 6)


@pytest.mark.parametrize(
    ("name", "detached"), [("vega", False), ("vega-detached", True), ("even", True)]
)
def test_vegas_own_teacher_learns_too_and_ours_are_detached(name, detached):
    labels = {m: torch.randn(5, K, requires_grad=True) for m in "FL"}
    objective = VegaObjective.of(name)
    terms = vega_terms(labels, None, torch.zeros(5).long(), objective, Temperatures())
    terms["label_distillation"].backward()
    assert (labels["F"].grad is None) is detached
    assert labels["L"].grad.abs().sum() > 0


def test_a_detached_teacher_is_all_that_the_preset_of_ours_changes():
    assert VegaObjective() == VegaObjective.of("vega")
    assert replace(VegaObjective.of("vega-detached"), detach_teacher=False) == VegaObjective()


def test_temperatures_learn_and_start_at_two():
    temperatures = Temperatures()
    assert torch.allclose(temperatures.logs.exp(), torch.full((6,), 2.0))
    labels = _as_tensors(_outputs((5,), 1))
    terms = vega_terms(labels, labels, torch.zeros(5).long(), VegaObjective(), temperatures)
    vega_loss(terms, VegaObjective()).backward()
    assert (temperatures.logs.grad != 0).all()


def test_an_epoch_of_padding_alone_gives_zero():
    labels = _as_tensors(_outputs((2, 3), 1))
    mask = torch.zeros(2, 3, dtype=torch.bool)
    terms = vega_terms(
        labels, labels, torch.zeros(2, 3).long(), VegaObjective(), Temperatures(), mask=mask
    )
    assert float(vega_loss(terms, VegaObjective())) == 0.0


def test_released_class_weights():
    # IEMOCAP's counts in training, and a class that does not occur.
    weights = released_class_weights([504, 839, 1324, 933, 742, 1468, 0])
    np.testing.assert_allclose(weights, [1468 / n for n in (504, 839, 1324, 933, 742, 1468)] + [1])


@pytest.mark.parametrize(
    "changed",
    [
        {"label_loss": -1.0},
        {"sampling": 1.5},
        {"temperature": 0.0},
        {"detach_teacher": 1},
        {"anchor_loss": float("nan")},
        {"label_outputs": OutputWeights(fused=float("inf"))},
    ],
)
def test_weights_out_of_range_are_refused(changed):
    with pytest.raises(InputError, match=next(iter(changed))):
        VegaObjective(**changed)


def test_an_unknown_objective_names_those_there_are():
    with pytest.raises(InputError, match="even"):
        VegaObjective.of("odd")


# Anchors and branch --------------------------------------------------------------


def _anchors(counts=(3, 1, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Anchors([torch.randn(n, D, generator=generator) for n in counts])


def test_centres_are_plain_means_of_normalised_exemplars():
    rows = [torch.randn(3, D), torch.randn(2, D)]
    anchors = Anchors(rows)
    unit = [part.numpy() / np.linalg.norm(part.numpy(), axis=1, keepdims=True) for part in rows]
    centres = np.stack([part.mean(axis=0) for part in unit])
    np.testing.assert_allclose(anchors.centres, centres, atol=1e-6)
    np.testing.assert_allclose(
        anchors.selected(), centres / np.linalg.norm(centres, axis=1, keepdims=True), atol=1e-6
    )
    assert [len(part) for part in anchors.exemplars()] == [3, 2]


def test_draws_are_centres_or_one_exemplar_of_each_class():
    anchors, generator = _anchors(), torch.Generator().manual_seed(0)
    centres, seen, n_centres = anchors.selected(), [set(), set(), set()], 0
    for _ in range(2000):
        drawn = anchors.draw(0.4, generator)
        if torch.equal(drawn, centres):
            n_centres += 1
            continue
        for c, part in enumerate(anchors.exemplars()):
            (found,) = torch.nonzero((part == drawn[c]).all(dim=1)).flatten().tolist()
            seen[c].add(found)
    assert seen == [{0, 1, 2}, {0}, {0, 1, 2, 3, 4}]
    assert n_centres / 2000 == pytest.approx(0.6, abs=0.04)


@pytest.mark.parametrize(("probability", "centres"), [(0.0, True), (1.0, False)])
def test_the_probability_of_drawing_at_its_ends(probability, centres):
    anchors, generator = _anchors((4, 4)), torch.Generator().manual_seed(0)
    draws = [anchors.draw(probability, generator) for _ in range(20)]
    assert all(torch.equal(draw, anchors.selected()) is centres for draw in draws)


def test_a_seed_gives_the_same_draws():
    first, second = (
        [_anchors().draw(0.4, generator) for _ in range(10)]
        for generator in (torch.Generator().manual_seed(7), torch.Generator().manual_seed(7))
    )
    # One generator goes on from draw to draw.
    assert all(map(torch.equal, first, second))
    assert not all(torch.equal(draw, first[0]) for draw in first)


def test_classes_without_pictures_have_no_column():
    anchors = Anchors([torch.zeros(0, D), torch.randn(2, D), torch.zeros(0, D), torch.randn(1, D)])
    assert anchors.present.tolist() == [False, True, False, True]
    assert anchors.places.tolist() == [-1, 0, -1, 1]
    assert anchors.selected().shape == anchors.draw(1.0).shape == (2, D)


@pytest.mark.parametrize(
    "exemplars",
    [[], [torch.zeros(0, D)], [torch.zeros(2, D), torch.zeros(1, D + 1)], [torch.zeros(D)]],
)
def test_anchors_that_cannot_be_are_refused(exemplars):
    with pytest.raises(InputError, match="width"):
        Anchors(exemplars)


@pytest.mark.parametrize("shape", [(3,), (2, 4)])
def test_the_branch_is_the_formula(shape):
    branch, anchors = AnchorBranch(W, D, 7).eval(), _anchors()
    outputs = {letter: torch.randn(*shape, W) for letter in "FLAV"}
    found = branch(outputs, anchors.selected())
    centres = anchors.selected().numpy()
    for letter, logits in found.items():
        layers = branch.projections[letter]
        first, last = layers[0], layers[3]
        hidden = outputs[letter].numpy() @ first.weight.detach().numpy().T
        hidden = hidden + first.bias.detach().numpy()
        hidden = np.where(hidden > 0, hidden, np.exp(hidden) - 1)
        projected = hidden @ last.weight.detach().numpy().T + last.bias.detach().numpy()
        projected = projected / np.linalg.norm(projected, axis=-1, keepdims=True)
        np.testing.assert_allclose(logits.detach(), 100 * projected @ centres.T, atol=1e-4)


def test_the_branch_drops_out_in_training_alone():
    branch, anchors = AnchorBranch(W, D), _anchors().selected()
    outputs = {"F": torch.randn(3, W)}
    assert branch.projections["F"][2].p == 0.37442
    assert not torch.equal(branch(outputs, anchors)["F"], branch(outputs, anchors)["F"])
    branch.eval()
    torch.testing.assert_close(branch(outputs, anchors), branch(outputs, anchors))
