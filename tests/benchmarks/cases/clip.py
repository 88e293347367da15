"""One five-second clip: beside the peers and the floor, and with fewer modalities."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks import ours
from benchmarks.cases import Effort
from benchmarks.clips import LABELS, TEXT
from benchmarks.clips import clip as made_clip
from benchmarks.floors import clip_operations, decode, product_cases
from benchmarks.peers import FrameByFrame, HandBatched
from benchmarks.rounds import Case, Row, Table
from merclip.media import read_media
from merclip.preprocess.text import tokenize

PEERS = "peers and floor"
PEER_A = "(a) CLIPModel, frame by frame, prompts of 77 tokens"
PEER_A_SHORT = "(a) the same, prompts as long as the longest"
PEER_B = "(b) open_clip, batched by hand"
DECODE = "decode alone"
READ = "read alone, by merclip"
FLOOR = "(c) floor: decode, products"
N_SEGMENTS = 3
"""Pictures of sound of five seconds."""


def clip(effort: Effort) -> Table:
    """Measure ViT-B/32 with all modalities beside the peers and the floor."""
    path = made_clip()
    table = Table("clip", "One 5-second 720p clip, ViT-B/32, six labels, video, sound and text")
    cases = [
        Case(
            ours.shown(ours.VIT, dtype),
            partial(ours.kept(ours.VIT, dtype), video=path, text=TEXT),
        )
        for dtype in ours.dtypes()
    ]
    cases += [
        Case(PEER_A, partial(FrameByFrame(LABELS, "max_length"), path, TEXT)),
        Case(PEER_B, partial(HandBatched(LABELS), path, TEXT)),
        Case(DECODE, partial(decode, path)),
        Case(READ, partial(read_media, path)),
        *product_cases(operations()),
    ]
    if not effort.quick:
        short = FrameByFrame(LABELS, padding=True)
        cases.append(Case(PEER_A_SHORT, partial(short, path, TEXT)))
    table.add(PEERS, cases, effort.times(7, 2))
    table.rows.append(floor(table, PEERS))
    table.notes.append(
        f"A clip takes {operations() / 1e9:.0f} GFLOP in the towers, counted by hand; fusion, "
        "below 1 %, is left out. The floor is the faster decoding, and products of matrices "
        "of the towers' shapes in the precision that is fastest here."
    )
    table.notes.append(rates(table))
    return table


def modalities(effort: Effort) -> Table:
    """Measure one, two and three modalities."""
    path = made_clip()
    table = Table("modalities", "One 5-second 720p clip, by modality")
    given: dict[str, dict[str, Any]] = {
        "text": {"text": TEXT},
        "sound": {"audio": path},
        "video": {"video": path},
        "video and text": {"video": path, "text": TEXT},
        "video and sound": {"video": path, "audio": path},
        "video, sound and text": {"video": path, "audio": path, "text": TEXT},
    }
    for model, dtype in ((ours.MINI, None), (ours.VIT, ours.fast())):
        made = ours.classifier(model, dtype, use_video_audio=False)
        cases = [Case(name, partial(made, **media)) for name, media in given.items()]
        table.add(ours.shown(model, dtype), cases, effort.times(5))
    return table


def operations(n_segments: int = N_SEGMENTS) -> float:
    """Return floating-point operations of the clip in ViT-B/32."""
    return clip_operations(n_segments, len(tokenize(TEXT).ids))


def floor(table: Table, section: str) -> Row:
    """Return the faster decoding and the fastest products, round by round.

    Parameters
    ----------
    table : Table
        With both, for one clip.
    section : str
    """
    rows = [row for row in table.rows if row.section == section]
    products = [row for row in rows if row.case.startswith("products")]
    decoding = [row for row in rows if row.case in (DECODE, READ)]
    fastest = [min(kind, key=lambda row: row.median) for kind in (decoding, products)]
    values, cpu = (
        [sum(pair) for pair in zip(*parts, strict=True)]
        for parts in ([row.values for row in fastest], [row.cpu for row in fastest])
    )
    return Row(section, FLOOR, values, cpu)


def rates(table: Table) -> str:
    """Say how fast each kind of product was."""
    giga = operations() / 1e9
    rows = [row for row in table.rows if row.case.startswith("products")]
    found = ", ".join(f"{row.case.split(', ')[1]} {giga / row.median:.0f}" for row in rows)
    return f"Products of matrices, GFLOP/s: {found}."
