"""``merclip evaluate``: measure a model on labelled clips."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merclip.cli._adapt import add_adapt_arguments
from merclip.cli._arguments import (
    EXIT_STATUS,
    RATES,
    Parser,
    add_anchor_arguments,
    add_column_arguments,
    add_debug_argument,
    add_json_argument,
    add_label_arguments,
    add_model_arguments,
    add_reading_arguments,
    anchor_names,
    anchor_parameters,
    check_out,
    count,
    examples,
    given,
    learning_rate,
    model_parameters,
    number,
    read_labels,
    seed,
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
from merclip.cli._data import SEPARATOR, check_labels, with_place
from merclip.cli._data_sets import DATASETS, Loaded, labels_of, load, numbered, renamed
from merclip.cli._protocols import PROTOCOLS, SEEDS, SHOTS, check_protocol, measure

if TYPE_CHECKING:
    from merclip.evaluation import Report

_WORDS = " (say what the labels mean: --map 0=sad 1=happy, or --labels-file)"


def run(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_intermixed_args(list(argv))
    _check_options(arguments)
    labels = read_labels(arguments)
    loaded, train = _load(arguments)
    for part in (loaded, train):
        if part is not None:
            check_labels(part.rows, None if arguments.scores else labels)
    if labels is None:
        loaded, train = numbered(loaded), None if train is None else numbered(train)
    if labels is None and train is None and arguments.protocol != "wordings":
        labels = _labels_of(loaded, arguments)
    with short_messages(debugging(argv)):
        report = _report(arguments, loaded, train, labels)
        for skipped in report.skipped:
            say("warning", f"{skipped.id} is left out: {skipped.reason}")
        print(_shown(report, arguments.format), end="")
        if arguments.out is not None:
            from merclip.cli._report_files import write_report

            write_report(report, Path(arguments.out))
    return DONE


def _parser() -> Parser:
    parser = Parser(
        prog="merclip evaluate",
        usage="merclip evaluate DATA [--labels LABEL...] [--protocol NAME] [options]",
        description="Measure a model on labelled clips that it was not trained on. DATA is a "
        "file with the columns label, at least one of video, audio and text, and perhaps start "
        "and end (seconds), with paths relative to its own folder; with the suffix .jsonl it "
        "holds one JSON object with these keys on each line. Or DATA is a folder: that of "
        "--dataset, or one with a folder of files for each label.",
        epilog=examples(
            "merclip evaluate test.csv",
            "merclip evaluate test.csv --descriptions sentences.json --out report",
            "merclip evaluate test.csv --labels happy sad angry --map anger=angry joy=happy",
            "merclip evaluate all.csv --protocol k-shot --shots 1 4 16 --group-column who",
            "merclip evaluate MELD.Raw --dataset meld --protocol supervised",
            "merclip evaluate RAVDESS --dataset ravdess --protocol leave-one-out",
            "merclip evaluate b.csv --protocol cross-corpus --train a.csv --map joy=happy",
            "merclip evaluate test.csv --protocol wordings --wordings texts.json",
            "merclip evaluate test.csv --protocol modalities",
            "merclip evaluate test.csv --anchors faces   (faces/happy/*.jpg, faces/sad/*.jpg)",
        )
        + f"\n\n{EXIT_STATUS}",
    )
    parser.add_argument(
        "data", nargs="?", metavar="DATA", help="a .csv or .jsonl file, or a folder"
    )
    add_label_arguments(parser, "those that occur in DATA", "--descriptions")
    add_anchor_arguments(parser)
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
        choices=PROTOCOLS,
        default="zero-shot",
        metavar="NAME",
        help="zero-shot (default): the model as it is; k-shot: after a fit to a few examples of "
        "each label; supervised: after a fit to the training part; leave-one-out: each label "
        "without clips of it; cross-corpus: learn from --train, test on DATA; wordings: labels "
        "in other words; modalities: without sound, pictures or text",
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
        type=seed,
        metavar="N",
        help=f"one draw or training for each; default {' '.join(map(str, SEEDS))}",
    )
    group.add_argument(
        "--folds",
        type=count,
        metavar="N",
        help="divide DATA into folds that keep groups whole; default: its parts, or 5 folds",
    )
    group.add_argument("--train", metavar="DATA", help="learn from this, and test on DATA")
    group.add_argument("--train-dataset", choices=DATASETS, help="what --train is a folder of")
    group.add_argument(
        "--leave-out", nargs="+", metavar="LABEL", help="leave-one-out: these labels alone"
    )
    group.add_argument(
        "--wordings",
        metavar="FILE.json",
        help="wordings: a mapping from the name of a wording to labels, as in --labels-file",
    )
    group.add_argument(
        "--fit",
        metavar="HOW",
        help="wordings, modalities: each (train anew for each), or train once with all modalities "
        "(all) or one wording (its name); default: no training",
    )
    group.add_argument(
        "--baselines", action="store_true", help="measure simple classifiers beside the model"
    )
    group.add_argument(
        "--intervals", type=count, metavar="N", help="bootstrap intervals, from N resamples"
    )
    _add_training_arguments(parser)


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training, for the protocols that train")
    group.add_argument(
        "--tune", choices=("head", "full"), help="what follows the encoders (default), or all"
    )
    group.add_argument("--epochs", type=count, metavar="N", help="default 20")
    group.add_argument(
        "--lr", type=learning_rate, metavar="X", help=f"a number, or {', '.join(RATES)}"
    )


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument("--dataset", choices=DATASETS, help="DATA is the folder of this data set")
    group.add_argument(
        "--target",
        metavar="NAME",
        help="with --dataset: which labels, as of its loader: emotion, sentiment, score (mosi, "
        "mosei), intended, voice, face (cremad), speech, song (ravdess), 4, 6 (iemocap)",
    )
    group.add_argument(
        "--use",
        nargs="+",
        choices=("video", "audio", "text"),
        help="with --dataset: what a clip consists of",
    )
    add_column_arguments(group)
    group.add_argument(
        "--group-column",
        metavar="NAME",
        help="speaker or dialogue; no test clip is of one that was learned from",
    )
    group.add_argument(
        "--split-column", metavar="NAME", help="the part of each clip: train, valid or test"
    )
    kinds = group.add_mutually_exclusive_group()
    kinds.add_argument(
        "--multi-label", action="store_true", help=f"labels of a clip are joined by {SEPARATOR}"
    )
    kinds.add_argument(
        "--scores", action="store_true", help="labels are sentiment: numbers, 0 is neutral"
    )
    group.add_argument(
        "--score-range",
        nargs=2,
        type=number,
        metavar=("LOW", "HIGH"),
        help="--scores: their scale, such as 1 9 or 0 1; default -3 3",
    )
    group.add_argument(
        "--map",
        nargs="+",
        action="extend",
        type=_renaming,
        metavar="NAME=LABEL",
        help="call a label of DATA otherwise, such as anger=angry",
    )
    add_reading_arguments(group)
    add_adapt_arguments(parser, "DATA")


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--out", metavar="DIR", help="write the report, its pictures and all predictions there"
    )
    group.add_argument("--format", choices=("table", "json", "csv"), default="table")
    add_json_argument(group)
    group.add_argument("--batch-size", type=count, metavar="N", help="default 16")
    add_debug_argument(parser)


def _renaming(text: str) -> tuple[str, str]:
    old, _, new = (part.strip() for part in text.partition("="))
    if not old or not new:
        raise argparse.ArgumentTypeError(f"must be NAME=LABEL, got {text!r}")
    return old, new


def _check_options(arguments: argparse.Namespace) -> None:
    if arguments.data is None:
        raise CommandError("there is no DATA: put it first, merclip evaluate DATA.csv")
    check_protocol(arguments)
    if (arguments.adapt or arguments.adapt_by) and arguments.protocol != "zero-shot":
        raise CommandError("--adapt and --adapt-by go with --protocol zero-shot")
    if arguments.score_range is not None and not arguments.scores:
        raise CommandError("--score-range is for --scores")
    if arguments.dataset is None:
        for name in given(arguments, "target", "use"):
            raise CommandError(f"--{name} is for --dataset")
    if arguments.protocol == "wordings" and (arguments.labels or arguments.labels_file):
        raise CommandError("--labels does not go with --wordings, which names them")
    if arguments.out is not None:
        _check_out(Path(arguments.out), Path(arguments.data))


def _check_out(out: Path, data: Path) -> None:
    from merclip.cli._report_files import FILES

    check_out(out)
    if data.resolve() in {(out / name).resolve() for name in FILES}:
        raise CommandError(f"--out {str(out)!r} would overwrite DATA")


def _load(arguments: argparse.Namespace) -> tuple[Loaded, Loaded | None]:
    """Load what is tested and what is learned from, with labels called as --map says."""
    loaded = load(arguments, arguments.data, arguments.dataset)
    if arguments.protocol == "zero-shot":
        loaded = loaded.only("test")
    train = None
    if arguments.train is not None:
        train = load(arguments, arguments.train, arguments.train_dataset)
    names = dict(arguments.map or ())
    there = labels_of(loaded.data) | (set() if train is None else labels_of(train.data))
    unknown = set(names) - there
    if unknown:
        raise CommandError(f"--map names labels that DATA has not: {', '.join(sorted(unknown))}")
    return renamed(loaded, names), None if train is None else renamed(train, names)


def _labels_of(loaded: Loaded, arguments: argparse.Namespace) -> list[str]:
    """Return those of --anchors, and those that occur in a file or that a data set names."""
    labels = loaded.data.labels
    if labels:
        labels = tuple(dict.fromkeys([*anchor_names(arguments), *labels]))
    else:
        from merclip.evaluation.protocols._prepare import POLARITY

        return list(POLARITY)
    if len(labels) == 1 and not arguments.multi_label:
        message = f"all clips have the one label {labels[0]!r}: give --labels to tell it from"
        raise CommandError(message, FAILED)
    return list(labels)


def _report(
    arguments: argparse.Namespace, loaded: Loaded, train: Loaded | None, labels: Any
) -> Report:
    from merclip import EmotionClassifier
    from merclip.errors import MerclipError

    several = any(isinstance(names, tuple) for names in loaded.data.y)
    anchored = anchor_parameters(arguments)
    worded = arguments.labels or arguments.labels_file or arguments.protocol == "wordings"
    if "anchors" in anchored and not worded:
        anchored.setdefault("predict_from", "anchors")
    classifier = EmotionClassifier.from_pretrained(
        arguments.model,
        multi_label=several,
        use_video_audio=not arguments.no_video_audio,
        on_error="raise" if arguments.on_error == "raise" else "nan",
        verbose=int(on_terminal()),
        **model_parameters(arguments),
        **anchored,
        **given(arguments, "prompt", "batch_size", "face", "frames", "tune", "epochs", "lr"),
    )
    rows = [*loaded.rows, *(() if train is None else train.rows)]
    try:
        report = measure(arguments, classifier, loaded, train, labels)
    except MerclipError as error:
        numbers = labels is not None and not all(isinstance(name, str) for name in labels)
        hint = _WORDS if numbers else ""
        raise type(error)(with_place(str(error), rows) + hint) from error
    if arguments.intervals is None:
        return report
    return report.with_intervals(n_resamples=arguments.intervals)


def _shown(report: Report, form: str) -> str:
    if form == "csv":
        return report.to_csv()
    return (report.to_json() if form == "json" else report.to_markdown()) + "\n"
