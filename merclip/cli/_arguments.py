"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import difflib
import json
import math
import os
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from merclip.cli._console import WRONG_USE, CommandError, say

MEDIA_SUFFIXES = frozenset(
    ".3gp .aac .aif .aiff .avi .flac .flv .m4a .m4v .mka .mkv .mov .mp3 .mp4 .mpeg .mpg .mts "
    ".oga .ogg .ogv .opus .ts .wav .webm .wma .wmv".split()
)


TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
RATES = ("few-shot", "fresh", "practical", "paper")
EXIT_STATUS = (
    "exit status: 0 done; 1 a clip cannot be read, a model cannot be had, or another failure;\n"
    "2 wrong use, also a file or folder to work on that is not there; 130 Ctrl-C; 143 SIGTERM"
)
_MODEL = (
    "mini (embedded, the default), a directory, org/name on the Hugging Face Hub, or an "
    "open_clip architecture such as ViT-B-32 with --pretrained"
)


class Parser(argparse.ArgumentParser):
    """argparse, with errors of two lines in place of the whole usage."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        # The formatter leaves examples as they are, and descriptions too.
        options["description"] = textwrap.fill(options.get("description", ""), 78)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Print the message and a hint, and leave with status 2."""
        say("error", f"{message}{self._hint(message)} (see {self.prog} --help)")
        raise SystemExit(WRONG_USE)

    def _hint(self, message: str) -> str:
        """Return what a misspelt option was probably meant to be."""
        kind, _, given = message.partition(": ")
        words = given.split() if kind == "unrecognized arguments" else []
        unknown = next((word for word in words if word.startswith("-")), "")
        return did_you_mean(unknown.partition("=")[0], self._option_string_actions)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question for the known word that comes closest, if one does."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def examples(*lines: str) -> str:
    """Return examples for the end of a help text."""
    return "examples:\n" + "\n".join(f"  {line}" for line in lines)


def add_model_arguments(
    parser: argparse.ArgumentParser,
    *,
    encodes: bool = True,
    default: str | None = "mini",
    said: str = _MODEL,
) -> None:
    """Add what says which model is used, where it runs, and where encoded clips are kept.

    Without `encodes` the command encodes no clips. `said` is the help of --model.
    """
    group = parser.add_argument_group("model")
    group.add_argument("--model", default=default, metavar="NAME", help=said)
    group.add_argument(
        "--pretrained",
        metavar="TAG",
        help="for an architecture: open_clip's tag of weights (openai), a file, or random",
    )
    group.add_argument("--revision", metavar="REV", help="branch, tag or commit on the Hub")
    group.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps; by default the best")
    group.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="numbers in which the encoders compute; default auto: float32, or fewer bits "
        "for large models where the processor is faster with them",
    )
    group.add_argument(
        "--backend",
        choices=("torch", "openvino"),
        help="what runs image towers; default torch, openvino needs that extra",
    )
    if encodes:
        group.add_argument(
            "--feature-cache",
            metavar="DIR",
            help="keep encoded clips there, so that they need not be encoded again",
        )


def model_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return those parameters of the classifier that were given."""
    return given(arguments, "pretrained", "revision", "device", "dtype", "backend", "feature_cache")


def given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return the named arguments, without those that were not given."""
    values = {name: getattr(arguments, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def add_label_arguments(parser: argparse.ArgumentParser, without: str, *aliases: str) -> None:
    """Add --labels and --labels-file; `without` says what holds when both are absent.

    `aliases` are other names of --labels-file.
    """
    group = parser.add_argument_group("labels").add_mutually_exclusive_group()
    group.add_argument(
        "--labels",
        nargs="+",
        action="extend",
        metavar="LABEL",
        help=f"words, or phrases and sentences in quotes; may be repeated. Without it: {without}",
    )
    group.add_argument(
        "--labels-file",
        *aliases,
        metavar="FILE",
        help="labels as they were pasted from a chat model: one a line, names with descriptions, "
        "a Markdown table, or JSON; lines with # are comments",
    )


def add_anchor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --anchors and --predict-from."""
    group = parser.add_argument_group("pictures as labels")
    group.add_argument(
        "--anchors",
        metavar="FOLDER",
        help="a folder with one folder of pictures for each label; names them without --labels",
    )
    group.add_argument(
        "--predict-from",
        choices=("auto", "labels", "anchors", "both"),
        help="words, pictures, or the average of both; default auto: all that there is",
    )


def anchor_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what was given of anchors and predict_from."""
    if arguments.anchors is not None and not os.path.isdir(arguments.anchors):
        raise CommandError(
            f"--anchors {arguments.anchors!r} is no folder: give one with a folder of pictures for "
            "each label"
        )
    return given(arguments, "anchors", "predict_from")


def anchor_names(arguments: argparse.Namespace) -> list[str]:
    """Return the labels that --anchors names."""
    folder = anchor_parameters(arguments).get("anchors")
    if folder is None:
        return []
    from merclip.anchors import anchor_labels

    return [str(name) for name in anchor_labels(folder).names]


def add_column_arguments(group: argparse._ActionsContainer, *names: str) -> None:
    """Add --label-column and --text-column, or those that are named, and how DATA is written."""
    for name in names or ("label", "text"):
        group.add_argument(
            f"--{name}-column", default=name, metavar="NAME", help=f"by default {name}"
        )
    group.add_argument(
        "--delimiter",
        type=delimiter,
        metavar="C",
        help="what divides columns of CSV; by default found: , ; tab or |",
    )
    group.add_argument(
        "--encoding", metavar="NAME", help="of DATA, such as cp1251; by default found"
    )


def add_reading_arguments(group: argparse._ActionsContainer) -> None:
    """Add what says how clips are read, and what one does that cannot be."""
    add_view_arguments(group)
    group.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="what a clip that cannot be read does; default raise",
    )


def add_view_arguments(group: argparse._ActionsContainer) -> None:
    """Add --no-video-audio, --face and --frames."""
    group.add_argument(
        "--no-video-audio", action="store_true", help="leave out the sound that a video brings"
    )
    group.add_argument(
        "--face",
        choices=("auto", "always", "never"),
        help="crop frames to the speaker's face; default auto: if the model was trained on faces",
    )
    group.add_argument(
        "--frames",
        choices=("exact", "fast"),
        help="fast: a key frame may stand for a frame that is near; for long videos",
    )


def add_json_argument(group: argparse._ActionsContainer) -> None:
    """Add --json beside --format."""
    group.add_argument(
        "--json", action="store_const", const="json", dest="format", help="same as --format json"
    )


def add_debug_argument(parser: argparse.ArgumentParser) -> None:
    """Add --debug, which `merclip.cli.main` looks for itself."""
    parser.add_argument("--debug", action="store_true", help="show tracebacks and all warnings")


def read_json(path: Path, option: str) -> Any:
    """Return what the JSON file of an option holds."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CommandError(f"{option} {str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CommandError(f"{option} {str(path)!r} is not JSON: {error}") from error


def check_out(out: Path) -> None:
    """Refuse a file where a directory is to be written."""
    if out.exists() and not out.is_dir():
        raise CommandError(f"--out {str(out)!r} is a file")


def read_labels(arguments: argparse.Namespace) -> Any:
    """Return the labels that were given as a list or mapping, checked; or None."""
    if arguments.labels_file is not None:
        return labels_in(Path(arguments.labels_file), "--labels-file")
    if arguments.labels is not None:
        from merclip import LabelSet

        LabelSet.of(arguments.labels)
    return arguments.labels


def labels_in(path: Path, option: str) -> dict[Any, list[str]]:
    """Return the labels that the file of an option holds, as they were pasted."""
    from merclip import LabelSet
    from merclip.errors import LabelError

    try:
        return LabelSet.from_text(path.read_text(encoding="utf-8-sig")).to_dict()
    except LabelError as error:
        raise CommandError(f"{option} {str(path)!r}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise CommandError(f"{option} {str(path)!r} cannot be read: {reason}") from error


def reads_like_media(word: str) -> bool:
    """Return whether a word has the ending of a video or sound file."""
    return os.path.splitext(word)[1].lower() in MEDIA_SUFFIXES


def reads_like_table(word: str) -> bool:
    """Return whether a word has the ending of a CSV or JSON Lines file."""
    return os.path.splitext(word)[1].lower() in TABLE_SUFFIXES


def number(text: str) -> float:
    """Parse a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}")
    return value


def count(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def seed(text: str) -> int:
    """Parse a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def learning_rate(text: str) -> float | str:
    """Parse a positive number, or one of `RATES`."""
    if text in RATES:
        return text
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def delimiter(text: str) -> str:
    """Parse one character, or tab."""
    character = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(character) != 1 or character in '"\r\n ':
        raise argparse.ArgumentTypeError(f"must be one character, or tab, got {text!r}")
    return character


def seconds(text: str) -> float:
    """Parse a time of at least 0."""
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0 seconds, got {text}")
    return value


def share(text: str) -> float:
    """Parse a number in [0, 1]."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be in 0..1, got {text}")
    return value


def split_at_dashes(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments before ``--`` and those after it."""
    # argparse treats -- differently from one Python version to the next.
    listed = list(words)
    if "--" not in listed:
        return listed, []
    position = listed.index("--")
    return listed[:position], listed[position + 1 :]
