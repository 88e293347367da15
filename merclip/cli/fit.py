"""``merclip fit``: learn from labelled clips and save a model."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merclip._shown import visible
from merclip.cli._arguments import (
    RATES,
    Parser,
    add_anchor_arguments,
    add_column_arguments,
    add_debug_argument,
    add_label_arguments,
    add_model_arguments,
    add_reading_arguments,
    anchor_parameters,
    check_out,
    count,
    examples,
    given,
    learning_rate,
    model_parameters,
    number,
    read_labels,
)
from merclip.cli._console import (
    DONE,
    FAILED,
    CommandError,
    debugging,
    on_terminal,
    say,
    short_messages,
)
from merclip.cli._data import (
    SEPARATOR,
    LabelledClip,
    as_in_python,
    check_labels,
    columns_of,
    read_data,
    with_files,
    with_place,
)
from merclip.cli._signals import status as status_of_signal
from merclip.cli._summary import held_out, summary

if TYPE_CHECKING:
    from merclip.classifier import EmotionClassifier

_CHECKPOINT_FILES = ("config.json", "model.safetensors", "README.md")


def run(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_intermixed_args(list(argv))
    if arguments.data is None:
        raise CommandError("there is no DATA: put it first, merclip fit DATA.csv --out DIR")
    if arguments.out is None:
        raise CommandError("say where the model is saved: --out DIR")
    out = Path(arguments.out)
    _check_out(out)
    columns = columns_of(arguments, arguments.label_column)
    clips = read_data(Path(arguments.data), columns=columns, on_error=arguments.on_error)
    kept = with_files(clips, arguments.on_error)
    labels = read_labels(arguments)
    check_labels(kept, labels)
    if not arguments.multi_label and len({clip.label for clip in kept}) < 2:
        raise CommandError(f"all clips have the one label {kept[0].label!r}", FAILED)
    with short_messages(debugging(argv)):
        classifier = _fit(arguments, kept, labels)
        return _finish(classifier, kept, len(clips) - len(kept), out, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="merclip fit",
        usage="merclip fit DATA.csv --out DIR [options]",
        description="Learn from labelled clips. DATA has the columns label, at least one of "
        "video, audio and text, and perhaps start and end (seconds); its paths are relative to "
        "its own folder. With the suffix .jsonl it holds one JSON object with these keys on "
        "each line.",
        epilog=examples(
            "merclip fit train.csv --out my_model",
            "merclip fit train.csv --out my_model --labels happy sad angry --epochs 40",
            "merclip fit train.csv --out my_model --group-column speaker --class-weight balanced",
            "merclip fit train.csv --out my_model --anchors faces   (faces/happy/*.jpg ...)",
            "merclip predict clip.mp4 --model my_model",
        ),
    )
    parser.add_argument("data", nargs="?", metavar="DATA", help="a .csv or .jsonl file")
    parser.add_argument("--out", metavar="DIR", help="where the model is saved")
    add_label_arguments(parser, "those that occur in DATA")
    add_anchor_arguments(parser)
    add_model_arguments(parser)
    _add_training_arguments(parser)
    _add_data_arguments(parser)
    return parser


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument(
        "--tune",
        choices=("head", "full"),
        help="head (default): what follows the encoders, fast; full: the encoders as well",
    )
    group.add_argument(
        "--train-dtype",
        choices=("float32", "bfloat16"),
        help="--tune full: numbers in which the encoders compute; default float32",
    )
    group.add_argument("--epochs", type=count, metavar="N", help="default 20")
    group.add_argument("--batch-size", type=count, metavar="N", help="default 16")
    group.add_argument(
        "--lr", type=learning_rate, metavar="X", help=f"a number, or one of {', '.join(RATES)}"
    )
    group.add_argument(
        "--validation",
        type=_held_out,
        metavar="X",
        help="share of clips held out to find the best epoch; default 0.1 from 200 clips on",
    )
    group.add_argument("--class-weight", choices=("balanced",), help="make up for rare labels")
    group.add_argument("--seed", type=int, metavar="N", help="default 0")
    group.add_argument(
        "--checkpoint-dir", metavar="DIR", help="keep the state there; run again, it goes on"
    )


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    add_column_arguments(group)
    group.add_argument(
        "--multi-label", action="store_true", help=f"labels of a clip are joined by {SEPARATOR}"
    )
    group.add_argument(
        "--group-column", metavar="NAME", help="speaker or dialogue; validation keeps it whole"
    )
    add_reading_arguments(group)
    add_debug_argument(parser)


def _held_out(text: str) -> float:
    share = number(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, got {text}")
    return share


def _check_out(out: Path) -> None:
    """Refuse a directory that cannot be made, or whose own files would be overwritten."""
    check_out(out)
    _check_can_be_made(out)
    there = [name for name in _CHECKPOINT_FILES if (out / name).exists()]
    if there and not _is_checkpoint(out):
        raise CommandError(
            f"--out {str(out)!r} has a {there[0]} that is not merclip's: give another directory"
        )


def _check_can_be_made(directory: Path) -> None:
    """Make the directory for a moment: training may take hours, and leaves nothing if it ends."""
    there = next(path for path in (directory, *directory.parents) if path.exists())
    made = [path for path in (directory, *directory.parents) if path not in (there, *there.parents)]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--out {str(directory)!r} cannot be made: {error.strerror}") from error
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
    if not os.access(there, os.W_OK):
        raise CommandError(f"--out {str(directory)!r} cannot be written to")


def _is_checkpoint(directory: Path) -> bool:
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "merclip_version" in config


def _fit(
    arguments: argparse.Namespace, clips: Sequence[LabelledClip], labels: Any
) -> EmotionClassifier:
    from merclip import EmotionClassifier
    from merclip.cli._progress import EpochLines
    from merclip.errors import MerclipError

    names = ("tune", "train_dtype", "epochs", "batch_size", "lr", "validation", "class_weight")
    bar = on_terminal()
    classifier = EmotionClassifier(
        labels,
        model=arguments.model,
        multi_label=arguments.multi_label,
        use_video_audio=not arguments.no_video_audio,
        on_error=arguments.on_error,
        random_state=arguments.seed,
        verbose=int(bar),
        callbacks=None if bar else [EpochLines()],
        **model_parameters(arguments),
        **anchor_parameters(arguments),
        **given(arguments, *names, "checkpoint_dir", "face", "frames"),
    )
    groups = None if arguments.group_column is None else [clip.group for clip in clips]
    y = [clip.label for clip in clips]
    if labels is None and not arguments.multi_label:
        y = as_in_python(y)
    try:
        return classifier.fit([clip.values for clip in clips], y, groups=groups)
    except MerclipError as error:
        raise type(error)(with_place(str(error), clips)) from error


def _finish(
    classifier: EmotionClassifier,
    clips: Sequence[LabelledClip],
    n_lost: int,
    out: Path,
    arguments: argparse.Namespace,
) -> int:
    if not classifier.history_:
        again = "; run the same again to go on" if arguments.checkpoint_dir else ""
        say("error", f"interrupted before the first epoch ended: nothing was saved{again}")
        return status_of_signal()
    classifier.save_pretrained(out)
    if arguments.group_column is not None and not held_out(classifier):
        say("fit", "--group-column had no effect: no clips were held out (see --validation)")
    for name, value in summary(classifier, clips, n_lost):
        print(f"{name:<8}  {visible(value)}")
    print(f"{'saved in':<8}  {out} (use it: merclip predict FILE --model {out})")
    return status_of_signal() if classifier.interrupted_ else DONE
