"""VEGA's pickles of utterance features, read without running anything that is in them."""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

import numpy as np

from merclip._shown import shown
from merclip.datasets._files import Folder, choose
from merclip.dialogues import Dialogue
from merclip.errors import DatasetNotFoundError, InputError
from merclip.network.vega_file import LABELS

Array = np.ndarray[Any, Any]

_FEATURES = {"text": "text", "audio": "audio", "video": "visual"}
_DICTIONARIES = ("speakers", "labels", *_FEATURES.values())
_VEGA = (*_DICTIONARIES, "train ids", "test ids")
_MMGCN = ("utterances", *_DICTIONARIES, "sentences", "train ids", "test ids")
_SDT = (*_MMGCN[:4], "text 2", "text 3", "text 4", *_MMGCN[4:])
_LAYOUTS = {
    len(parts): parts for parts in (_VEGA, _MMGCN, (*_MMGCN, "more"), _SDT, (*_SDT, "more"))
}
"""What the parts of a file are, by their number. MELD's files of MMGCN and SDT have one more,
and SDT has four layers of a text encoder, of which it uses the first."""
_KNOWN = ("f2", "f4", "f8", "b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)))
_MOST_BYTES = 8 << 30
_PLAIN = (str, bytes, int, float)
_MOST_PLACES = 1 << 32
_LONGEST_NAME = 1000


class VegaFeatures(NamedTuple):
    """Dialogues of VEGA's two parts; a part for validation there is none.

    Attributes
    ----------
    train, test : list of Dialogue
        Of features, with speakers and labels.
    labels : tuple of str
        In the order of VEGA's numbers.

    Examples
    --------
    >>> from merclip.datasets import VegaFeatures
    >>> VegaFeatures([], [], ("happy", "sad")).labels
    ('happy', 'sad')
    """

    train: list[Dialogue]
    test: list[Dialogue]
    labels: tuple[str, ...]


def load_vega_features(
    path: Folder,
    *,
    labels: str | Sequence[str] = "iemocap",
    modalities: Iterable[str] = tuple(_FEATURES),
) -> VegaFeatures:
    """Load a pickle of utterance features in the layout of VEGA, SDT or MMGCN.

    A pickle can run any code when Python reads it. This reader knows numbers, strings,
    plain containers and numpy arrays of numbers, builds the arrays itself, and refuses a
    file that asks for anything else. Nothing that the file names is ever called.

    Parameters
    ----------
    path : path
        A tuple. VEGA's has seven parts: speakers, labels, text, audio, visual (each a
        dictionary by dialogue), and the dialogues of the training and of the test part.
        MMGCN's of nine or ten and SDT's of twelve or thirteen have these among others.
    labels : {"iemocap", "meld"} or sequence of str
        What the numbers of labels stand for.
    modalities : some of "text", "audio", "video"
        Which features are taken.

    Returns
    -------
    VegaFeatures
        Speakers are the file's own strings; a row of indicators becomes its position.

    Raises
    ------
    DatasetNotFoundError
        There is no such file.
    InputError
        The file asks to run something, is broken, or has another layout.

    Notes
    -----
    Source: the layouts are those that the public code of VEGA, SDT and MMGCN reads. Of
    SDT's four layers of text the first is taken, as SDT and VEGA do.

    Examples
    --------
    >>> import pathlib, pickle, tempfile
    >>> import numpy as np
    >>> from merclip.datasets import load_vega_features
    >>> row = {"Ses01": np.zeros((2, 4), np.float32)}
    >>> content = ({"Ses01": ["M", "F"]}, {"Ses01": [0, 1]}, row, row, row, ["Ses01"], [])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "features.pkl")
    ...     _ = path.write_bytes(pickle.dumps(content))
    ...     found = load_vega_features(path)
    >>> found.train[0], found.train[0].labels
    (Dialogue('Ses01': 2 utterances of 2 speakers), ('happy', 'sad'))
    """
    names = LABELS[choose(labels, "labels", list(LABELS))] if isinstance(labels, str) else labels
    chosen = tuple(modalities)
    if not chosen or set(chosen) - set(_FEATURES):
        raise InputError(f"modalities are some of {list(_FEATURES)}, got {list(chosen)}.")
    content, size = _read(Path(path))
    layout = _LAYOUTS.get(len(content)) if isinstance(content, (tuple, list)) else None
    if layout is None:
        found = f"{len(content)} parts" if isinstance(content, (tuple, list)) else _told(content)
        raise InputError(
            f"{str(path)!r} has {found}, and is no file of features: VEGA's has seven parts "
            f"({', '.join(_VEGA)}), MMGCN's nine or ten, and SDT's twelve or thirteen."
        )
    parts = dict(zip(layout, content, strict=True))
    for name in _DICTIONARIES:
        if not isinstance(parts[name], dict):
            raise InputError(f"{str(path)!r}: its {name} are no dictionary by dialogue.")
    file = _File(str(path), parts, tuple(names), chosen, size)
    return VegaFeatures(file.dialogues("train ids"), file.dialogues("test ids"), tuple(names))


class _File:
    """What was read of one file, made into dialogues."""

    def __init__(
        self,
        path: str,
        content: dict[str, Any],
        names: tuple[str, ...],
        modalities: tuple[str, ...],
        size: int,
    ) -> None:
        self.path, self.content, self.names, self.modalities = path, content, names, modalities
        # A file of so many bytes holds fewer numbers, unless one part stands for many.
        self.left = size

    def dialogues(self, part: str) -> list[Dialogue]:
        """Return the dialogues that a part lists."""
        ids = [_plain(value) for value in self._sequence(self.content[part], part)]
        for value in ids:
            if not _is_name(value):
                raise InputError(f"A dialogue is named by a text or a number, got {_told(value)}.")
        if len(set(map(_key, ids))) != len(ids):
            raise InputError(f"{self.path!r}: its {part} name a dialogue twice.")
        return [self._dialogue(value) for value in ids]

    def _dialogue(self, key: Any) -> Dialogue:
        parts: dict[str, Any] = {}
        for what in _DICTIONARIES:
            if _key(key) not in self.content[what]:
                raise InputError(f"{self.path!r}: its {what} lack the dialogue {shown(key)}.")
            parts[what] = self.content[what][_key(key)]
        features = {
            name: self._matrix(parts[_FEATURES[name]], f"{name} of {shown(key)}")
            for name in self.modalities
        }
        numbers = self._sequence(parts["labels"], f"labels of {shown(key)}")
        speakers = self._sequence(parts["speakers"], f"speakers of {shown(key)}")
        return Dialogue(
            features,
            [self._speaker(value) for value in speakers],
            [self._label(value) for value in numbers],
            name=str(key),
        )

    def _label(self, value: Any) -> str:
        number = _plain(value)
        if isinstance(number, bool) or not isinstance(number, int):
            raise InputError(f"{self.path!r}: {_told(number)} is no number of a label.")
        if not 0 <= number < len(self.names):
            raise InputError(
                f"{self.path!r} has the label {shown(number)}; {len(self.names)} labels are named: "
                f"{list(self.names)}. Set labels=."
            )
        return self.names[number]

    def _sequence(self, value: Any, what: str) -> list[Any]:
        if isinstance(value, _Array):
            self._take(value.size)
            value = value.array().tolist() if value.rows is None else value.rows
        if isinstance(value, _Set):
            value = sorted(value, key=str)
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{self.path!r}: the {what} are {type(value).__name__}, not a list.")
        self._take(len(value))
        return list(value)

    def _matrix(self, value: Any, what: str) -> Array:
        if isinstance(value, _Array) and value.rows is None:
            self._take(value.size)
            array = value.array()
            # VEGA's texts are a batch of one dialogue.
            return array[0] if array.ndim == 3 and len(array) == 1 else array
        rows = [self._row(row, what) for row in self._sequence(value, what)]
        if len({row.shape for row in rows}) > 1:
            raise InputError(f"{self.path!r}: rows of the {what} differ in length.")
        return np.stack(rows) if rows else np.zeros((0, 0))

    def _row(self, value: Any, what: str) -> Array:
        if isinstance(value, _Array) and value.rows is None:
            self._take(value.size)
            return value.array()
        numbers = [_plain(item) for item in self._sequence(value, what)]
        if not all(isinstance(item, (int, float)) for item in numbers):
            raise InputError(f"{self.path!r}: the {what} hold something that is no number.")
        try:
            return np.array(numbers, dtype=np.float64)
        except OverflowError as error:
            raise InputError(f"{self.path!r}: the {what} hold too large a number.") from error

    def _speaker(self, value: Any) -> str:
        """Return a name; of a row of indicators the position of the one that is set."""
        if isinstance(value, (list, tuple)) or (isinstance(value, _Array) and value.size != 1):
            row = self._row(value, "speakers").ravel()
            if not len(row):
                raise InputError("A speaker is a name or a row of indicators.")
            return str(int(np.argmax(row)))
        name = _plain(value)
        if not _is_name(name):
            raise InputError(f"A speaker is a name or a row of indicators, got {_told(name)}.")
        return str(name)

    def _take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise InputError(f"{self.path!r} claims more numbers than it has bytes.")


class _Array:
    """Stands for a numpy array while a file is read: takes its state, runs nothing."""

    __slots__ = ("dtype", "fortran", "raw", "rows", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.dtype = _Dtype("f8")
        self.fortran = False
        self.raw: Any = b""
        self.rows: list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self._take(shape, dtype, fortran)
        if dtype.code[:1] == "O":
            if not isinstance(raw, list) or len(self.shape) != 1 or len(raw) != self.shape[0]:
                raise InputError("an array of objects that is no plain list")
            self.rows = raw
        else:
            self.raw = raw

    def _take(self, shape: Any, dtype: Any, fortran: Any) -> None:
        if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or len(shape) > 3:
            raise InputError("an array whose shape or type cannot be read")
        if not all(isinstance(side, int) and 0 <= side < 1 << 40 for side in shape):
            raise InputError("an array of a shape that cannot be")
        self.shape, self.dtype, self.fortran = shape, dtype, bool(fortran)

    @property
    def size(self) -> int:
        """How many numbers it claims."""
        return math.prod(self.shape)

    def array(self) -> Array:
        """Return the numbers.

        Raises
        ------
        InputError
            There are more of them than bytes, or fewer; or they are no plain numbers.
        """
        dtype, raw = self.dtype.known(), self.raw
        if not isinstance(raw, (bytes, str)) or self.size * dtype.itemsize != len(raw):
            raise InputError(f"An array claims the shape {self.shape} and has other bytes.")
        try:
            # Python 2 wrote bytes as text.
            data = raw.encode("latin1") if isinstance(raw, str) else raw
        except UnicodeEncodeError as error:
            raise InputError("An array holds text that stands for no bytes.") from error
        flat = np.frombuffer(data, dtype=dtype)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


class _Set(list[Any]):
    """Stands for a set while a file is read."""

    __slots__ = ()


class _Dtype:
    """Stands for a type of numpy."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *flags: Any) -> None:
        if not isinstance(code, str) or len(code) > 8:
            raise InputError("a type of numpy that is no plain one")
        self.code, self.order = code.lstrip("<>|="), "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise InputError("a type of numpy that is no plain one")
        self.order = order

    def known(self) -> np.dtype[Any]:
        """Return numpy's type, of plain numbers alone."""
        if self.code not in _KNOWN:
            raise InputError(f"Arrays of {self.code!r} are not read; give plain numbers.")
        return np.dtype(self.order + self.code)


class _Maker:
    """What stands for a function that a file may name. Its state cannot be changed."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> NoReturn:
        raise InputError("the state of a function is set")


class _Reconstruct(_Maker):
    __slots__ = ()

    def __call__(self, kind: Any, shape: Any = None, code: Any = None) -> _Array:
        return _Array()


class _FromBuffer(_Maker):
    __slots__ = ()

    def __call__(self, raw: Any, dtype: Any, shape: Any, order: Any = "C") -> _Array:
        array = _Array()
        array._take(shape, dtype, order == "F")
        array.raw = raw
        return array


class _Scalar(_Maker):
    __slots__ = ()

    def __call__(self, dtype: Any, raw: Any = b"") -> Any:
        array = _Array()
        array._take((), dtype, False)
        array.raw = raw
        return array.array().item()


class _NewArray(_Maker):
    __slots__ = ()

    def __call__(self, *arguments: Any) -> _Array:
        return _Array()


class _NewDtype(_Maker):
    __slots__ = ()

    def __call__(self, *arguments: Any) -> _Dtype:
        return _Dtype(*arguments)


class _Latin1(_Maker):
    __slots__ = ()

    def __call__(self, text: Any, encoding: Any = "latin1") -> str:
        # How Python 3 writes bytes into a pickle that Python 2 can read. They are made
        # when an array needs them: a file may ask for the same ones a million times.
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise InputError("a text in an unknown encoding")
        return text


class _NewDict(_Maker):
    __slots__ = ()

    def __call__(self, *arguments: Any) -> dict[Any, Any]:
        # Only a defaultdict has an argument, which is a function. Pairs are set later.
        if not all(isinstance(item, _Maker) for item in arguments):
            raise InputError("a dictionary made of something else")
        return {}


class _NewList(_Maker):
    __slots__ = ()

    def __call__(self, *arguments: Any) -> list[Any]:
        # Never a copy, of which a file may ask for more than memory holds.
        if not arguments:
            return []
        if len(arguments) > 1 or not isinstance(arguments[0], list):
            raise InputError("a list made of something else")
        return arguments[0]


_CORES = ("numpy.core", "numpy._core")
_ALLOWED: dict[tuple[str, str], _Maker] = {
    ("numpy", "ndarray"): _NewArray(),
    ("numpy", "dtype"): _NewDtype(),
    **{(f"{core}.multiarray", "_reconstruct"): _Reconstruct() for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _Scalar() for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _FromBuffer() for core in _CORES},
    ("_codecs", "encode"): _Latin1(),
    ("collections", "OrderedDict"): _NewDict(),
    ("collections", "defaultdict"): _NewDict(),
    **{(module, "list"): _NewList() for module in ("builtins", "__builtin__")},
    **{(module, "set"): _NewList() for module in ("builtins", "__builtin__")},
    **{(module, "dict"): _NewDict() for module in ("builtins", "__builtin__")},
}
"""Every name that a file may use, and what is done in its place."""


# Python's own: the one written in C sets aside as much memory as a file claims to need.
class _Reader(pickle._Unpickler):
    """An unpickler that makes plain values and the stand-ins above."""

    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    stack: list[Any]
    memo: dict[int, Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> _Maker:
        made = _ALLOWED.get((module, name))
        if made is None:
            raise InputError(f"{module}.{name}")
        return made

    def _refused(self) -> NoReturn:
        raise InputError("an instruction that no such file needs")

    def _keyed(self, code: int) -> None:
        """Fill a dictionary, whose keys are short and plain, and stand in it as texts.

        Numbers can be chosen so that all fall on one place of a dictionary; and a tuple of
        one tuple twice, of that one twice, and so on, each a byte, is twice the work to hash.
        """
        first = max(len(self.stack) - 2, 0) if code == pickle.SETITEM[0] else 0
        _check_keys(self.stack[first::2])
        self.stack[first::2] = map(_key, self.stack[first::2])
        fill: Any = pickle._Unpickler.dispatch[code]
        fill(self)

    def _new_set(self) -> None:
        self.append(_Set())

    def _add_to_set(self) -> None:
        added = self.pop_mark()
        _check_keys(added)
        if not isinstance(self.stack[-1], _Set):
            raise InputError("an instruction that no such file needs")
        self.stack[-1].extend(added)

    def _frozen_set(self) -> None:
        members = self.pop_mark()
        _check_keys(members)
        self.append(_Set(members))

    def _place(self, code: int) -> None:
        """Remember a value, at a place that no file has to count so far for."""
        kinds = {pickle.BINPUT[0]: "<B", pickle.LONG_BINPUT[0]: "<I"}
        text = code == pickle.PUT[0]
        place = int(self.readline()[:-1]) if text else self._unpacked(kinds[code])
        if not 0 <= place < _MOST_PLACES:
            raise InputError("a place in memory that no such file needs")
        self.memo[place] = self.stack[-1]

    def _unpacked(self, kind: str) -> int:
        (value,) = struct.unpack(kind, self.read(struct.calcsize(kind)))
        return int(value)

    def _bytes(self) -> None:
        """Read the bytes of an array of protocol 5, of which Python would make room first."""
        (length,) = struct.unpack("<Q", self.read(8))
        data = self.read(length)
        if len(data) != length:
            raise InputError("more bytes than it has")
        self.append(data)


for _code in (
    *(pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
    *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
):
    _Reader.dispatch[_code[0]] = _Reader._refused
_Reader.dispatch[pickle.BYTEARRAY8[0]] = _Reader._bytes
for _code in (pickle.SETITEM, pickle.SETITEMS, pickle.DICT):
    _Reader.dispatch[_code[0]] = partial(_Reader._keyed, code=_code[0])
for _code in (pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT):
    _Reader.dispatch[_code[0]] = partial(_Reader._place, code=_code[0])
_Reader.dispatch[pickle.EMPTY_SET[0]] = _Reader._new_set
_Reader.dispatch[pickle.ADDITEMS[0]] = _Reader._add_to_set
_Reader.dispatch[pickle.FROZENSET[0]] = _Reader._frozen_set


def _read(path: Path) -> tuple[Any, int]:
    """Return what a file holds, with stand-ins for arrays, and its size in bytes."""
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise InputError(f"{str(path)!r} has {size:,} bytes, which is no file of features.")
        data = path.read_bytes()
    except OSError as error:
        raise DatasetNotFoundError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    try:
        return _Reader(io.BytesIO(data), encoding="latin1").load(), size
    except InputError as error:
        raise InputError(
            f"{str(path)!r} is not read: it asks for {error}, and only numbers, texts, plain "
            "containers and numpy arrays of numbers are taken from a pickle."
        ) from None
    except Exception as error:  # a broken pickle raises whatever its instructions come to
        raise InputError(f"{str(path)!r} is no pickle that can be read: {error!r:.200}") from error


def _plain(value: Any) -> Any:
    """Return a number or string; an array of one value is that value."""
    if isinstance(value, _Array) and value.rows is None and value.size == 1:
        return value.array().reshape(()).item()
    return value


def _key(value: Any) -> str:
    """Return a name as a text, in which names that Python takes for equal are one."""
    if isinstance(value, str):
        return "text " + value
    if isinstance(value, bytes):
        return "bytes " + value.decode("latin1")
    return f"number {int(value) if isinstance(value, int) or value.is_integer() else value!r}"


def _check_keys(keys: Iterable[Any]) -> None:
    if not all(map(_is_name, keys)):
        raise InputError(
            "a key that is no text or number, or one of more than 1,000 letters or 64 bits"
        )


def _is_name(value: Any) -> bool:
    if isinstance(value, (str, bytes)):
        return len(value) <= _LONGEST_NAME
    return isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= 64)


def _told(value: Any) -> str:
    """Return a plain value as text; of others the type, for their text may have no end."""
    return (
        shown(value) if isinstance(value, _PLAIN) else f"an object of type {type(value).__name__}"
    )
