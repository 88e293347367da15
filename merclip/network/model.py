"""The whole MER-CLIP: encoders, decoder, label encoder and prediction."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from merclip.errors import InputError, LabelError
from merclip.network.anchors import FUSED, AnchorBranch
from merclip.network.backbone import Towers
from merclip.network.config import NetworkConfig
from merclip.network.decoder import CrossModalDecoder
from merclip.network.encoders import (
    AdaptedTable,
    ContextPrompt,
    ImageEncoder,
    TextEncoder,
    last_positions,
)
from merclip.network.evidence import Evidence, shifted
from merclip.network.whisper import is_frozen
from merclip.preprocess.config import VisionConfig
from merclip.preprocess.features import ClipFeatures, FeatureBatch
from merclip.preprocess.sample import Sample
from merclip.preprocess.text import tokenize
from merclip.preprocess.vision import normalize_frames

MAX_SCALE = 100.0
SIGMOID_SCALE = 10.0
ANCHOR_SHARE = 0.4
"""Ours: likelihood on FER2013's validation part is best there, with 1 to 35 pictures a label."""


class Encoders(Protocol):
    """An encoder for each modality letter."""

    def __getitem__(self, letter: str) -> Any: ...


class LogitScales(nn.Module):
    """What turns cosines into logits.

    One-of-n: ``scale * cosine``, from CLIP's learned scale, at most 100.
    Multi-label: ``scale * cosine + bias`` from a small scale; at CLIP's scale a
    sigmoid would start saturated for every label.
    """

    def __init__(self, clip_scale: float) -> None:
        super().__init__()
        self.softmax = nn.Parameter(torch.tensor(math.log(min(clip_scale, MAX_SCALE))))
        self.sigmoid = nn.Parameter(torch.tensor(math.log(SIGMOID_SCALE)))
        self.sigmoid_bias = nn.Parameter(torch.tensor(-SIGMOID_SCALE / 2))

    def forward(self, cosines: Tensor, multi_label: bool, fixed: bool = False) -> Tensor:
        """Scale cosines of shape (B, C) to logits in float32; a fixed scale learns nothing."""
        cosines = cosines.float()
        if multi_label:
            return cosines * self._factor(self.sigmoid) + self.sigmoid_bias
        return cosines * self._factor(self.softmax.detach() if fixed else self.softmax)

    @staticmethod
    def _factor(log_scale: Tensor) -> Tensor:
        return log_scale.clamp(max=math.log(MAX_SCALE)).exp()


class MERCLIP(nn.Module):
    """MER-CLIP (Song and Cho, arXiv 2506.00903).

    Parameters
    ----------
    config : NetworkConfig
    towers : Towers
        CLIP's towers. Language, vision and audio encoders are copies of them;
        the label encoder keeps the text tower, frozen.
    fusion_trained : bool
        Whether the decoder has learned anything. Before that, clips can only
        be compared with labels by their global text and video embeddings.
    """

    def __init__(
        self, config: NetworkConfig, towers: Towers, *, fusion_trained: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        self.fusion_trained = fusion_trained
        self.encoders = _build_encoders(config, towers)
        self.label_encoder = TextEncoder(towers.text).requires_grad_(False)
        self.query_prompt = ContextPrompt(config.n_query_contexts, _text_width(towers.text))
        self.label_prompt = (
            self.query_prompt
            if config.share_contexts
            else ContextPrompt(config.n_label_contexts, _text_width(towers.text))
        )
        self.decoder, self.concatenation = _build_fusion(config)
        self.head: nn.Linear | None = None
        if not config.use_label_encoder and config.n_classes:
            self.head = nn.Linear(config.width, config.n_classes)
        self.scales = LogitScales(towers.logit_scale)
        self.anchor_branch: AnchorBranch | None = None
        if config.anchor_hidden:
            self.set_anchor_branch(config.anchor_hidden)
        self.evidence: Evidence | None = None
        if config.evidence:
            self.set_evidence(True)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.scales.softmax.device

    def encode(
        self,
        samples: Sequence[Sample],
        vision: VisionConfig,
        encoders: Encoders | None = None,
    ) -> list[dict[str, Tensor]]:
        """Run the encoders on several clips at once.

        Parameters
        ----------
        samples : sequence of Sample
        vision : VisionConfig
            Mean and deviation of frames.
        encoders : Encoders, optional
            Run in place of the network's own, such as copies in another precision.

        Returns
        -------
        list of dict from modality letter to Tensor of shape (n, D)
            One for each sample: its tokens, frames and segments.
        """
        rows: list[dict[str, Tensor]] = [{} for _ in samples]
        for letter in self.config.fusion:
            parts = [sample.parts().get(letter) for sample in samples]
            indices = [i for i, part in enumerate(parts) if part is not None]
            present = [part for part in parts if part is not None]
            if not present:
                continue
            for index, embeddings in zip(
                indices, self._encode_part(letter, present, vision, encoders), strict=True
            ):
                rows[index][letter] = embeddings
        return rows

    def global_embeddings(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """Return each modality's global embedding, shape (B, D).

        Language: the end token. Vision and audio: the mean over time. Zero for
        a clip that lacks the modality.
        """
        found = {}
        for letter, sequence in batch.sequences.items():
            mask = batch.masks[letter]
            if letter == "L":
                ends = last_positions(sequence, mask.sum(dim=1).clamp_min(1))
                found[letter] = ends * batch.present(letter)[:, None]
            else:
                weights = mask / mask.sum(dim=1, keepdim=True).clamp_min(1)
                found[letter] = (sequence * weights[..., None]).sum(dim=1)
        return found

    def fuse(
        self,
        batch: FeatureBatch,
        query: Tensor | None = None,
        offsets: Mapping[str, Tensor] | None = None,
        typical: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the fused embedding of each clip, shape (B, D), of norm 1.

        Of clips that show nothing that the network knows the norm is less, so that they are
        near no label.

        Parameters
        ----------
        batch : FeatureBatch
        query : Tensor, optional
            What `query` returned; without it the query is encoded anew.
        offsets : mapping from modality letter to Tensor of shape (D,), optional
            Taken off the modality's embeddings.
        typical : mapping from modality letter to Tensor of shape (D,), optional
            For a fusion that is not trained: the mean embedding of typical clips, which
            is taken off. What is left is of any norm.
        """
        if self.evidence is None:
            return self._fuse(shifted(batch, offsets), query, typical)
        batch, trust = self.evidence.weigh(batch)
        return self._fuse(shifted(batch, offsets), query, typical) * trust[:, None]

    def _fuse(
        self, batch: FeatureBatch, query: Tensor | None, typical: Mapping[str, Tensor] | None
    ) -> Tensor:
        used = not self.fusion_trained or self.decoder is None or self.decoder.include_global
        globals_ = self.global_embeddings(batch) if used else {}
        if not self.fusion_trained and typical is not None:
            return self._mean_of_text_and_video(batch, globals_, typical).float()
        if not self.fusion_trained:
            fused = self._mean_of_text_and_video(batch, globals_, {})
        elif self.decoder is not None:
            fused = self._decode(batch, globals_, query)
        else:
            fused = self._concatenate(batch, globals_)
        return functional.normalize(fused.float(), dim=-1)

    def encode_labels(self, texts: Sequence[Tensor]) -> Tensor:
        """Embed label texts by the frozen label encoder.

        Parameters
        ----------
        texts : sequence of Tensor of shape (n_tokens,), int64

        Returns
        -------
        Tensor of shape (n, D), float32, of norm 1
        """
        # Contexts that nobody has trained yet would only disturb CLIP's text space.
        contexts = self.label_prompt.vectors if self.fusion_trained else None
        ends: Tensor = self.label_encoder.ends(texts, contexts)
        return functional.normalize(ends, dim=-1)

    def logits(
        self, fused: Tensor, labels: Tensor | None, multi_label: bool, fixed_scale: bool = False
    ) -> Tensor:
        """Compare fused embeddings with labels.

        Parameters
        ----------
        fused : Tensor of shape (B, D)
        labels : Tensor of shape (C, D), or None without a label encoder
        multi_label : bool
        fixed_scale : bool
            Whether the scale learns nothing from this comparison (one-of-n).

        Returns
        -------
        Tensor of shape (B, C), float32
        """
        if self.head is not None:
            scores: Tensor = self.head(fused.to(self.head.weight.dtype)).float()
            return scores
        if labels is None:
            raise LabelError("Labels must be encoded before clips are compared with them.")
        cosines = fused.float() @ labels.float().T
        scaled: Tensor = self.scales(cosines, multi_label, fixed_scale)
        return scaled

    def anchor_logits(self, fused: Tensor, anchors: Tensor) -> Tensor:
        """Compare fused embeddings with visual anchors.

        A trained branch projects them first. Without one they are compared as they are,
        at a share of the scale of words, for pictures are more alike than words.

        Parameters
        ----------
        fused : Tensor of shape (B, D), of norm 1
        anchors : Tensor of shape (C, D), of norm 1

        Returns
        -------
        Tensor of shape (B, C), float32
        """
        anchors = anchors.to(fused.device)
        if self.anchor_branch is not None:
            compared: Tensor = self.anchor_branch({FUSED: fused.float()}, anchors)[FUSED]
            return compared / self.anchor_branch.temperature
        scaled: Tensor = self.scales(fused.float() @ anchors.T, False, True)
        return ANCHOR_SHARE * scaled

    @property
    def max_label_tokens(self) -> int:
        """Tokens that a label may have, start and end included."""
        return self.config.context_length - len(self.label_prompt)

    def set_classes(self, n_classes: int) -> None:
        """Start a fresh linear layer over a fixed label set ("w/o LE")."""
        self.config = self.config.with_classes(n_classes)
        self.head = nn.Linear(self.config.width, n_classes).to(self.device)

    def set_anchor_branch(self, hidden: int) -> None:
        """Start a fresh branch that compares clips with visual anchors; 0 takes it away."""
        self.config = self.config.with_anchor_branch(hidden)
        width, letters = self.config.width, FUSED + self.config.fusion
        branch = AnchorBranch(width, width, hidden, outputs=letters) if hidden else None
        self.anchor_branch = None if branch is None else branch.to(self.device)

    def known_words(self) -> Tensor | None:
        """Return which tokens the language encoder learned from, if it keeps them apart."""
        if "L" not in self.encoders:
            return None
        table = cast(Any, self.encoders["L"]).tower.token_embedding
        return table.learned.cpu() if isinstance(table, AdaptedTable) else None

    def set_evidence(self, known: bool) -> None:
        """Start afresh with what embeddings look like; False takes it away."""
        self.config = self.config.with_evidence(known)
        made = Evidence(self.config.width, self.config.fusion) if known else None
        self.evidence = None if made is None else made.to(self.device).requires_grad_(False)

    def take_in(self, clips: Sequence[ClipFeatures], anew: bool) -> None:
        """Learn what clips that were trained on look like to the encoders, perhaps anew."""
        if anew:
            self.set_evidence(True)
        cast(Evidence, self.evidence).take_in(clips, centers=anew)

    @property
    def tower_dtype(self) -> torch.dtype:
        """Precision in which the towers run."""
        return next(self.label_encoder.parameters()).dtype

    def set_tower_dtype(self, dtype: torch.dtype) -> None:
        """Run the towers in another precision; fusion and logits stay in float32."""
        self.encoders.to(dtype)
        self.label_encoder.to(dtype)

    def head_parameters(self) -> list[nn.Parameter]:
        """Return what `tune="head"` trains: fusion, prompts, scales, classes, anchors' branch."""
        encoders = {id(parameter) for parameter in self.encoders.parameters()}
        kept = [self.label_encoder, *([] if self.evidence is None else [self.evidence])]
        frozen = {id(parameter) for module in kept for parameter in module.parameters()}
        return [p for p in self.parameters() if id(p) not in encoders | frozen]

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the weights of the three encoders, which `tune="full"` trains too."""
        kept = [self.label_encoder, *(m for m in self.encoders.modules() if is_frozen(m))]
        frozen = {id(parameter) for module in kept for parameter in module.parameters()}
        return [p for p in self.encoders.parameters() if id(p) not in frozen]

    def _encode_part(
        self,
        letter: str,
        parts: list[Tensor],
        vision: VisionConfig,
        encoders: Encoders | None,
    ) -> list[Tensor]:
        encoder: Any = (self.encoders if encoders is None else encoders)[letter]
        if letter == "L":
            rows: list[Tensor] = encoder.rows(parts)
            return rows
        limit = self.config.max_frames if letter == "V" else self.config.max_segments
        parts = [part[:limit] for part in parts]
        if len({part.shape[1:] for part in parts}) > 1:
            return self._encode_by_shape(letter, parts, vision, encoders)
        joined = torch.cat(parts).to(self.device)
        if letter == "V":
            prepare = partial(normalize_frames, config=vision, dtype=encoder.dtype)
            embeddings = encoder(joined, prepare).float()
            if vision.mirror:
                embeddings = (embeddings + encoder(joined.flip(-1), prepare).float()) / 2
        else:
            draw = _as_it_is if self.config.hears_windows else _three_channels
            embeddings = encoder(joined, partial(draw, dtype=encoder.dtype)).float()
        ends = list(accumulate(len(part) for part in parts))
        return list(embeddings.tensor_split(ends[:-1]))

    def _encode_by_shape(
        self,
        letter: str,
        parts: list[Tensor],
        vision: VisionConfig,
        encoders: Encoders | None,
    ) -> list[Tensor]:
        """Encode clips whose windows of sound are as long as each other's together."""
        by_shape: dict[torch.Size, list[int]] = {}
        for index, part in enumerate(parts):
            by_shape.setdefault(part.shape[1:], []).append(index)
        found: dict[int, Tensor] = {}
        for indices in by_shape.values():
            alike = [parts[index] for index in indices]
            rows = self._encode_part(letter, alike, vision, encoders)
            found.update(zip(indices, rows, strict=True))
        return [found[index] for index in range(len(parts))]

    def query(self) -> Tensor | None:
        """Return what the decoder starts from, shape (1, n, D); None where none is at work."""
        if self.decoder is None or not self.fusion_trained:
            return None
        tokens = tokenize(self.config.query or "", self.config.context_length).ids
        embeddings, _ = self.label_encoder([tokens], self.query_prompt.vectors)
        used = embeddings if self.config.all_query_tokens else embeddings[:, -1:]
        return cast(Tensor, used.float())

    def _decode(
        self, batch: FeatureBatch, globals_: dict[str, Tensor], query: Tensor | None
    ) -> Tensor:
        assert self.decoder is not None
        start = cast(Tensor, self.query() if query is None else query)
        fused: Tensor = self.decoder(start.expand(batch.size, -1, -1), batch, globals_)
        return fused[:, -1]

    def _concatenate(self, batch: FeatureBatch, globals_: dict[str, Tensor]) -> Tensor:
        assert self.concatenation is not None
        empty = torch.zeros(batch.size, self.config.width, device=self.device)
        parts = [globals_.get(letter, empty) for letter in sorted(self.config.fusion)]
        fused: Tensor = self.concatenation(torch.cat(parts, dim=-1))
        return fused

    def _mean_of_text_and_video(
        self,
        batch: FeatureBatch,
        globals_: Mapping[str, Tensor],
        typical: Mapping[str, Tensor],
    ) -> Tensor:
        total = torch.zeros(batch.size, self.config.width, device=self.device)
        count = torch.zeros(batch.size, 1, device=self.device)
        for letter in sorted(set(globals_) & set("LV")):
            has = batch.present(letter)[:, None]
            unit = functional.normalize(globals_[letter], dim=-1) - typical.get(letter, 0.0)
            total, count = total + unit * has, count + has
        return total / count.clamp_min(1)


def _three_channels(segments: Tensor, dtype: torch.dtype) -> Tensor:
    alike = segments.ndim == 3
    return (segments[:, None].expand(-1, 3, -1, -1) if alike else segments).to(dtype)


def _as_it_is(segments: Tensor, dtype: torch.dtype) -> Tensor:
    return segments.to(dtype)


def _build_encoders(config: NetworkConfig, towers: Towers) -> nn.ModuleDict:
    encoders = nn.ModuleDict()
    for letter in sorted(config.fusion):
        if letter == "L":
            encoders[letter] = TextEncoder(language_tower(config, towers.text))
        else:
            tower = towers.audio if letter == "A" and towers.audio is not None else towers.visual
            encoders[letter] = ImageEncoder(copy.deepcopy(tower))
    return encoders.requires_grad_(True)


def language_tower(config: NetworkConfig, text: nn.Module) -> nn.Module:
    """Return a trainable copy of the text tower, whose token table may be shared."""
    if not config.share_token_table:
        return copy.deepcopy(text).requires_grad_(True)
    table = cast(nn.Embedding, text.token_embedding)
    tower = copy.deepcopy(text, {id(table): table})
    if config.token_rank:
        tower.token_embedding = AdaptedTable(table, config.token_rank)
    tower.requires_grad_(True)
    table.requires_grad_(False)
    return tower


def _build_fusion(config: NetworkConfig) -> tuple[CrossModalDecoder | None, nn.Linear | None]:
    if not config.use_decoder:
        return None, nn.Linear(len(config.fusion) * config.width, config.width)
    if config.width % config.decoder.heads:
        raise InputError(
            f"The embedding width {config.width} is not divisible by "
            f"{config.decoder.heads} attention heads; set decoder={{'heads': ...}}."
        )
    lengths = {"V": config.max_frames, "A": config.max_segments}
    return CrossModalDecoder(config.width, config.fusion, lengths, config.decoder), None


def _text_width(text: nn.Module) -> int:
    table = cast(nn.Embedding, text.token_embedding)
    return table.embedding_dim
