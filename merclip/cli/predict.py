"""``merclip predict``: label clips and sentences."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from merclip.cli._arguments import (
    Parser,
    add_debug_argument,
    add_label_arguments,
    add_model_arguments,
    add_view_arguments,
    count,
    examples,
    given,
    model_parameters,
    read_labels,
    seconds,
    share,
    split_at_dashes,
)
from merclip.cli._clips import Row, check_labels, clips_of, pair_rows
from merclip.cli._console import (
    DONE,
    FAILED,
    CommandError,
    debugging,
    on_terminal,
    say,
    short_messages,
)

if TYPE_CHECKING:
    from merclip.classifier import EmotionClassifier
    from merclip.results import Prediction

_GPU_BATCH = 8


def run(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    before, after = split_at_dashes(argv)
    arguments = _parser().parse_intermixed_args(before)
    arguments.files = [*(arguments.files or ()), *after]
    check_labels(arguments)
    rows = pair_rows(arguments)
    _check_options(arguments, rows)
    labels = read_labels(arguments)
    with short_messages(debugging(argv)):
        classifier = _classifier(arguments, labels)
        return _predict(arguments, rows, classifier)


def _parser() -> Parser:
    parser = Parser(
        prog="merclip predict",
        usage="merclip predict FILE... --labels LABEL... [options]",
        description="Say which emotion each clip shows. A FILE is a video or a sound; a video "
        "brings its own sound.",
        epilog=examples(
            "merclip predict clip.mp4 --labels happy sad angry",
            'merclip predict clip.mp4 --text "You did what?" --labels happy "quietly furious"',
            'merclip predict --text "What a day!" --labels happy sad',
            "merclip predict clips/*.mp4 --labels happy sad --format csv > result.csv",
            "merclip predict --labels happy sad -- clip.mp4",
            "merclip predict clip.mp4 --model my_model",
        )
        + "\n\nexit status: 0 done, 1 an input failed (its row says why), 2 wrong use",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="video or sound files")
    clip = parser.add_argument_group("clips")
    clip.add_argument(
        "--text",
        action="append",
        default=[],
        help="what is said; repeat it to pair texts with FILEs in their order. Alone, it is "
        "classified by itself",
    )
    clip.add_argument(
        "--audio",
        action="append",
        default=[],
        metavar="FILE",
        help="sound in place of the video's own, or alone",
    )
    clip.add_argument("--start", type=seconds, metavar="S", help="use the clip from this second")
    clip.add_argument("--end", type=seconds, metavar="S", help="use the clip up to this second")
    add_view_arguments(clip)
    add_label_arguments(parser, "those that the model was saved with")
    _add_decision_arguments(parser)
    add_model_arguments(parser)
    _add_output_arguments(parser)
    return parser


def _add_decision_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--multi-label", action="store_true", help="judge each label by itself; several may hold"
    )
    parser.add_argument(
        "--threshold",
        type=share,
        metavar="X",
        help="multi-label: least score of a label that holds",
    )


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    # Spelt out, as importing the writers here would slow --help down.
    group.add_argument(
        "--format", choices=("table", "json", "jsonl", "csv"), default="table", help="default table"
    )
    group.add_argument("--output", metavar="FILE", help="write results there, not to stdout")
    group.add_argument(
        "--batch-size",
        type=count,
        metavar="N",
        help=f"clips that are read before answers come; default 1, on a GPU {_GPU_BATCH}",
    )
    add_debug_argument(parser)


def _check_options(arguments: argparse.Namespace, rows: Sequence[Row]) -> None:
    start, end = arguments.start, arguments.end
    has_media = any(row.file or row.audio for row in rows)
    if not has_media and (start is not None or end is not None):
        raise CommandError("--start and --end cut a FILE, and there is none")
    if end is not None and end <= (start or 0.0):
        raise CommandError(f"--end {end:g} does not lie after --start {start or 0:g}")
    if any(row.text is not None and not row.text.strip() for row in rows):
        raise CommandError("--text is empty")
    if arguments.output is not None:
        _check_output(arguments.output, rows)


def _check_output(output: str, rows: Sequence[Row]) -> None:
    folder = os.path.dirname(output) or "."
    if os.path.isdir(output) or not os.path.isdir(folder):
        raise CommandError(f"--output {output!r} is not a file in a directory that exists")
    inputs = [path for row in rows for path in (row.file, row.audio) if path is not None]
    if os.path.exists(output) and any(_same_file(output, path) for path in inputs):
        raise CommandError(f"--output {output!r} is one of the inputs")


def _same_file(one: str, other: str) -> bool:
    return os.path.exists(other) and os.path.samefile(one, other)


def _classifier(arguments: argparse.Namespace, labels: Any) -> EmotionClassifier:
    from merclip.classifier import EmotionClassifier

    parameters = {**model_parameters(arguments), **given(arguments, "threshold", "face")}
    if arguments.multi_label:
        parameters["multi_label"] = True
    classifier = EmotionClassifier.from_pretrained(
        arguments.model,
        labels=labels,
        use_video_audio=not arguments.no_video_audio,
        on_error="nan",
        **parameters,
    )
    if arguments.threshold is not None and not classifier.multi_label:
        raise CommandError("--threshold is for --multi-label")
    _check_known_labels(classifier, labels)
    return classifier


def _check_known_labels(classifier: EmotionClassifier, labels: Any) -> None:
    if labels is not None and len(labels) == 1 and not classifier.multi_label:
        hint = "; labels are separated by spaces" if "," in str(next(iter(labels))) else ""
        message = "one label has nothing to compare with: give more, or --multi-label"
        raise CommandError(message + hint)
    from merclip.errors import NotFittedError

    try:
        _ = classifier.labels_
    except NotFittedError:
        raise CommandError("this model was saved without labels: give --labels") from None


def _predict(
    arguments: argparse.Namespace, rows: Sequence[Row], classifier: EmotionClassifier
) -> int:
    from tqdm import tqdm

    from merclip.cli._table import reason
    from merclip.cli._writers import writer_for

    size = arguments.batch_size or (1 if classifier.device_.type == "cpu" else _GPU_BATCH)
    found = classifier.predict_iter(clips_of(rows, arguments.start, arguments.end), batch_size=size)
    hidden = len(rows) < 2 or not on_terminal()
    failed = 0
    with _stream(arguments.output) as stream:
        writer = writer_for(
            arguments.format,
            stream,
            rows,
            [str(name) for name in classifier.labels_.names],
            classifier.multi_label,
        )
        writer.begin()
        try:
            for prediction in tqdm(
                found, total=len(rows), unit="clip", disable=hidden, leave=False
            ):
                writer.write(prediction)
                if prediction.error is not None:
                    failed += 1
                    say("error", _named(prediction, reason(prediction)))
        finally:
            writer.end()
    return FAILED if failed else DONE


def _named(prediction: Prediction, reason: str) -> str:
    name = prediction.id or ""
    return reason if name in reason else f"{name}: {reason}"


@contextlib.contextmanager
def _stream(output: str | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with open(output, "w", encoding="utf-8", newline="") as file:
        yield file
