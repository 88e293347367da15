"""Measure how voices are heard of people, languages and recordings that no step has heard.

    python examples/train_mini/leave_one_corpus_out.py --data DATA --run RUN_DIR [--report FILE]

For each corpus in turn, the audio tower's projection and the decoder's audio layers are
trained on the four others, and tested on all of it with plain words as labels: as it is, and
adapted by unlabelled clips of each speaker. RUN_DIR holds what `train.py` left there (the
label encoder, Whisper's states of all clips). RAVDESS is tested without "calm", a class that
no other corpus has.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from experts import fit_experts  # noqa: E402
from fusion_data import Pools, left_out_voices, voice_versions  # noqa: E402
from fusion_step import train  # noqa: E402
from label_texts import LabelBank  # noqa: E402
from settings import ARCHITECTURE, CLASSES, NETWORK, SEED  # noqa: E402
from spaces import label_encoder  # noqa: E402
from speech import CORPORA, Voices, known_to, voices  # noqa: E402
from tools import cached, seed_everything  # noqa: E402
from torch import Tensor  # noqa: E402
from voice_step import embedded, run_check  # noqa: E402

from merclip.network import MERCLIP, build_towers  # noqa: E402
from merclip.network.adaptation import PRIOR_CLIPS, Adaptation  # noqa: E402
from merclip.preprocess import ClipFeatures, pad_features  # noqa: E402

N_STEPS = 500
COUNTS = (8, 16, 64)
"""Unlabelled clips of each speaker by which a tower is adapted."""
DRAWS = 3


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    bank = LabelBank(label_encoder(arguments.run), SEED)
    speech = voices(arguments.data, arguments.run)
    states = cached(
        arguments.run / "voice_check.pt", lambda: run_check(arguments.data, arguments.run)
    )
    found = {}
    for corpus in CORPORA:
        training = speech.where(known_to("research")(speech) & (speech.corpora != corpus))
        test = speech.where((speech.corpora == corpus) & (speech.version == 0))
        others = {name: state for name, state in states.items() if name != corpus}
        surely = Pools({"A": left_out_voices(others, speech)})
        found[corpus] = measure(states[corpus], training, test, surely, bank)
        print(corpus, found[corpus], flush=True)
    if arguments.report:
        arguments.report.write_text(json.dumps(found, indent=2), encoding="utf-8")
    print(table(found))


def measure(
    state: Mapping[str, Tensor], training: Voices, test: Voices, surely: Pools, bank: LabelBank
) -> dict[str, float]:
    """Return balanced accuracies: as it is, and adapted by so many clips of each speaker.

    `surely` holds other corpora as they sound to projections that lack them: they tell how
    sure to be.
    """
    network = listener(state, training, surely, bank)
    clean = training.where(training.version == 0)
    center = embedded(state, clean).mean(0)
    test = test.where(test.classes != CLASSES.index("calm"))
    rows, random = embedded(state, test), np.random.default_rng(SEED)
    present = np.unique(test.classes)
    words = bank.words([CLASSES[i] for i in present])

    scale = network.scales.softmax.exp().detach()
    logits = scale * fused(network, rows) @ words.T
    found = {"as it is": balanced_accuracy(logits, test, present)}
    for count in COUNTS:
        scores = []
        for _ in range(DRAWS):
            adapted = torch.zeros_like(logits)
            for speaker in np.unique(test.speakers):
                own = np.flatnonzero(test.speakers == speaker)
                chosen = random.choice(own, min(count, len(own)), replace=False)
                adapted[own] = adapt(network, rows, own, chosen, center, scale * words)
            scores.append(balanced_accuracy(adapted, test, present))
        found[f"{count} clips"] = float(np.mean(scores))
    found["ECE"] = calibration_error(logits.softmax(1), np.searchsorted(present, test.classes))
    return found


def listener(
    state: Mapping[str, Tensor], training: Voices, surely: Pools, bank: LabelBank
) -> MERCLIP:
    """Return a network whose decoder has learned to hear with a projection."""
    seed_everything(SEED)
    network = MERCLIP(NETWORK, build_towers(ARCHITECTURE), fusion_trained=True)
    network.label_encoder.tower.load_state_dict(bank.encoder.tower.state_dict())
    pools = Pools({"A": voice_versions(state, training)})
    experts = fit_experts(surely, bank.words(CLASSES))
    train(network, pools, [], bank, experts, n_steps=N_STEPS)
    return network.eval()


@torch.no_grad()
def fused(network: MERCLIP, rows: Tensor) -> Tensor:
    """Return the decoder's embeddings of clips of one window, shape (n, D)."""
    batches = rows[:, None].split(256)
    parts = [network.fuse(pad_features([ClipFeatures({"A": row}) for row in b])) for b in batches]
    return torch.cat(parts)


def calibration_error(probability: Tensor, truth: np.ndarray, n_bins: int = 15) -> float:
    """Return the expected calibration error."""
    sure, said = probability.max(1)
    right = said.numpy() == truth
    bins = (sure.numpy() * n_bins).astype(int).clip(0, n_bins - 1)
    gaps = [
        abs(right[bins == b].mean() - sure.numpy()[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


def adapt(
    network: MERCLIP,
    rows: Tensor,
    own: np.ndarray,
    chosen: np.ndarray,
    center: Tensor,
    words: Tensor,
) -> Tensor:
    """Return logits of a speaker's clips, after `adapt` to some of them."""
    share = len(chosen) / (len(chosen) + PRIOR_CLIPS)
    offset = share * (rows[chosen].mean(0) - center)
    kept = fused(network, rows[chosen] - offset)
    learned = Adaptation({"A": offset}, kept, len(chosen))
    shift = learned.label_shift((kept @ words.T).numpy(), range(len(words)))
    return fused(network, rows[own] - offset) @ words.T - torch.from_numpy(shift)


def balanced_accuracy(scores: Tensor, test: Voices, present: np.ndarray) -> float:
    """Return the mean recall of classes."""
    said = present[scores.argmax(1).numpy()]
    return float(np.mean([(said == c)[test.classes == c].mean() for c in present]))


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return a Markdown table with a row for each corpus and one for the mean."""
    columns = list(next(iter(found.values())))
    rows = [["left out", *columns]]
    rows += [[name, *(f"{one[c]:.3f}" for c in columns)] for name, one in found.items()]
    means = (np.mean([one[c] for one in found.values()]) for c in columns)
    rows.append(["mean", *(f"{mean:.3f}" for mean in means)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


if __name__ == "__main__":
    main()
