"""VEGA's backbone: a transformer over the utterances of a dialogue."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from merclip.errors import InputError
from merclip.network.anchors import FUSED, AnchorBranch, Anchors
from merclip.network.attention import Attention

MODALITY_LETTERS = "LAV"
MAX_TURNS = 4096
"""Utterances of one dialogue. Attention's memory grows with the square."""


@dataclass(frozen=True)
class DialogueConfig:
    """What a dialogue network is.

    The defaults are the settings that VEGA released for IEMOCAP.

    Parameters
    ----------
    widths : mapping from modality letter to int
        Dimensions of the utterances' features: "L" text, "A" audio, "V" video.
    n_classes : int
    n_speakers : int
    hidden : int
    heads : int
        Divides `hidden`.
    dropout : float
        Of streams and in transformers.
    classifier_dropout, projection_dropout : float
        Of the classifiers, and of the projections to anchors.
    causal : bool
        Whether an utterance takes in only itself and what was said before.
    context : bool
        False lets each utterance see itself alone, for comparison.
    """

    widths: Mapping[str, int] = field(default_factory=dict)
    n_classes: int = 2
    n_speakers: int = 2
    hidden: int = 768
    heads: int = 4
    dropout: float = 0.53
    classifier_dropout: float = 0.3963
    projection_dropout: float = 0.37442
    causal: bool = False
    context: bool = True

    def __post_init__(self) -> None:
        if not self.widths or set(self.widths) - set(MODALITY_LETTERS):
            raise InputError(f"widths are of some of L, A and V, got {sorted(self.widths)}.")
        counts = [*self.widths.values(), self.n_classes, self.n_speakers, self.hidden, self.heads]
        if min(counts) < 1 or self.hidden % self.heads or self.hidden % 2:
            raise InputError(
                f"hidden is an even number that heads divide, got {self.hidden} and {self.heads}; "
                "widths, classes and speakers are at least 1."
            )
        for name in ("dropout", "classifier_dropout", "projection_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} lies in [0, 1), got {getattr(self, name)!r}.")

    @property
    def letters(self) -> str:
        """The modalities, in VEGA's order."""
        return "".join(letter for letter in MODALITY_LETTERS if letter in self.widths)


class DialogueBatch(NamedTuple):
    """Padded dialogues.

    Attributes
    ----------
    features : dict from modality letter to Tensor of shape (B, n, width)
    speakers : Tensor of shape (B, n), int64
        `n_speakers` for padding.
    mask : Tensor of shape (B, n), bool
        True where there is an utterance.
    """

    features: dict[str, Tensor]
    speakers: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> DialogueBatch:
        """Return the batch on another device."""
        features = {letter: part.to(device) for letter, part in self.features.items()}
        return DialogueBatch(features, self.speakers.to(device), self.mask.to(device))


class DialogueOutput(NamedTuple):
    """What a dialogue network gives, by "L", "A", "V" and "F", the fused one.

    Attributes
    ----------
    representations : dict from letter to Tensor of shape (B, n, hidden)
    logits : dict from letter to Tensor of shape (B, n, n_classes)
    """

    representations: dict[str, Tensor]
    logits: dict[str, Tensor]


class TurnTransformer(nn.Module):
    """One layer in which the utterances of a target stream take in those of a source.

    No norm stands before attention, as in VEGA's first and only layer.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, target: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """Return the updated target stream, shape (B, n, H).

        Parameters
        ----------
        target, source : Tensor of shape (B, n, H)
        mask : Tensor of shape (B, 1, 1 or n, n), bool
            True where a query takes in a key.
        """
        target = target + self.dropout(self.attention(target, source, mask))
        inner = functional.gelu(self.inner(self.norm(target)), approximate="tanh")
        updated: Tensor = target + self.dropout(self.outer(self.dropout(inner)))
        return updated


class DialogueNetwork(nn.Module):
    """SDT's backbone as VEGA has it, over any of the three modalities.

    Parameters
    ----------
    config : DialogueConfig
    anchors : Anchors, optional
        Adds VEGA's branch, which compares with anchors what was made of utterances.

    Attributes
    ----------
    means, scales : ParameterDict
        What features are shifted and multiplied by; 0 and 1 unless set.
    """

    def __init__(self, config: DialogueConfig, anchors: Anchors | None = None) -> None:
        super().__init__()
        self.config = config
        letters, hidden, dropout = config.letters, config.hidden, config.dropout
        pairs = [target + source for target in letters for source in letters]
        self.means, self.scales = nn.ParameterDict(), nn.ParameterDict()
        for letter in letters:
            width = config.widths[letter]
            self.means[letter] = nn.Parameter(torch.zeros(width), requires_grad=False)
            self.scales[letter] = nn.Parameter(torch.ones(width), requires_grad=False)
        self.projections = nn.ModuleDict(
            {letter: nn.Linear(config.widths[letter], hidden, bias=False) for letter in letters}
        )
        self.speakers = nn.Embedding(config.n_speakers + 1, hidden, padding_idx=config.n_speakers)
        self.dropout = nn.Dropout(dropout)
        self.transformers = nn.ModuleDict(
            {pair: TurnTransformer(hidden, config.heads, dropout) for pair in pairs}
        )
        self.gates = nn.ModuleDict({pair: nn.Linear(hidden, hidden, bias=False) for pair in pairs})
        self.joints = nn.ModuleDict(
            {letter: nn.Linear(len(letters) * hidden, hidden) for letter in letters}
        )
        self.fusion = nn.Linear(hidden, hidden, bias=False)
        self.classifiers = nn.ModuleDict(
            {letter: _classifier(config) for letter in (*letters, FUSED)}
        )
        self.anchors, self.branch = anchors, _branch(config, anchors)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.fusion.weight.device

    def forward(self, batch: DialogueBatch) -> DialogueOutput:
        """Take in whole dialogues.

        Parameters
        ----------
        batch : DialogueBatch
        """
        states = self._states(batch)
        found = {letter: self._representation(letter, states, batch.mask) for letter in states}
        found[FUSED] = self._fuse(found)
        logits = {letter: self.classifiers[letter](state) for letter, state in found.items()}
        return DialogueOutput(found, logits)

    def anchor_logits(self, output: DialogueOutput, selected: Tensor) -> dict[str, Tensor]:
        """Compare with anchors what was made of utterances.

        Parameters
        ----------
        output : DialogueOutput
        selected : Tensor of shape (c, D)
            `Anchors.selected`, or in training `Anchors.draw`.

        Returns
        -------
        dict from letter to Tensor of shape (B, n, c)
        """
        assert self.branch is not None
        found: dict[str, Tensor] = self.branch(output.representations, selected)
        return found

    def with_anchors(self, anchors: Anchors) -> DialogueNetwork:
        """Return a network with other anchors that shares every weight."""
        other = copy.copy(self)
        other._modules = {**self._modules, "anchors": anchors.to(self.device)}
        return other

    def set_standard(self, letter: str, mean: Tensor, deviation: Tensor) -> None:
        """Bring features of a modality to mean 0 and deviation 1 from now on."""
        self.means[letter].data.copy_(mean)
        self.scales[letter].data.copy_(1 / deviation.clamp_min(1e-6))

    def _states(self, batch: DialogueBatch) -> dict[str, Tensor]:
        """Return each modality's stream: features, positions and speakers."""
        n_turns = batch.mask.shape[1]
        if n_turns > MAX_TURNS:
            raise InputError(
                f"A dialogue has at most {MAX_TURNS:,} utterances, got {n_turns:,}: cut it "
                "into scenes."
            )
        shared = positions(n_turns, self.config.hidden, self.device) + self.speakers(batch.speakers)
        return {letter: self._projected(letter, batch) + shared for letter in self.config.letters}

    def _projected(self, letter: str, batch: DialogueBatch) -> Tensor:
        given = batch.features[letter]
        standard = (given - self.means[letter]) * self.scales[letter]
        # What an utterance lacks stays 0, whatever the mean of the others.
        lacks = ~present(given)[..., None]
        projected: Tensor = self.projections[letter](standard.masked_fill(lacks, 0.0))
        return projected

    def _representation(self, target: str, states: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        allowed = self._allowed(mask)
        parts = []
        for source, stream in states.items():
            asked = self.dropout(states[target])
            known = asked if source == target else self.dropout(stream)
            taken = self.transformers[target + source](asked, known, allowed)
            parts.append(taken * torch.sigmoid(self.gates[target + source](taken)))
        joined: Tensor = self.joints[target](torch.cat(parts, dim=-1))
        return joined

    def _allowed(self, mask: Tensor) -> Tensor:
        """Return which utterances each takes in: shape (B, 1, 1 or n, n)."""
        allowed = mask[:, None, None]
        if self.config.context and not self.config.causal:
            return allowed
        square = torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool, device=mask.device)
        if not self.config.context:
            # Also padding sees itself: of no key at all attention gives NaN.
            return torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)[None, None]
        return allowed & square.tril()

    def _fuse(self, representations: Mapping[str, Tensor]) -> Tensor:
        stacked = torch.stack([representations[letter] for letter in self.config.letters])
        fused: Tensor = (self.fusion(stacked).softmax(dim=0) * stacked).sum(dim=0)
        return fused


def present(features: Tensor) -> Tensor:
    """Return which utterances have a modality, shape (B, n): those whose features are not 0."""
    return (features != 0).any(dim=-1)


def positions(n_turns: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Return sinusoidal encodings of positions, shape (n_turns, width)."""
    places = torch.arange(n_turns, device=device, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    return torch.stack([(places * rates).sin(), (places * rates).cos()], dim=-1).flatten(1)


def pad_dialogues(
    features: Sequence[Mapping[str, Tensor]], speakers: Sequence[Tensor], n_speakers: int
) -> DialogueBatch:
    """Pad dialogues to the longest.

    Parameters
    ----------
    features : sequence of mapping from letter to Tensor of shape (n_i, width)
    speakers : sequence of Tensor of shape (n_i,), int64
    n_speakers : int
        What padding has as its speaker.
    """
    pad = nn.utils.rnn.pad_sequence
    lengths = torch.tensor([len(row) for row in speakers])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    padded = {
        letter: pad([parts[letter] for parts in features], batch_first=True)
        for letter in features[0]
    }
    rows = pad(list(speakers), batch_first=True, padding_value=n_speakers)
    return DialogueBatch(padded, rows, mask)


def _classifier(config: DialogueConfig) -> nn.Sequential:
    hidden, dropout = config.hidden, config.classifier_dropout
    return nn.Sequential(
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, config.n_classes),
    )


def _branch(config: DialogueConfig, anchors: Anchors | None) -> AnchorBranch | None:
    if anchors is None:
        return None
    return AnchorBranch(
        config.hidden,
        anchors.features.shape[1],
        outputs=(*config.letters, FUSED),
        dropout=config.projection_dropout,
    )
