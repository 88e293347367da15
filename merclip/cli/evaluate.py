"""``merclip evaluate``: measure a model on labelled clips."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merclip.cli._arguments import (
    Parser,
    add_debug_argument,
    add_label_arguments,
    add_model_arguments,
    count,
    examples,
    given,
    model_parameters,
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
from merclip.cli._data import LabelledClip, check_labels, read_data, with_files, with_place

if TYPE_CHECKING:
    from merclip.evaluation import Report

SHOTS, SEEDS = (16,), (0, 1, 2)
_FOR_K_SHOT = ("shots", "seeds", "group_column")


def run(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_intermixed_args(list(argv))
    _check_options(arguments)
    labels = read_labels(arguments)
    clips = _clips(arguments)
    check_labels(clips, labels)
    if labels is None:
        labels = _labels_of(clips)
    with short_messages(debugging(argv)):
        report = _report(arguments, clips, labels)
        for skipped in report.skipped:
            say("warning", f"{skipped.id} is left out: {skipped.reason}")
        print(report.to_json() if arguments.format == "json" else report.to_markdown())
        if arguments.out is not None:
            from merclip.cli._report_files import write_report

            write_report(report, Path(arguments.out))
    return DONE


def _parser() -> Parser:
    parser = Parser(
        prog="merclip evaluate",
        usage="merclip evaluate DATA.csv [--labels LABEL...] [options]",
        description="Measure a model on labelled clips that it was not trained on. DATA has the "
        "columns label, at least one of video, audio and text, and perhaps start and end "
        "(seconds); its paths are relative to its own folder. With the suffix .jsonl it holds "
        "one JSON object with these keys on each line.",
        epilog=examples(
            "merclip evaluate test.csv",
            "merclip evaluate test.csv --descriptions sentences.json --out report",
            "merclip evaluate test.csv --labels happy sad angry --map anger=angry joy=happy",
            "merclip evaluate all.csv --protocol k-shot --shots 1 4 16 --group-column speaker",
        )
        + "\n\nexit status: 0 done, 1 an input failed, 2 wrong use",
    )
    parser.add_argument("data", nargs="?", metavar="DATA", help="a .csv or .jsonl file")
    add_label_arguments(parser, "those that occur in DATA", "--descriptions")
    _add_protocol_arguments(parser)
    _add_data_arguments(parser)
    add_model_arguments(parser)
    parser.add_argument(
        "--prompt",
        nargs="+",
        action="extend",
        metavar="FORMAT",
        help="what labels are put into, such as 'a person feeling {}'; several are averaged",
    )
    _add_output_arguments(parser)
    return parser


def _add_protocol_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("protocol")
    group.add_argument(
        "--protocol",
        choices=("zero-shot", "k-shot"),
        default="zero-shot",
        help="zero-shot (default): the model as it is; k-shot: also after a fit to a few "
        "examples of each label, tested on the other clips",
    )
    group.add_argument(
        "--shots",
        nargs="+",
        type=count,
        metavar="K",
        help=f"k-shot: examples of each label; default {SHOTS[0]}",
    )
    group.add_argument(
        "--seeds",
        nargs="+",
        type=_seed,
        metavar="N",
        help=f"k-shot: one draw of examples for each; default {' '.join(map(str, SEEDS))}",
    )
    group.add_argument(
        "--group-column",
        metavar="NAME",
        help="k-shot: speaker or dialogue; no test clip is of one that was learned from",
    )


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument("--label-column", default="label", metavar="NAME", help="by default label")
    group.add_argument(
        "--map",
        nargs="+",
        action="extend",
        type=_renaming,
        metavar="NAME=LABEL",
        help="call a label of DATA otherwise, such as anger=angry",
    )
    group.add_argument(
        "--no-video-audio", action="store_true", help="leave out the sound that a video brings"
    )
    group.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="what a clip that cannot be read does; default raise",
    )


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--out", metavar="DIR", help="write the report, its pictures and all predictions there"
    )
    group.add_argument("--format", choices=("table", "json"), default="table", help="default table")
    group.add_argument(
        "--json", action="store_const", const="json", dest="format", help="same as --format json"
    )
    group.add_argument("--batch-size", type=count, metavar="N", help="default 16")
    add_debug_argument(parser)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def _renaming(text: str) -> tuple[str, str]:
    old, _, new = (part.strip() for part in text.partition("="))
    if not old or not new:
        raise argparse.ArgumentTypeError(f"must be NAME=LABEL, got {text!r}")
    return old, new


def _check_options(arguments: argparse.Namespace) -> None:
    if arguments.data is None:
        raise CommandError("there is no DATA: put it first, merclip evaluate DATA.csv")
    if arguments.protocol == "zero-shot":
        for name in given(arguments, *_FOR_K_SHOT):
            raise CommandError(f"--{name.replace('_', '-')} is for --protocol k-shot")
    if arguments.out is not None:
        _check_out(Path(arguments.out), Path(arguments.data))


def _check_out(out: Path, data: Path) -> None:
    from merclip.cli._report_files import FILES

    if out.exists() and not out.is_dir():
        raise CommandError(f"--out {str(out)!r} is a file")
    if data.resolve() in {(out / name).resolve() for name in FILES}:
        raise CommandError(f"--out {str(out)!r} would overwrite DATA")


def _clips(arguments: argparse.Namespace) -> list[LabelledClip]:
    """Read the data, and call its labels as --map says."""
    clips = read_data(
        Path(arguments.data),
        multi_label=False,
        group_column=arguments.group_column,
        label_column=arguments.label_column,
    )
    if arguments.on_error == "raise":
        with_files(clips, "raise")
    renamed = dict(arguments.map or ())
    unknown = set(renamed) - {clip.label for clip in clips}
    if unknown:
        raise CommandError(f"--map names labels that DATA has not: {', '.join(sorted(unknown))}")
    return [replace(clip, label=renamed.get(clip.label, clip.label)) for clip in clips]


def _labels_of(clips: Sequence[LabelledClip]) -> list[str]:
    labels = sorted({clip.label for clip in clips})
    if len(labels) < 2:
        message = f"all clips have the one label {labels[0]!r}: give --labels to tell it from"
        raise CommandError(message, FAILED)
    return labels


def _report(arguments: argparse.Namespace, clips: Sequence[LabelledClip], labels: Any) -> Report:
    from merclip.classifier import EmotionClassifier
    from merclip.errors import MerclipError
    from merclip.evaluation import k_shot, zero_shot

    classifier = EmotionClassifier.from_pretrained(
        arguments.model,
        use_video_audio=not arguments.no_video_audio,
        on_error="raise" if arguments.on_error == "raise" else "nan",
        verbose=int(on_terminal()),
        **model_parameters(arguments),
        **given(arguments, "prompt", "batch_size"),
    )
    rows, y = [clip.values for clip in clips], [clip.label for clip in clips]
    options: dict[str, Any] = {"labels": labels, "data": arguments.data}
    try:
        if arguments.protocol == "zero-shot":
            return zero_shot(classifier, rows, y, **options)
        options["groups"] = [clip.group for clip in clips] if arguments.group_column else None
        shots, seeds = arguments.shots or SHOTS, arguments.seeds or SEEDS
        return k_shot(classifier, rows, y, shots=shots, seeds=seeds, **options)
    except MerclipError as error:
        raise type(error)(with_place(str(error), clips)) from error
