"""Labels: names that users see, and descriptions that the encoder reads."""

from __future__ import annotations

import enum
import functools
import numbers
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from merclip._pasted import parse_labels
from merclip._shown import shown
from merclip._warn import warn
from merclip.errors import InputTypeError, LabelError, MerclipWarning
from merclip.inputs import as_targets
from merclip.types import Frame, Listed, Sparse, as_list

T = TypeVar("T")
Label: TypeAlias = str | int
"""What a label is called."""

_WORDLESS = re.compile(r"[+-]?\d+([.,]\d+)?|true|false", re.IGNORECASE)

Texts: TypeAlias = str | Listed[str]
"""A description of a label, or several that are averaged."""


@dataclass(frozen=True)
class LabelSet:
    """A set of labels in the user's order.

    Build it with `LabelSet.of`, which takes what `EmotionClassifier` takes.

    Parameters
    ----------
    names : tuple of str, or of int
        What predictions are called.
    descriptions : tuple of tuple of str
        For each name the texts that are encoded and averaged.

    Examples
    --------
    >>> from merclip import LabelSet
    >>> labels = LabelSet.of({"joy": "a state of delight", "anger": ["rage", "fury"]})
    >>> labels.names
    ('joy', 'anger')
    >>> labels.classes.tolist()
    ['anger', 'joy']
    """

    names: tuple[Label, ...]
    descriptions: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, labels: LabelsLike) -> LabelSet:
        """Build from a sequence of strings or a mapping to description(s).

        Parameters
        ----------
        labels : sequence of str, mapping, or LabelSet
            As the parameter `labels` of `EmotionClassifier`.

        Returns
        -------
        LabelSet

        Raises
        ------
        InputTypeError
            A lone string, or something that is neither sequence nor mapping.
        LabelError
            No label, an empty one, or two that differ in case or spaces alone.

        Examples
        --------
        >>> from merclip import LabelSet
        >>> LabelSet.of(["joy", "rage"]).descriptions
        (('joy',), ('rage',))
        """
        if isinstance(labels, LabelSet):
            return labels
        if isinstance(labels, (str, bytes)):
            raise InputTypeError(
                f"labels={shown(labels)} is a single string, which is a sequence of letters; "
                "give a list, such as ['happy', 'sad']."
            )
        if isinstance(labels, Mapping):
            return _labelled(tuple(labels), tuple(labels.values()))
        if hasattr(labels, "int2str"):  # what numbers the labels of a data set
            labels = getattr(labels, "names", labels)
        if not _is_collection(labels):
            raise InputTypeError(
                "labels is a list of strings or a mapping from name to description(s), "
                f"got {type(labels).__name__}."
            )
        if isinstance(labels, (set, frozenset)):
            labels = sorted(labels, key=str)
        names = tuple(as_list(labels))
        return _labelled(names, names)

    @classmethod
    def from_text(cls, text: str) -> LabelSet:
        r"""Read labels as they are pasted: from a chat model's answer, or a file.

        Parameters
        ----------
        text : str
            A list with one label a line, numbered, bulleted or bare: ``happy``,
            ``1. **Happy**: A person who smiles.``, ``- happy - a person who smiles``; with
            descriptions below their labels; a Markdown table; or JSON, bare or in a fenced
            block. Lines that begin with ``# `` are comments.

        Returns
        -------
        LabelSet

        Raises
        ------
        InputTypeError
            No string.
        LabelError
            A line is not understood, which the message names: none becomes a label in
            silence. Or the labels are none, as for `of`.

        Examples
        --------
        >>> from merclip import LabelSet
        >>> answer = "1. **Happy** - A wide smile.\n2. **Sad** - Tears in the eyes."
        >>> LabelSet.from_text(answer).to_dict()
        {'Happy': ['A wide smile.'], 'Sad': ['Tears in the eyes.']}
        """
        if not isinstance(text, str):
            raise InputTypeError(
                f"from_text takes a string, got {type(text).__name__}: read the file first, with "
                "Path(file).read_text(encoding='utf-8')."
            )
        pairs = parse_labels(text)
        return _labelled(
            tuple(name for name, _ in pairs), tuple(texts or name for name, texts in pairs)
        )

    @classmethod
    def learned(cls, names: LabelsLike | Listed[Label], known: LabelSet | None = None) -> LabelSet:
        """Build from the labels of clips that are learned from.

        Numbers, and the words for true and false, are taken as they are, with a warning.

        Parameters
        ----------
        names : as for `of`, or a sequence of int
        known : LabelSet, optional
            Labels that come first, with their descriptions.

        Returns
        -------
        LabelSet

        Examples
        --------
        >>> from merclip import LabelSet
        >>> LabelSet.learned(["joy", "rage"]).names
        ('joy', 'rage')
        """
        if isinstance(names, (LabelSet, Mapping, str)) or not _is_collection(names):
            return cls.of(names)  # type: ignore[arg-type]
        texts = {} if known is None else known.to_dict()
        new = {name: str(name) for name in map(_plain, as_list(names)) if name not in texts}
        if not texts and new and all(map(_WORDLESS.fullmatch, new.values())):
            message = (
                f"y holds {', '.join(map(shown, list(new)[:5]))}, and such labels have no words: "
                "they are learned from the clips alone. Give names, or what they mean, such as "
                f"labels={{{shown(next(iter(new)))}: 'happy', ...}}."
            )
            warn(MerclipWarning(message))
        return cls.of({**texts, **new})

    @functools.cached_property
    def has_words(self) -> bool:
        """Whether any description is more than a number, "true" or "false"."""
        texts = (text for described in self.descriptions for text in described)
        return not all(map(_WORDLESS.fullmatch, texts))

    @functools.cached_property
    def sorted_names(self) -> tuple[Label, ...]:
        """Names in sorted order."""
        return tuple(sorted(self.names))

    @property
    def classes(self) -> np.ndarray[Any, Any]:
        """Names in sorted order: the columns of every array."""
        return np.array(self.sorted_names)

    def in_class_order(self) -> list[tuple[str, ...]]:
        """Return the descriptions in the order of `classes`.

        Returns
        -------
        list of tuple of str, of length k

        Examples
        --------
        >>> from merclip import LabelSet
        >>> LabelSet.of({"joy": "delight", "anger": ["rage", "fury"]}).in_class_order()
        [('rage', 'fury'), ('delight',)]
        """
        known = dict(zip(self.names, self.descriptions, strict=True))
        return [known[name] for name in self.sorted_names]

    def texts(self, prompts: Sequence[str]) -> list[list[str]]:
        """Return, in the order of `classes`, each description in each prompt.

        Parameters
        ----------
        prompts : sequence of str
            Each with one ``{}``, where the description goes.

        Returns
        -------
        list of list of str, of length k

        Examples
        --------
        >>> from merclip import LabelSet
        >>> LabelSet.of({"joy": "delight", "anger": ["rage", "fury"]}).texts(["full of {}"])
        [['full of rage', 'full of fury'], ['full of delight']]
        """
        return [
            [prompt.replace("{}", text) for text in described for prompt in prompts]
            for described in self.in_class_order()
        ]

    def to_dict(self) -> dict[Label, list[str]]:
        """Return a mapping from name to descriptions, in the user's order.

        Returns
        -------
        dict from name to list of str

        Examples
        --------
        >>> from merclip import LabelSet
        >>> LabelSet.of(["joy", "anger"]).to_dict()
        {'joy': ['joy'], 'anger': ['anger']}
        """
        return {
            name: list(texts) for name, texts in zip(self.names, self.descriptions, strict=True)
        }

    def __len__(self) -> int:
        return len(self.names)


LabelsLike: TypeAlias = (
    LabelSet
    | Listed[str]
    | Set[str]
    | np.ndarray[Any, Any]
    | Mapping[str, Texts]
    | Mapping[int, Texts]
    | Mapping[Label, Texts]
)
"""Labels: several strings, or a mapping from name to description(s). A lone string is none."""

TargetsLike: TypeAlias = Listed[Any] | np.ndarray[Any, Any] | Frame | Sparse
"""True labels, one for each clip; with several labels at once a collection for each clip, or
an indicator matrix. A list, an array, a column, or a table or sparse matrix of 0 and 1."""


def prompt_list(prompt: str | Iterable[str]) -> list[str]:
    """Return prompts as a list, each with exactly one ``{}``; other braces are text.

    Raises
    ------
    LabelError
        A prompt without ``{}``, or with several.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    for text in prompts:
        if not isinstance(text, str) or text.count("{}") != 1:
            raise LabelError(f"A prompt has one '{{}}' where the label goes, got {shown(text)}.")
    if not prompts:
        raise LabelError("prompt is an empty list; give at least '{}'.")
    return prompts


def names_in(y: Any, multi_label: bool) -> list[Any]:
    """Return the labels that occur in `y`, sorted.

    Raises
    ------
    LabelError
        A matrix, whose columns have no names, or a missing label.
    """
    y = as_targets(y)
    if multi_label and _is_table(y):
        return sorted(y.columns)
    if multi_label and _is_matrix(y):
        raise LabelError("An indicator matrix does not name its columns; set labels=.")
    values = [name for names in _sets(y) for name in names] if multi_label else _values(y)
    if any(isinstance(name, (bool, np.bool_)) for name in values):
        raise LabelError(
            "y holds True and False, which have no words: give names, such as "
            "['happy' if value else 'sad' for value in y]."
        )
    for name in values:
        if not isinstance(name, (str, numbers.Number)) or name != name:
            raise LabelError(f"y has {shown(name)}, which is no label; leave such clips out.")
    try:
        return sorted(set(values))
    except TypeError:
        raise LabelError("y mixes strings and numbers; give one kind.") from None


def are_places(y: Any, labels: LabelSet) -> bool:
    """Tell whether `y` numbers labels that have names, and warn which number is which.

    So scikit-learn passes labels on (`VotingClassifier`, `StackingClassifier`, probabilities of
    `cross_val_predict`): a number is the place in the sorted labels.
    """
    if getattr(y, "ndim", 1) != 1 or not all(isinstance(name, str) for name in labels.names):
        return False
    values = _values(y)
    if not values or not all(map(_is_whole, values)):
        return False
    stands = [f"{place} for {name!r}" for place, name in enumerate(labels.sorted_names)]
    message = (
        f"y holds numbers, which are taken as places in the sorted labels: {', '.join(stands)}. "
        "Where they mean others, give labels={0: ..., 1: ...}."
    )
    unseen = [name for place, name in enumerate(labels.sorted_names) if place not in values]
    warn(MerclipWarning(f"{message} No clip has {unseen}." if unseen else message))
    return True


def names_at(y: Any, labels: LabelSet) -> list[Label]:
    """Return the names of labels that are given as places among the sorted ones.

    Raises
    ------
    LabelError
        There is no such place.
    """
    places = encode_targets(y, np.arange(len(labels)))
    return [labels.sorted_names[place] for place in places]


def encode_targets(y: Any, classes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Turn one label for each clip into positions in `classes`.

    Parameters
    ----------
    y : sequence of labels, of length n
    classes : ndarray of shape (k,)

    Returns
    -------
    ndarray of shape (n,), int64

    Raises
    ------
    LabelError
        A label that is not in `classes`.
    """
    positions, unknown = _positions(y, classes)
    if unknown:
        raise LabelError(unknown)
    return positions


def encode_truth(y: Any, classes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Turn true labels, of which a classifier need not know all, into positions in `classes`.

    Parameters
    ----------
    y : sequence of labels, of length n
    classes : ndarray of shape (k,)

    Returns
    -------
    ndarray of shape (n,), int64
        A label that is not in `classes` is k, with a warning: no answer can be right.

    Raises
    ------
    LabelError
        Labels of another kind: numbers where the classes are strings, a missing label.
    """
    positions, unknown = _positions(y, classes)
    if unknown and not all(_is_alike(value, classes) for value in _values(y)):
        raise LabelError(unknown)
    if unknown:
        warn(MerclipWarning(f"{unknown} No answer for such clips can be right."))
    return positions


def _positions(y: Any, classes: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], str]:
    """Return the place of each label in `classes`, k if it has none, and what to say of those."""
    place = {name: i for i, name in enumerate(classes.tolist())}
    values = _values(y)
    found = [place[value] if _in(value, place) else len(place) for value in values]
    pairs = zip(values, found, strict=True)
    unknown = sorted({shown(value) for value, where in pairs if where == len(place)})
    message = _unknown_message(unknown, values, classes) if unknown else ""
    return np.array(found, dtype=np.int64), message


def encode_label_sets(y: Any, classes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Turn several labels for each clip into an indicator matrix.

    Parameters
    ----------
    y : sequence of label collections, or indicator matrix of shape (n, k)
        Columns of a matrix follow `classes`; those of a DataFrame have names.
    classes : ndarray of shape (k,)

    Returns
    -------
    ndarray of shape (n, k), float32
    """
    y = as_targets(y)
    if _is_table(y):
        if sorted(map(str, y.columns)) != sorted(map(str, classes.tolist())):
            raise LabelError(
                f"The columns of y are {list(y.columns)}, but the labels are {classes.tolist()}."
            )
        y = _as_numbers(y[classes.tolist()].to_numpy())
    if _is_matrix(y):
        if y.shape[1] != len(classes) or not np.isin(y, (0, 1)).all():
            raise LabelError(
                f"An indicator matrix has {len(classes)} columns of 0 and 1, in the order of "
                f"classes_; got shape {y.shape}."
            )
        return np.asarray(y, dtype=np.float32)
    matrix = np.zeros((len(y), len(classes)), dtype=np.float32)
    for row, names in enumerate(_sets(y)):
        matrix[row, encode_targets(names, classes)] = 1
    return matrix


def _as_numbers(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a matrix of numbers; columns that may have gaps come as objects."""
    try:
        return np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        raise LabelError("The columns of y hold 0 and 1, and nothing else.") from None


def _values(y: Any) -> list[Any]:
    if getattr(y, "ndim", 1) != 1:
        raise LabelError(
            f"y has one label for each clip, got an array of shape {tuple(y.shape)}: a column is "
            "y.ravel(), of a one-hot matrix the labels are classes[y.argmax(axis=1)]."
        )
    return [_plain(value) for value in as_list(y)]


def _sets(y: Any) -> list[list[Any]]:
    sets = []
    for row, names in enumerate(y):
        if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
            raise LabelError(
                f"With multi_label=True each y is a list of labels; row {row} is {shown(names)}."
            )
        sets.append([_plain(name) for name in names])
    return sets


def _is_table(y: Any) -> bool:
    return hasattr(y, "columns") and hasattr(y, "to_numpy")


def _is_matrix(y: Any) -> bool:
    return isinstance(y, np.ndarray) and y.ndim == 2 and y.dtype.kind in "biuf"


def _labelled(names: tuple[Any, ...], values: tuple[Any, ...]) -> LabelSet:
    values = tuple(tuple(value) if type(value) is list else value for value in values)
    # Other types may be equal and mean something else, as True and 1.
    if {*map(type, names)} == {str} and all(map(_is_plain, values)):
        return _kept(names, values)
    return _checked(names, values)


def _is_plain(value: Any) -> bool:
    return type(value) is str or (type(value) is tuple and {*map(type, value)} == {str})


def _checked(names: tuple[Any, ...], values: tuple[Any, ...]) -> LabelSet:
    names = tuple(_name(name) for name in names)
    descriptions = tuple(map(_descriptions, names, values))
    _check_names(names)
    return LabelSet(names, descriptions)


# A classifier asks several times in a call, and of ten thousand labels each takes 10 ms.
_kept = functools.lru_cache(maxsize=64)(_checked)


def _is_collection(labels: Any) -> bool:
    # An iterator would be empty at its second use.
    one_use = isinstance(labels, Iterator)
    return isinstance(labels, Iterable) and not one_use and getattr(labels, "ndim", 1) == 1


def _plain(value: Any) -> Any:
    """Return a scalar of numpy or torch, or a member of an enumeration, as a built-in one."""
    if isinstance(value, enum.Enum):
        value = value.value
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    return str.__str__(value) if isinstance(value, str) else value


def _name(name: Any) -> Any:
    name = _plain(name)
    if isinstance(name, bool) or not isinstance(name, (str, numbers.Integral)):
        raise InputTypeError(f"A label is a string, got {shown(name)} of {type(name).__name__}.")
    return name


def _descriptions(name: Any, value: Any) -> tuple[str, ...]:
    value = _plain(value)
    if isinstance(value, numbers.Integral):
        raise no_words(name)
    texts = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    texts = tuple(map(_plain, texts))
    if not texts or any(not isinstance(text, str) or not text.strip() for text in texts):
        raise LabelError(f"The label {shown(name)} needs a description that is not empty.")
    return texts


def by_name(values: Mapping[Any, T]) -> dict[Any, T]:
    """Return what is given for each label, by what the label is called.

    A member of an enumeration equals its word, but a dictionary does not find it by that.
    """
    return {_plain(name): value for name, value in values.items()}


def no_words(name: Any) -> LabelError:
    """Return the error for a label that says nothing to a model that has not learned it."""
    return LabelError(
        f"The label {shown(name)} has no words to encode; give names, or a mapping such as "
        f"{{{shown(name)}: 'happy'}}."
    )


def _check_names(names: tuple[Any, ...]) -> None:
    if not names:
        raise LabelError("labels is empty; give at least two.")
    if len({type(name) for name in names}) > 1:
        raise LabelError("Label names are all strings or all integers.")
    if any("\0" in str(name) for name in names):
        raise LabelError("A label has a NUL character, which ends text elsewhere: take it out.")
    seen: dict[str, Any] = {}
    for name in names:
        if isinstance(name, str) and not name.strip():
            raise LabelError("A label is an empty string.")
        key = unicodedata.normalize("NFKC", str(name)).strip().casefold()
        if key in seen:
            raise LabelError(f"The labels {shown(seen[key])} and {shown(name)} are the same.")
        seen[key] = name


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_alike(value: Any, classes: np.ndarray[Any, Any]) -> bool:
    return isinstance(value, str) if classes.dtype.kind in "US" else isinstance(value, int)


def _in(value: Any, position: Mapping[Any, int]) -> bool:
    try:
        return value in position
    except TypeError:
        return False


def _unknown_message(unknown: list[str], values: list[Any], classes: np.ndarray[Any, Any]) -> str:
    listed = ", ".join(unknown[:10])
    message = f"y has labels that are not among {classes.tolist()}: {listed}."
    numbers_given = all(isinstance(value, numbers.Number) for value in values)
    if numbers_given and classes.dtype.kind in "US":
        message += " Give names, or labels with the same integers."
    return message
