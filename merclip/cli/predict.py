"""``merclip predict``: label clips and sentences."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

from merclip._progress import progress
from merclip.cli._adapt import adapted_predictions, add_adapt_arguments, situations_in
from merclip.cli._arguments import (
    EXIT_STATUS,
    Parser,
    add_anchor_arguments,
    add_column_arguments,
    add_debug_argument,
    add_label_arguments,
    add_model_arguments,
    add_view_arguments,
    anchor_parameters,
    count,
    examples,
    given,
    model_parameters,
    read_labels,
    reads_like_media,
    seconds,
    share,
    split_at_dashes,
)
from merclip.cli._clips import Row, Rows, check_labels, clips_of, rows_of
from merclip.cli._console import (
    DONE,
    FAILED,
    CommandError,
    debugging,
    on_terminal,
    say,
    short_messages,
)
from merclip.cli._signals import whole

if TYPE_CHECKING:
    from merclip.classifier import EmotionClassifier
    from merclip.cli._resume import Done
    from merclip.cli._writers import Writer
    from merclip.results import Prediction
    from merclip.types import Clip

_GPU_BATCH = 8


def run(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    before, after = split_at_dashes(argv)
    arguments = _parser().parse_intermixed_args(before)
    arguments.files = [*(arguments.files or ()), *after]
    check_labels(arguments)
    rows = rows_of(arguments)
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
        "brings its own sound. Or it is a table, DATA.csv or DATA.jsonl, as of merclip fit: with "
        "at least one of the columns video, audio and text, and perhaps id, start and end.",
        epilog=examples(
            "merclip predict clip.mp4 --labels happy sad angry",
            'merclip predict clip.mp4 --text "You did what?" --labels happy "quietly furious"',
            'merclip predict --text "What a day!" --labels happy sad',
            "merclip predict clips/*.mp4 --labels happy sad --format csv > result.csv",
            "merclip predict DATA.csv --text-column Utterance --labels happy sad --format csv",
            "merclip predict session1/*.wav --labels happy sad angry --adapt",
            "merclip predict --text - --labels happy sad < lines.txt",
            "find clips -name '*.mp4' | merclip predict --files-from - --labels happy sad \\",
            "    --format jsonl --output result.jsonl --resume",
            "merclip predict --labels happy sad -- clip.mp4",
            "merclip predict clip.mp4 --model my_model",
            "merclip predict clip.mp4 --anchors faces   (faces/happy/*.jpg, faces/sad/*.jpg)",
        )
        + f"\n\n{EXIT_STATUS}",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="video or sound files")
    clip = parser.add_argument_group("clips")
    clip.add_argument(
        "--files-from",
        metavar="LIST",
        help="a text file with the path of a FILE on each line, or - for stdin; read bit by bit",
    )
    clip.add_argument(
        "--text",
        action="append",
        default=[],
        help="what is said; repeat it to pair texts with FILEs in their order. Alone, it is "
        "classified by itself; - reads one text a line from stdin",
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
    clip.add_argument(
        "--on-error",
        choices=("raise", "skip", "nan"),
        default="nan",
        help="what a clip that cannot be read does: nan (default) gives it a row that says why, "
        "skip none, raise ends the run",
    )
    table = parser.add_argument_group("table (FILE is a .csv or .jsonl)")
    add_column_arguments(table, "text")
    table.add_argument(
        "--group-column", metavar="NAME", help="speaker or dialogue, shown beside the id"
    )
    add_label_arguments(parser, "those that the model was saved with")
    add_anchor_arguments(parser)
    _add_decision_arguments(parser)
    add_adapt_arguments(parser, "DATA.csv")
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
        help="multi-label: least score of a label that holds; by default what fit tuned, else 0.2",
    )


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    # Spelt out, as importing the writers here would slow --help down.
    group.add_argument(
        "--format", choices=("table", "json", "jsonl", "csv"), default="table", help="default table"
    )
    group.add_argument("--output", metavar="FILE", help="write results there, not to stdout")
    group.add_argument(
        "--resume",
        action="store_true",
        help="with --format jsonl and --output: leave out clips that are in FILE already, and "
        "append the others",
    )
    group.add_argument(
        "--batch-size",
        type=count,
        metavar="N",
        help=f"clips that are read before answers come; default 1, on a GPU {_GPU_BATCH}",
    )
    add_debug_argument(parser)


def _check_options(arguments: argparse.Namespace, rows: Rows) -> None:
    start, end = arguments.start, arguments.end
    if not rows.has_media and (start is not None or end is not None):
        raise CommandError("--start and --end cut a FILE, and there is none")
    if end is not None and end <= (start or 0.0):
        raise CommandError(f"--end {end:g} does not lie after --start {start or 0:g}")
    if any(row.text is not None and not row.text.strip() for row in rows.given):
        raise CommandError("--text is empty")
    if arguments.resume and (arguments.output is None or arguments.format != "jsonl"):
        raise CommandError("--resume goes with --format jsonl and --output FILE")
    if arguments.resume and (arguments.adapt or arguments.adapt_by):
        raise CommandError("--adapt looks at all clips together, and does not go with --resume")
    if arguments.adapt_by and not rows.table:
        raise CommandError("--adapt-by names a column of a table, DATA.csv; for files: --adapt")
    if arguments.output is None and sys.__stdout__ is None:
        raise CommandError("stdout is closed: give --output FILE", FAILED)
    if arguments.output is not None:
        _check_output(arguments.output, rows)


def _check_output(output: str, rows: Rows) -> None:
    folder = os.path.dirname(output) or "."
    if os.path.isdir(output) or not os.path.isdir(folder):
        raise CommandError(f"--output {output!r} is not a file in a directory that exists")
    if not os.path.exists(output):
        return
    # What comes from stdin cannot be looked through before.
    every = rows.given if rows.streams else [*rows, Row(rows.listing), Row(rows.table)]
    inputs = (path for row in every for path in (row.file, row.audio) if path is not None)
    if reads_like_media(output) or any(_same_file(output, path) for path in inputs):
        raise CommandError(f"--output {output!r} is one of the inputs, or another recording")


def _same_file(one: str, other: str) -> bool:
    return os.path.exists(other) and os.path.samefile(one, other)


def _classifier(arguments: argparse.Namespace, labels: Any) -> EmotionClassifier:
    from merclip import EmotionClassifier

    parameters = {
        **model_parameters(arguments),
        **anchor_parameters(arguments),
        **given(arguments, "threshold", "face", "frames"),
    }
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


def _predict(arguments: argparse.Namespace, rows: Rows, classifier: EmotionClassifier) -> int:
    from merclip.cli._resume import Done, run_of
    from merclip.cli._writers import writer_for

    labels = [str(name) for name in classifier.labels_.names]
    run = run_of(classifier) if arguments.format == "jsonl" else ""
    done = _done(arguments, labels, run) if arguments.resume else Done()
    batch = _Batch(classifier, rows, done, arguments)
    with _stream(arguments.output, append=arguments.resume) as stream:
        writer = writer_for(arguments.format, stream, rows, labels, classifier.multi_label, run)
        writer.begin()
        try:
            batch.write(writer)
        except KeyboardInterrupt as stop:
            raise type(stop)(_where_it_ended(arguments, batch.n_done)) from None
        finally:
            writer.end()
    if batch.n_failed > 1:
        say("predict", f"{batch.n_failed} of {batch.n_done} clips failed")
    if done.n_failed:
        say("predict", _failed_before(done.n_failed, arguments.output))
    return FAILED if batch.n_failed + done.n_failed else DONE


class _Batch:
    """Clips on their way from rows to results.

    Parameters
    ----------
    classifier : EmotionClassifier
    rows : Rows
    done : Done
        Clips to pass over.
    arguments : Namespace

    Attributes
    ----------
    n_done, n_failed : int
        Clips that went through.
    """

    def __init__(
        self, classifier: EmotionClassifier, rows: Rows, done: Done, arguments: argparse.Namespace
    ) -> None:
        self.classifier, self.rows, self.done = classifier, rows, done
        self.on_error, self.arguments = arguments.on_error, arguments
        on_cpu = classifier.device_.type == "cpu"
        self.size = arguments.batch_size or (1 if on_cpu else _GPU_BATCH)
        self.n_done = self.n_failed = 0
        self._read: deque[Row] = deque()

    def write(self, writer: Writer) -> None:
        """Write a row for each clip as soon as it is done."""
        from merclip.cli._table import reason

        for prediction in self._predictions():
            row = self._read.popleft()
            failed = prediction.error is not None
            if failed:
                said = _named(prediction, reason(prediction))
                if self.on_error == "raise":
                    raise CommandError(f"{said} (--on-error nan or skip goes on)", FAILED)
                say("error", said)
            with whole():
                if not (failed and self.on_error == "skip"):
                    writer.write(prediction, row)
                self.n_done += 1
                self.n_failed += failed

    def _predictions(self) -> Iterator[Prediction]:
        total = self._count()
        clips = clips_of(self._missing())
        given = clips if total is None else _Listed(clips, total)
        if self.arguments.adapt or self.arguments.adapt_by:
            found = self._adapted(list(given))
        else:
            found = self.classifier.predict_iter(given, batch_size=self.size)
        return progress(
            found,
            "predict",
            total,
            bar=on_terminal() and total != 1,
            unit="clip",
            failed=lambda prediction: prediction.error is not None,
            leave=False,
        )

    def _adapted(self, clips: list[Clip]) -> Iterator[Prediction]:
        situations = situations_in(self.arguments, [row.columns for row in self._read])
        return adapted_predictions(self.classifier, clips, situations or [])

    def _missing(self) -> Iterator[Row]:
        for row in self.done.missing(self.rows):
            self._read.append(row)
            yield row

    def _count(self) -> int | None:
        """Return how many clips are to come; None where they stream in."""
        if self.rows.streams:
            return None
        total = sum(1 for _ in self.done.missing(self.rows))
        if self.done.n_rows:
            say("predict", f"{self.done.n_rows} clips are there already, {total} to go")
        return total


@dataclass
class _Listed:
    """Clips whose number is known, so that they may be read ahead."""

    clips: Iterable[Clip]
    total: int

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)


def _done(arguments: argparse.Namespace, labels: Sequence[str], run: str) -> Done:
    from merclip.cli._resume import cut_off, read_done

    done = read_done(arguments.output, labels, run)
    if cut_off(arguments.output, done):
        say("predict", "the last line was cut off, and its clip is done again")
    return done


def _failed_before(number: int, output: str) -> str:
    clips, rows = ("clip", "its row says") if number == 1 else ("clips", "their rows say")
    return f"{number} {clips} of {output} could not be read by an earlier run; {rows} why"


def _where_it_ended(arguments: argparse.Namespace, n_done: int) -> str:
    resumes = arguments.format == "jsonl" and arguments.output is not None
    hint = "; the same with --resume goes on" if resumes else ""
    return f"after {n_done} clips{hint}"


def _named(prediction: Prediction, reason: str) -> str:
    name = prediction.id or ""
    return reason if name in reason else f"{name}: {reason}"


@contextlib.contextmanager
def _stream(output: str | None, *, append: bool) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    # Names that are no UTF-8 become escapes, which JSON understands.
    mode: Literal["a", "w"] = "a" if append else "w"
    with open(output, mode, encoding="utf-8", newline="", errors="backslashreplace") as file:
        yield file
