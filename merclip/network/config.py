"""What a network is: every switch that the paper's tables vary, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from merclip.errors import InputError
from merclip.network.whisper import is_whisper
from merclip.preprocess.config import from_mapping


@dataclass(frozen=True)
class DecoderConfig:
    """The cross-modal decoder (CMD).

    The paper gives three hidden layers, width 512 and 8 heads; the block
    itself (pre-norm cross-attention and feed-forward, both residual) is ours.

    Parameters
    ----------
    depth : int
        Layers for each modality; the paper's "three hidden layers" are one
        layer for each of three modalities.
    heads : int
    mlp_ratio : float
    dropout : float
    include_global : bool
        Append each modality's global embedding to its keys.

    Examples
    --------
    >>> from merclip.network import DecoderConfig
    >>> DecoderConfig(depth=3).heads
    8
    """

    depth: int = 1
    heads: int = 8
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    include_global: bool = False


@dataclass(frozen=True)
class NetworkConfig:
    """The whole MER-CLIP.

    Parameters
    ----------
    backbone : dict
        CLIP's architecture as in an open_clip JSON file: ``embed_dim``,
        ``vision_cfg``, ``text_cfg`` and optionally ``quick_gelu``. Ours beside it:
        a residual tower in the place of CLIP's (``"tower": "residual"``), and an
        ``audio_cfg`` for an audio tower that is not a copy of the image tower: a residual
        one, or Whisper's encoder (``"tower": "whisper"``, see `WhisperTower`).
    fusion : str
        Modalities in the order in which they are fused, a sequence of distinct
        letters of "L" (language), "V" (vision) and "A" (audio).
    use_decoder : bool
        False is the paper's "w/o CMD": global embeddings are concatenated and
        mapped by one linear layer.
    use_label_encoder : bool
        False is the paper's "w/o LE": a linear layer over a fixed label set.
    query : str or None
        The word of the emotion query; None for learnable contexts alone.
    n_query_contexts, n_label_contexts : int
        Learnable context vectors before the query word and before labels.
    share_contexts : bool
        One set of contexts for both.
    all_query_tokens : bool
        Start the decoder from all tokens of the query, not its end token alone.
    share_token_table : bool
        The language encoder uses the label encoder's frozen token table, which
        halves the size of a small model.
    token_rank : int
        With a shared table: rank of what the language encoder adds to it, so that
        a word may mean more to it than to labels. 0 adds nothing. Ours, as in
        LoRA (Hu et al., arXiv 2106.09685).
    max_frames, max_segments : int
        Length of the temporal embeddings.
    decoder : DecoderConfig
    n_classes : int
        Outputs of the linear layer when there is no label encoder.
    anchor_hidden : int
        Units between the layers of VEGA's branch, which compares clips with visual
        anchors; 0 without a branch. `fit` makes one where it needs it.
    evidence : bool
        The network knows its encoders' mean embeddings, and tells whether they show
        anything (ours; see `Evidence`).

    Raises
    ------
    InputError
        `fusion` is no order of L, V and A; the query has neither word nor contexts; or
        shared contexts differ in number.

    Notes
    -----
    Source: Song and Cho, arXiv 2506.00903, sections 3 and 4, for all but what is
    called ours; the defaults are the paper's where it gives them.

    Examples
    --------
    >>> from merclip import NetworkConfig
    >>> small = {
    ...     "embed_dim": 64,
    ...     "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    ...     "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "layers": 2},
    ... }
    >>> NetworkConfig(small, fusion="VA").width
    64
    """

    backbone: dict[str, Any]
    fusion: str = "LVA"
    use_decoder: bool = True
    use_label_encoder: bool = True
    query: str | None = "Emotion"
    n_query_contexts: int = 8
    n_label_contexts: int = 8
    share_contexts: bool = False
    all_query_tokens: bool = False
    share_token_table: bool = False
    token_rank: int = 0
    max_frames: int = 12
    max_segments: int = 12
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    n_classes: int = 0
    anchor_hidden: int = 0
    evidence: bool = False

    def __post_init__(self) -> None:
        letters = set(self.fusion)
        if not self.fusion or len(letters) < len(self.fusion) or letters - set("LVA"):
            raise InputError(
                "fusion is an order of distinct letters of 'L', 'V' and 'A', such as 'LVA', "
                f"got {self.fusion!r}."
            )
        if self.query is None and self.n_query_contexts == 0 and self.use_decoder:
            raise InputError("The emotion query needs a word, contexts, or both.")
        if self.share_contexts and self.n_query_contexts != self.n_label_contexts:
            raise InputError("Shared contexts need n_query_contexts == n_label_contexts.")

    @property
    def width(self) -> int:
        """Dimensions of the shared embedding space."""
        return int(self.backbone["embed_dim"])

    @property
    def image_size(self) -> int:
        """Height and width of the image tower's input."""
        size = self.backbone["vision_cfg"].get("image_size", 224)
        return int(size if isinstance(size, int) else size[0])

    @property
    def audio_size(self) -> tuple[int, int]:
        """Height and width of the audio tower's input; a second of it for Whisper's."""
        if self.hears_windows:
            return 100, int(self.backbone["audio_cfg"].get("n_mels", 80))
        vision = self.backbone["vision_cfg"]
        size = self.backbone.get("audio_cfg", vision).get("image_size", 224)
        return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))

    @property
    def hears_windows(self) -> bool:
        """Whether the audio tower takes spectrograms as long as the sound is, and no pictures."""
        return is_whisper(self.backbone.get("audio_cfg", {}))

    @property
    def context_length(self) -> int:
        """Tokens that the text tower takes, contexts included."""
        return int(self.backbone["text_cfg"].get("context_length", 77))

    def to_dict(self) -> dict[str, Any]:
        """Return nested built-in types, as stored in ``config.json``.

        Returns
        -------
        dict

        Examples
        --------
        >>> from merclip import NetworkConfig
        >>> small = {
        ...     "embed_dim": 64,
        ...     "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
        ...     "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "layers": 2},
        ... }
        >>> NetworkConfig.from_dict(NetworkConfig(small).to_dict()) == NetworkConfig(small)
        True
        """
        values = asdict(self)
        for name in ("anchor_hidden", "evidence"):
            if not values[name]:  # then older versions can read it
                del values[name]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkConfig:
        """Build from nested built-in types; unknown keys are an error.

        Parameters
        ----------
        values : mapping
            What `to_dict` gave.

        Returns
        -------
        NetworkConfig

        Raises
        ------
        InputError
            An unknown key, or a value that is not allowed.
        """
        nested = dict(values)
        nested["decoder"] = from_mapping(DecoderConfig, nested.get("decoder", {}))
        return from_mapping(cls, nested)

    def with_overrides(self, overrides: Mapping[str, Any]) -> NetworkConfig:
        """Return a copy with some values replaced.

        `decoder` may be a mapping of the values to replace within it.

        Parameters
        ----------
        overrides : mapping
            Such as ``{"fusion": "VA", "decoder": {"depth": 3}}``.

        Returns
        -------
        NetworkConfig

        Raises
        ------
        InputError
            An unknown key, or a value that is not allowed.
        """
        values = self.to_dict()
        decoder = {**values["decoder"], **_as_dict(overrides.get("decoder", {}))}
        return NetworkConfig.from_dict({**values, **overrides, "decoder": decoder})

    def with_classes(self, n_classes: int) -> NetworkConfig:
        """Return a copy for a label set of another size.

        Parameters
        ----------
        n_classes : int

        Returns
        -------
        NetworkConfig
        """
        return replace(self, n_classes=n_classes)

    def with_anchor_branch(self, hidden: int) -> NetworkConfig:
        """Return a copy with VEGA's branch, or with ``hidden=0`` without one.

        Parameters
        ----------
        hidden : int

        Returns
        -------
        NetworkConfig
        """
        return replace(self, anchor_hidden=hidden)

    def with_evidence(self, known: bool) -> NetworkConfig:
        """Return a copy that knows what embeddings look like, or not.

        Parameters
        ----------
        known : bool

        Returns
        -------
        NetworkConfig
        """
        return replace(self, evidence=known)


def _as_dict(value: Mapping[str, Any] | DecoderConfig) -> dict[str, Any]:
    return asdict(value) if isinstance(value, DecoderConfig) else dict(value)
