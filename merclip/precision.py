"""How the encoders are run: in which numbers, by which library, compiled or not.

The network stays in float32, as it is trained and saved. What runs in prediction may be
copies of its encoders in fewer bits.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from merclip._warn import warn
from merclip.errors import MerclipWarning, MissingExtraError
from merclip.exported import ExportedEncoder
from merclip.network import MERCLIP
from merclip.network.encoders import ImageEncoder
from merclip.preprocess import MODALITIES, Sample
from merclip.preprocess.text import tokenize

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Matmul = Literal["auto", "default", "onednn"]
Backend = Literal["torch", "openvino"]

LEAST_COSINE = 0.9999
"""With float32, of each embedding: below it "auto" stays with float32."""

_LEAST_WIDTH = 512
"""Of networks for which "auto" leaves float32 and torch's library. With mini, 256 wide, a
clip took 0.95 times as long in bfloat16, and texts 1.3 times as long with oneDNN."""
_COSINES: dict[tuple[str, ...], float] = {}
"""Of encoders that were tried; clones and refits in one process have the same weights."""
_MOST_COSINES = 256
_SETTINGS: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
_TEXTS = (
    "I can't believe you did that!",
    "What a lovely day.",
    "We will meet at the station at half past nine, as we always did, and then go home.",
)


@dataclass(frozen=True)
class Running:
    """How the encoders are to be run in prediction.

    Parameters
    ----------
    dtype : {"auto", "float32", "bfloat16", "float16"}
    matmul : {"auto", "default", "onednn"}
    compile : bool
    backend : {"torch", "openvino"}
    """

    dtype: Dtype = "auto"
    matmul: Matmul = "auto"
    compile: bool = False
    backend: Backend = "torch"


@dataclass(frozen=True)
class PrecisionCheck:
    """How far what runs lies from float32; see `EmotionClassifier.check_precision`.

    Parameters
    ----------
    dtypes : dict from modality to str
        Precision in which each encoder runs.
    matmul : str
        Who multiplies float32 matrices: torch's "default", or "onednn".
    cosine : float
        The least of all embeddings of tokens, frames, segments and whole clips.
    same_labels : int
        Clips with the same best label.
    n_clips : int
    largest_difference : float
        Between two probabilities of the same label.
    backends : dict from modality to str
        What runs each encoder: "torch" or "openvino".

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> check = EmotionClassifier(["happy", "sad", "angry"]).check_precision()
    >>> check.dtypes["video"], check.backends["video"], check.passed
    ('float32', 'torch', True)
    """

    dtypes: dict[str, str]
    matmul: str
    cosine: float
    same_labels: int
    n_clips: int
    largest_difference: float
    backends: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether clips have all the same label, and every cosine is at least 0.9999."""
        return self.same_labels == self.n_clips > 0 and self.cosine >= LEAST_COSINE


class Processor(NamedTuple):
    """What of a processor decides how it computes."""

    vendor: str
    avx512: bool
    bfloat16: bool
    amx: bool


@functools.cache
def processor() -> Processor:
    """Return what this machine's processor has."""
    has = {
        name: bool(getattr(torch.cpu, f"_is_{name}_supported", bool)())
        for name in ("avx512", "avx512_bf16", "amx_tile")
    }
    amx = has["amx_tile"]
    return Processor(_vendor(), has["avx512"], has["avx512_bf16"] or amx, amx)


def _vendor() -> str:
    """Return the processor's maker as it names itself, such as "AuthenticAMD"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id"))
    return next(found, "")


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the fastest precision that a device computes in by itself, and that may do."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    # Nobody has measured float16 on Apple's GPUs.
    return torch.bfloat16 if device.type == "cpu" and processor().bfloat16 else torch.float32


def matmul_library(wanted: Matmul, device: torch.device) -> Literal["default", "onednn"]:
    """Return who multiplies float32 matrices."""
    if wanted != "auto" or device.type != "cpu":
        return "default" if wanted == "auto" else wanted
    # MKL leaves AVX-512 of AMD's processors unused. With AMX oneDNN would round to bfloat16.
    here = processor()
    return "onednn" if "AMD" in here.vendor and here.avx512 and not here.amx else "default"


class _OneDNN:
    """torch's choice of library, which is one for all threads: the last to leave restores it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = "none"

    def enter(self) -> None:
        with self._lock:
            if not self._users:
                self._before = _SETTINGS.fp32_precision
                _SETTINGS.fp32_precision = "bf16"
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                _SETTINGS.fp32_precision = self._before


_ONEDNN = _OneDNN()


@contextmanager
def multiplying_by(library: Literal["default", "onednn"]) -> Iterator[None]:
    """Multiply float32 matrices by a library.

    torch sends them to oneDNN where bfloat16 would do. Without AMX oneDNN has no faster way
    than float32 itself, and the results are those of float32.
    """
    if library == "default":
        yield
        return
    _ONEDNN.enter()
    try:
        yield
    finally:
        _ONEDNN.leave()


class _Made(NamedTuple):
    """What runs in the place of an encoder, and of which weights it was made."""

    written: list[tuple[int, int]]
    encoder: Any
    cosine: float | None = None
    """Between the lower precision that was tried and float32."""


class Runner:
    """The encoders of a network, as they run in prediction.

    Parameters
    ----------
    network : MERCLIP
    running : Running
    """

    def __init__(self, network: MERCLIP, running: Running) -> None:
        self.network, self.running = network, running
        self._made: dict[str, _Made] = {}
        self._lock = threading.Lock()

    @property
    def matmul(self) -> Literal["default", "onednn"]:
        """Who multiplies float32 matrices."""
        wanted = self.running.matmul
        if wanted == "auto" and not self._is_large:
            return "default"
        return matmul_library(wanted, self.network.device)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute without gradients, by the library that was chosen."""
        with multiplying_by(self.matmul), torch.inference_mode():
            yield

    def __getitem__(self, letter: str) -> nn.Module:
        """Return what runs in the place of an encoder, made anew if its weights changed."""
        encoder = self.network.encoders[letter]
        with self._lock:
            written = written_to(encoder)
            kept = self._made.get(letter)
            if kept is None or kept.written != written:
                kept = self._made[letter] = self._make(letter, encoder, written)
            return cast(nn.Module, kept.encoder)

    def dtypes(self) -> dict[str, torch.dtype]:
        """Return the precision in which each encoder computes, by modality letter."""
        return {letter: _dtype(self[letter]) for letter in self.network.config.fusion}

    def backends(self) -> dict[str, str]:
        """Return what runs each encoder, by modality letter."""
        kinds = {letter: type(self[letter]) for letter in self.network.config.fusion}
        return {one: "openvino" if kinds[one] is ExportedEncoder else "torch" for one in kinds}

    def reason(self) -> str:
        """Return why the encoders compute in the precision that they do."""
        if self.running.dtype != "auto":
            return "as asked for"
        kind = self.network.device.type
        fastest = str(fast_dtype(self.network.device)).removeprefix("torch.")
        if fastest == "float32":
            lacks = "the processor has neither AVX-512 BF16 nor AMX"
            return lacks if kind == "cpu" else f"fewer bits were not measured on {kind}"
        if not self._is_large:
            width = self.network.config.width
            return f"{fastest} does not pay for {width} dimensions, fewer than {_LEAST_WIDTH}"
        self.dtypes()
        cosines = {MODALITIES[one]: self._made[one].cosine for one in self.network.config.fusion}
        shown = ", ".join(f"{name} {found:.6f}" for name, found in cosines.items() if found)
        return f"{fastest} where its cosine with float32 is at least {LEAST_COSINE}: {shown}"

    @property
    def _is_large(self) -> bool:
        return self.network.config.width >= _LEAST_WIDTH

    def _make(self, letter: str, encoder: Any, written: list[tuple[int, int]]) -> _Made:
        wanted, cosine = self.running.dtype, None
        dtype = torch.float32 if wanted == "auto" else getattr(torch, wanted)
        with torch.inference_mode():
            if wanted == "auto" and self._is_large:
                dtype = fast_dtype(self.network.device)
            made = self._in_dtype(letter, encoder, dtype)
            if wanted == "auto" and dtype != torch.float32:
                cosine = self._known_cosine(letter, encoder, made)
                if cosine < LEAST_COSINE:
                    made = self._in_dtype(letter, encoder, torch.float32)
            if self.running.compile and letter != "L":
                made = self._compiled(letter, made)
        return _Made(written, made, cosine)

    def _in_dtype(self, letter: str, encoder: Any, dtype: torch.dtype) -> Any:
        if self.running.backend == "openvino" and letter != "L":
            exported = self._exported(letter, encoder, dtype)
            if exported is not None:
                return exported
        return encoder if dtype == torch.float32 else in_dtype(encoder, dtype)

    def _exported(self, letter: str, encoder: Any, dtype: torch.dtype) -> ExportedEncoder | None:
        """Return an image encoder as OpenVINO runs it; None, with a warning, if it cannot."""
        if self.network.device.type != "cpu":
            _warn_of_no_effect("backend='openvino'", f"the device is {self.network.device}.")
            return None
        try:
            made = ExportedEncoder(encoder, _examples(self.network, letter), dtype)
            cosine = self._cosine(letter, encoder, made)
        except MissingExtraError:
            raise
        except Exception as error:
            _warn_of_no_effect("backend='openvino'", f"the export failed. {_first_line(error)}")
            return None
        if dtype == torch.float32 and cosine < LEAST_COSINE:
            _warn_of_no_effect("backend='openvino'", f"it differs by a cosine of {cosine:.4f}.")
            return None
        return made

    def _known_cosine(self, letter: str, encoder: Any, made: Any) -> float:
        """Return `_cosine`, which is found once in a process for the same weights."""
        digest = hashlib.sha256()
        add_samples(digest, encoder)
        setup = type(made), _dtype(made), self.network.device, self.matmul
        key = (letter, *map(str, setup), digest.hexdigest())
        if key not in _COSINES:
            if len(_COSINES) >= _MOST_COSINES:
                _COSINES.clear()
            _COSINES[key] = self._cosine(letter, encoder, made)
        return _COSINES[key]

    def _cosine(self, letter: str, encoder: Any, made: Any) -> float:
        """Return the least cosine between what two encoders make of an example."""
        return least_cosine(*(_tried(one, self.network, letter) for one in (encoder, made)))

    def _compiled(self, letter: str, encoder: Any) -> Any:
        compiled = ImageEncoder(_TwoOrMore(torch.compile(encoder.tower, dynamic=True)))
        try:
            _tried(compiled, self.network, letter)
        except Exception as error:
            reason = (
                "torch.compile failed, which needs a C++ compiler (such as g++) on a CPU and "
                f"Triton on a GPU. {_first_line(error)}"
            )
            _warn_of_no_effect("compile=True", reason)
            return encoder
        return compiled


def _warn_of_no_effect(parameter: str, reason: str) -> None:
    warn(MerclipWarning(f"{parameter} had no effect: {reason}"))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


class _TwoOrMore(nn.Module):
    """A compiled tower that never sees one picture, for which it would be compiled again."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pictures: Tensor) -> Tensor:
        if len(pictures) > 1:
            found: Tensor = self.tower(pictures)
            return found
        alone: Tensor = self.tower(pictures.expand(2, -1, -1, -1).contiguous())[:1]
        return alone


def written_to(module: nn.Module) -> list[tuple[int, int]]:
    """Return where each of a module's weights lies, and how often it was written to."""
    return [
        (tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version)
        for tensor in module.state_dict().values()
    ]


def add_samples(digest: Any, module: nn.Module) -> None:
    """Add the names of a module's tensors, and some numbers of each, to a hash."""
    for name, tensor in module.state_dict().items():
        flat = tensor.detach().flatten()
        sampled = flat[:: max(1, len(flat) // 64)].float().cpu().numpy()
        digest.update(name.encode() + sampled.tobytes())


def in_dtype(encoder: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of an encoder in another precision, for inference alone."""
    memory: dict[int, Any] = {}
    if not any(isinstance(one, nn.BatchNorm2d) for one in encoder.modules()):
        # Rounded at once, or weights would be there twice for a while.
        for weight in encoder.parameters():
            memory[id(weight)] = nn.Parameter(weight.detach().to(dtype), requires_grad=False)
    lower = copy.deepcopy(encoder, memory).eval().requires_grad_(False)
    for module in lower.modules():
        if isinstance(module, nn.Sequential):
            _fold_norms(module)
    return lower.to(dtype)


def _fold_norms(layers: nn.Sequential) -> None:
    """Put batch norms into the convolutions before them, where they lose fewer digits."""
    for index, (layer, after) in enumerate(zip(layers[:-1], layers[1:], strict=True)):
        if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            layers[index], layers[index + 1] = fuse_conv_bn_eval(layer, after), nn.Identity()


def least_cosine(expected: Tensor, found: Tensor) -> float:
    """Return the least cosine between rows of two tensors of shape (n, D)."""
    if not len(expected):
        return 1.0
    return float(functional.cosine_similarity(expected.double(), found.double(), dim=-1).min())


def example_samples(network: MERCLIP, at_most: int = len(_TEXTS)) -> list[Sample]:
    """Return clips that need no file: texts, coloured waves and noise, tones and noise."""
    generator = torch.Generator().manual_seed(0)
    size, (height, width) = network.config.image_size, network.config.audio_size
    samples = []
    for index, text in enumerate(_TEXTS[:at_most]):
        row = torch.linspace(0, 6.28 * (index + 1), size)
        wave = (row.sin()[:, None] + row.cos()[None]) * 45 + 120
        noise = 25 * torch.randn(2, 3, size, size, generator=generator)
        tone = torch.sin(torch.linspace(0, 40.0 * (index + 1), width)).expand(height, -1)
        segments = tone + 0.5 * torch.randn(2, height, width, generator=generator)
        frames = (wave + noise).clamp(0, 255).to(torch.uint8)
        tokens = tokenize(text, network.config.context_length).ids
        samples.append(Sample(tokens=tokens, frames=frames, segments=segments))
    return samples


def _tried(encoder: Any, network: MERCLIP, letter: str) -> Tensor:
    """Return an encoder's embeddings of examples, shape (n, D), float32."""
    if letter == "L":
        parts = [tokenize(text, network.config.context_length).ids for text in _TEXTS]
        return torch.cat(encoder.rows(parts))
    pictures = _examples(network, letter).to(network.device, encoder.dtype)
    found: Tensor = encoder(pictures).float()
    return found


def _examples(network: MERCLIP, letter: str) -> Tensor:
    """Return a picture as an image encoder is given it, shape (1, 3, H, W), float32."""
    # One does: it has waves and noise, and a large encoder takes a tenth of a second for it.
    picture = example_samples(network, 1)[0].parts()[letter][:1].float()
    return picture / 128 - 1 if letter == "V" else picture[:, None].expand(-1, 3, -1, -1)


def _dtype(encoder: Any) -> torch.dtype:
    dtype: torch.dtype = getattr(encoder, "computes_in", encoder.dtype)
    return dtype
