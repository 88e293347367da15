"""Whisper's encoder as an audio tower: windows of sound as long as they are, to embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from merclip.errors import CheckpointError, InputError
from merclip.network.weights import copy_strictly

KEYS = {"tower", "width", "heads", "blocks", "read", "pool", "n_mels", "n_positions", "frozen"}
_PREFIXES = ("model.encoder.", "encoder.", "model.")
"""What stands before the encoder's names in files of a whole Whisper."""
_SPREAD = 1e-5
"""Least variance of a state over time, so that its root has a gradient."""


class WhisperBlock(nn.Module):
    """Self-attention and a feed-forward part, each behind a norm, in transformers' names."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = WhisperAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, states: Tensor) -> Tensor:
        """Return states of the same shape (n, length, width)."""
        states = states + self.self_attn(self.self_attn_layer_norm(states))
        hidden = functional.gelu(self.fc1(self.final_layer_norm(states)))
        return cast(Tensor, states + self.fc2(hidden))


class WhisperAttention(nn.Module):
    """Attention of all places to all; keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        """Return what each place takes from all, shape (n, length, width)."""
        asked, known, given = (
            layer(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        taken = functional.scaled_dot_product_attention(asked, known, given)
        return cast(Tensor, self.out_proj(taken.transpose(1, 2).flatten(2)))


class WhisperEncoder(nn.Module):
    """The first blocks of Whisper's encoder (Radford et al., arXiv 2212.04356).

    Names, shapes and results are those of transformers' ``WhisperEncoder``, but that sound
    may be shorter than 30 s: positions are cut to its length.

    Parameters
    ----------
    width, heads, blocks : int
    n_mels : int
    n_positions : int
        Longest input, in steps of 20 ms (Whisper: 1,500, which is 30 s).
    """

    def __init__(
        self, width: int, heads: int, blocks: int, n_mels: int = 80, n_positions: int = 1500
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"Whisper's width {width} is not divisible by {heads} heads.")
        self.conv1 = nn.Conv1d(n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(n_positions, width)
        self.layers = nn.ModuleList(WhisperBlock(width, heads) for _ in range(blocks))
        self.frozen = False

    def forward(self, mel: Tensor) -> list[Tensor]:
        """Return the states after the convolutions and after each block.

        Parameters
        ----------
        mel : Tensor of shape (n, n_times, n_mels)
            Log-mel frames of 10 ms as Whisper takes them; times beyond the last position
            are cut off.

        Returns
        -------
        list of Tensor of shape (n, ceil(n_times / 2), width)
        """
        positions = self.embed_positions.weight
        mel = mel[:, : 2 * len(positions)].transpose(1, 2)
        states = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        found = [states + positions[: states.shape[1]]]
        for block in self.layers:
            found.append(block(found[-1]))
        return found


class WhisperTower(nn.Module):
    """Whisper's encoder, pooled over time and mapped to the embedding space.

    Parameters
    ----------
    embed_dim : int
        Dimensions of the embedding space.
    width, heads : int
        Whisper's: 384 and 6 (tiny), 512 and 8 (base), 768 and 12 (small), ...
    blocks : int
        How many of its blocks are there.
    read : sequence of int
        After which of them states are taken, from 1 on.
    pool : {"mean", "moments"}
        How states over time become one vector: their mean, or mean and deviation.
    n_mels, n_positions : int
        As in `WhisperEncoder`.
    frozen : bool
        Whisper's own weights are not trained; the projection is.

    Notes
    -----
    What Whisper learned from 680,000 hours of speech carries over to voices and languages
    that an emotion corpus lacks; its early blocks know how something is said, the late ones
    what. Pooling and projection are ours. The projection is linear, so that taking a mean
    embedding off is taking a mean of the pooled states off (`EmotionClassifier.adapt`).
    """

    def __init__(
        self,
        embed_dim: int,
        width: int = 512,
        heads: int = 8,
        blocks: int = 3,
        read: Sequence[int] = (2, 3),
        pool: Literal["mean", "moments"] = "moments",
        n_mels: int = 80,
        n_positions: int = 1500,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = WhisperEncoder(width, heads, blocks, n_mels, n_positions)
        self.read, self.pool = tuple(read), pool
        self.projection = nn.Linear(self.pooled_width, embed_dim)
        self.encoder.frozen = frozen

    @property
    def pooled_width(self) -> int:
        """Dimensions of the pooled states."""
        width = self.encoder.embed_positions.embedding_dim
        return len(self.read) * (2 if self.pool == "moments" else 1) * width

    def features(self, mel: Tensor) -> Tensor:
        """Return pooled states, shape (n, pooled_width), of windows (n, n_times, n_mels)."""
        states = self.encoder(mel)
        parts = []
        for number in self.read:
            mean = states[number].mean(1)
            parts.append(mean)
            if self.pool == "moments":
                variance = (states[number] - mean[:, None]).square().mean(1)
                parts.append((variance + _SPREAD).sqrt())
        return torch.cat(parts, dim=1)

    def forward(self, mel: Tensor) -> Tensor:
        """Return embeddings, shape (n, embed_dim), of windows (n, n_times, n_mels)."""
        return cast(Tensor, self.projection(self.features(mel)))


def is_frozen(module: nn.Module) -> bool:
    """Return whether a module is an encoder of Whisper's that is not to be trained."""
    return isinstance(module, WhisperEncoder) and module.frozen


def is_whisper(audio: Mapping[str, Any]) -> bool:
    """Return whether an architecture's ``audio_cfg`` asks for this tower."""
    return audio.get("tower") == "whisper"


def build_whisper(embed_dim: int, audio: Mapping[str, Any]) -> WhisperTower:
    """Build the tower of an ``audio_cfg``.

    Raises
    ------
    InputError
        An unknown key, or a value that the tower does not have.
    """
    unknown = sorted(set(audio) - KEYS)
    if unknown:
        raise InputError(f"audio_cfg of a Whisper tower has unknown keys {unknown}.")
    if audio.get("pool", "moments") not in ("mean", "moments"):
        raise InputError(f"pool of a Whisper tower is 'mean' or 'moments', not {audio['pool']!r}.")
    blocks, read = audio.get("blocks", 3), audio.get("read", (2, 3))
    if not read or not all(isinstance(one, int) and 0 <= one <= blocks for one in read):
        raise InputError(f"read names blocks of a Whisper tower, 0 to {blocks}, not {read!r}.")
    return WhisperTower(embed_dim, **{key: audio[key] for key in audio if key != "tower"})


def whisper_architecture(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Return the ``audio_cfg`` for a Whisper: half of its blocks, of which the last two are read.

    Later blocks know what is said, and lose how (measured with Whisper base).

    Parameters
    ----------
    tensors : mapping from str to Tensor
        Its weights, which tell all but the number of heads.
    config : mapping
        Its ``config.json``; without it heads are 64 wide, as in every Whisper of OpenAI's.
    where : str
        For messages.

    Raises
    ------
    CheckpointError
        These are no weights of Whisper's encoder.
    """
    own = _encoder_names(tensors)
    try:
        width, n_mels, _ = own["conv1.weight"].shape
        n_positions = len(own["embed_positions.weight"])
    except (KeyError, ValueError):
        raise CheckpointError(f"{where} holds no weights of Whisper's encoder.") from None
    there = len({name.split(".")[1] for name in own if name.startswith("layers.")})
    blocks = max(1, int(config.get("encoder_layers", there)) // 2)
    return {
        "tower": "whisper",
        "width": width,
        "heads": int(config.get("encoder_attention_heads", width // 64)),
        "blocks": blocks,
        "read": [blocks - 1, blocks] if blocks > 1 else [1],
        "n_mels": n_mels,
        "n_positions": n_positions,
    }


def _encoder_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder's tensors by their names within it, whatever stands before these."""
    found = {}
    for name, tensor in tensors.items():
        prefix = next((p for p in _PREFIXES if name.startswith(p)), "")
        found[name.removeprefix(prefix)] = tensor
    return found


def load_whisper(encoder: WhisperEncoder, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy the encoder's weights from tensors with transformers' names.

    Blocks beyond those of `encoder`, the last norm and the decoder are left out, and so are
    positions beyond its own.

    Raises
    ------
    CheckpointError
        A weight is missing or has another shape; each is named.
    """
    expected = encoder.state_dict(keep_vars=True)
    named = _encoder_names(tensors)
    found = {name: named[name] for name in expected if name in named}
    positions = found.get("embed_positions.weight")
    if positions is not None:
        found["embed_positions.weight"] = positions[: len(encoder.embed_positions.weight)]
    if not found:
        raise CheckpointError(f"{where} holds no weights of Whisper's encoder.")
    copy_strictly(expected, found, f"The weights in {where} do not fit this Whisper encoder")
