"""``merclip reproduce``: a table of the paper, measured anew."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merclip.cli._arguments import (
    RATES,
    Parser,
    add_debug_argument,
    add_json_argument,
    add_model_arguments,
    add_reading_arguments,
    check_out,
    count,
    examples,
    given,
    labels_in,
    learning_rate,
    model_parameters,
    read_json,
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

if TYPE_CHECKING:
    from merclip.datasets import Dataset
    from merclip.evaluation.reproduce import Comparison, Table

MODEL, PRETRAINED = "ViT-B-32", "openai"
EPOCHS, BATCH_SIZE, SEEDS = 20, 16, (0, 1, 2)
MOSI_BATCH_SIZE, MOSI_RATE = 8, 5e-6
WORDINGS = ("word", "phrase", "sentence")
FILES = ("comparison.md", "comparison.json", "comparison.csv")
_MODALITIES = ("video", "audio", "text")
_FOR_CSV = ("label_column", "group_column", "split_column", "multi_label")


def run(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_intermixed_args(list(argv))
    if arguments.list:
        return _list_tables()
    table = _table(arguments)
    texts = None if arguments.texts is None else _texts(arguments.texts)
    with short_messages(debugging(argv)):
        data = _data(arguments, table)
        comparison = _comparison(arguments, table, data, texts)
        for skipped in next(iter(comparison.reports.values())).skipped:
            say("warning", f"{skipped.id} is left out: {skipped.reason}")
        print(comparison.to_json() if arguments.format == "json" else comparison.to_markdown())
        if arguments.out is not None:
            _write(comparison, Path(arguments.out))
    return DONE


def _parser() -> Parser:
    parser = Parser(
        prog="merclip reproduce",
        usage="merclip reproduce TABLE (--data DIR | --csv FILE) [options]",
        description="Train and test every row of a table of the paper (Song and Cho, arXiv "
        "2506.00903) on its data, and print its numbers beside yours; --csv does the ablations "
        "on clips of your own. Without --model it trains what the paper does, CLIP's ViT-B/32 "
        "with every encoder, which takes a GPU.",
        epilog=examples(
            "merclip reproduce --list",
            "merclip reproduce table-mosei-emotion --data MOSEI --out report",
            "merclip reproduce table-mosi-sentiment --data MOSI --model mini --tune head",
            "merclip reproduce ablation-fusion --csv DATA.csv --split-column part --model mini "
            "--tune head",
        ),
    )
    parser.add_argument("table", nargs="?", metavar="TABLE", help="one of --list")
    parser.add_argument("--list", action="store_true", help="name the tables and leave")
    _add_data_arguments(parser)
    add_model_arguments(
        parser,
        default=None,
        said=f"by default the paper's, {MODEL} with --pretrained {PRETRAINED}; or mini, a "
        "directory, org/name on the Hugging Face Hub, another architecture with --pretrained",
    )
    _add_training_arguments(parser)
    _add_row_arguments(parser)
    _add_output_arguments(parser)
    return parser


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    source = group.add_mutually_exclusive_group()
    source.add_argument("--data", metavar="DIR", help="the folder of CMU-MOSI or CMU-MOSEI")
    source.add_argument("--csv", metavar="FILE", help="labelled clips, .csv or .jsonl, or a folder")
    group.add_argument("--label-column", metavar="NAME", help="--csv: by default label")
    group.add_argument("--group-column", metavar="NAME", help="--csv: speaker or dialogue")
    group.add_argument("--split-column", metavar="NAME", help="--csv: train, valid or test")
    group.add_argument(
        "--multi-label", action="store_true", help="--csv: labels of a clip are joined by |"
    )
    group.add_argument(
        "--folds", type=count, metavar="N", help="folds of whole groups in place of official parts"
    )
    group.add_argument(
        "--modalities",
        nargs="+",
        choices=_MODALITIES,
        metavar="NAME",
        help="--data: files to use, by default video, which brings its own sound, and text",
    )
    add_reading_arguments(group)


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument(
        "--tune",
        choices=("head", "full"),
        default="full",
        help="full (default): every encoder, as the paper; head: what follows the encoders, fast",
    )
    group.add_argument(
        "--epochs", type=count, default=EPOCHS, metavar="N", help=f"default {EPOCHS}"
    )
    group.add_argument(
        "--batch-size",
        type=count,
        metavar="N",
        help=f"default {BATCH_SIZE}, for CMU-MOSI {MOSI_BATCH_SIZE}",
    )
    group.add_argument(
        "--lr",
        type=learning_rate,
        metavar="X",
        help=f"a number, or one of {', '.join(RATES)}; with --tune full by default paper, for "
        f"CMU-MOSI {MOSI_RATE:g}",
    )
    group.add_argument(
        "--seeds",
        nargs="+",
        type=seed,
        default=SEEDS,
        metavar="N",
        help=f"one training of each row for each; default {' '.join(map(str, SEEDS))}",
    )


def _add_row_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("rows")
    group.add_argument(
        "--baselines", action="store_true", help="also what a model has to beat, beside the last"
    )
    group.add_argument(
        "--texts",
        nargs="+",
        metavar="[WORDING=]FILE",
        help="texts of labels, such as the paper's own of its Tables 5 and 6; by default ours. "
        "sentence=FILE: as they were pasted from a chat model, as for --labels-file of predict; "
        f"WORDING is one of {', '.join(WORDINGS)}. FILE: a .json file of {{WORDING: {{LABEL: TEXT "
        "or [TEXT, ...]}}",
    )
    group.add_argument(
        "--queries", nargs="+", action="extend", metavar="WORD", help="query-...: more words"
    )


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--out", metavar="DIR", help="write the comparison and its reports there")
    group.add_argument("--format", choices=("table", "json"), default="table", help="default table")
    add_json_argument(group)
    add_debug_argument(parser)


def _list_tables() -> int:
    from merclip.evaluation.reproduce import TABLES

    width = max(map(len, TABLES))
    for name, table in TABLES.items():
        print(f"{name:<{width}}  {table.title}")
    return DONE


def _table(arguments: argparse.Namespace) -> Table:
    """Return the table that is asked for, with rows that were added."""
    from merclip.evaluation.reproduce import Row, find_table

    if arguments.table is None:
        raise CommandError("there is no TABLE: see merclip reproduce --list")
    table = find_table(arguments.table)
    _check_source(arguments, table)
    if arguments.out is not None:
        check_out(Path(arguments.out))
    if arguments.queries is None:
        return table
    if not table.name.startswith("query-"):
        raise CommandError("--queries is for tables of query words, such as query-mosi-sentiment")
    names = {row.name for row in table.rows}
    more = [word for word in dict.fromkeys(arguments.queries) if word not in names]
    added = tuple(Row(word, {}, {"query": word}) for word in more)
    return replace(table, rows=(*table.rows, *added))


def _check_source(arguments: argparse.Namespace, table: Table) -> None:
    if arguments.data is None and arguments.csv is None:
        raise CommandError(f"say where the clips are: --data {table.data.upper()}, or --csv FILE")
    if arguments.csv is None:
        for name in _FOR_CSV:
            if getattr(arguments, name):
                raise CommandError(f"--{name.replace('_', '-')} goes with --csv")
        return
    if arguments.modalities:
        raise CommandError("--modalities goes with --data; a CSV file has a column for each")
    if len(table.rows) == 1:
        raise CommandError(
            f"{table.name} is the paper's model on its own data: for yours, "
            "merclip evaluate FILE --protocol supervised"
        )


def _texts(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the texts of all files, by wording and label."""
    found: dict[str, dict[str, Any]] = {}
    for name in given:
        wording, separator, path = name.partition("=")
        pasted = separator and wording in WORDINGS
        parts = {wording: _read_pasted(Path(path))} if pasted else _read_texts(Path(name))
        for key, texts in parts.items():
            found[key] = {**found.get(key, {}), **texts}
    return found


def _read_pasted(path: Path) -> dict[Any, list[str]]:
    labels = labels_in(path, "--texts")
    bare = [name for name, texts in labels.items() if texts == [name]]
    if bare:
        raise CommandError(f"--texts {str(path)!r} has no text for {', '.join(map(str, bare))}")
    return labels


def _read_texts(path: Path) -> dict[str, dict[str, Any]]:
    texts = read_json(path, "--texts")
    if not isinstance(texts, dict) or not all(map(_is_wording, texts, texts.values())):
        raise CommandError(
            f"--texts {str(path)!r} holds no mapping such as "
            '{"phrase": {"happy": "full of joy"}, "sentence": {"happy": ["...", "..."]}}'
        )
    return texts


def _is_wording(name: str, labels: Any) -> bool:
    if name not in WORDINGS or not isinstance(labels, dict):
        return False
    found = [text if isinstance(text, list) else [text] for text in labels.values()]
    return all(bool(texts) and all(isinstance(text, str) for text in texts) for texts in found)


def _data(arguments: argparse.Namespace, table: Table) -> Dataset:
    """Load the clips, and say what became of their rows."""
    from merclip.datasets import load_clips, load_mosei, load_mosi
    from merclip.errors import InputError

    if arguments.csv is not None:
        names = {"label_column": "label", "group_column": "group", "split_column": "split"}
        columns = {names[key]: value for key, value in given(arguments, *names).items()}
        try:
            data = load_clips(arguments.csv, multi_label=arguments.multi_label, **columns)
        except InputError as error:
            raise CommandError(str(error), FAILED) from error
        if data.splits is None and data.groups is None:
            raise CommandError(
                "say what is learned from and what is tested: --split-column, or --group-column "
                "for folds of speakers"
            )
    else:
        load = load_mosi if table.data == "mosi" else load_mosei
        target = "score" if table.target == "sentiment" else "emotion"
        data = load(arguments.data, target=target, **given(arguments, "modalities"))
    say("data", data.report)
    return data


def _comparison(
    arguments: argparse.Namespace,
    table: Table,
    data: Dataset,
    texts: Mapping[str, Mapping[str, Any]] | None,
) -> Comparison:
    from merclip.evaluation.reproduce import reproduce

    training = _training(arguments, table)
    return reproduce(
        table,
        data,
        _maker(arguments, table, training),
        seeds=arguments.seeds,
        folds=arguments.folds,
        published=arguments.csv is None,
        texts=texts,
        with_baselines=arguments.baselines,
        settings=training,
        progress=lambda said: say("reproduce", said),
    )


def _training(arguments: argparse.Namespace, table: Table) -> dict[str, Any]:
    """Return how to train: what was given, else as the paper does."""
    mosi = arguments.csv is None and table.data == "mosi"
    rate: float | str | None = MOSI_RATE if mosi else "paper"
    if arguments.tune == "head":
        rate = None
    return {
        "tune": arguments.tune,
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size or (MOSI_BATCH_SIZE if mosi else BATCH_SIZE),
        "lr": rate if arguments.lr is None else arguments.lr,
    }


def _maker(
    arguments: argparse.Namespace, table: Table, training: Mapping[str, Any]
) -> Callable[[Mapping[str, Any], int], Any]:
    """Return what makes the classifier of a row."""
    from merclip import EmotionClassifier
    from merclip.evaluation.reproduce import forget_fusion

    papers = arguments.model is None and arguments.pretrained is None
    named = {"pretrained": PRETRAINED} if papers else {}
    parameters: dict[str, Any] = {
        "model": arguments.model or MODEL,
        "multi_label": arguments.multi_label or (not arguments.csv and table.target == "emotion"),
        "use_video_audio": not arguments.no_video_audio,
        "on_error": "raise" if arguments.on_error == "raise" else "nan",
        "verbose": int(on_terminal()),
        **named,
        **model_parameters(arguments),
        **given(arguments, "face", "frames"),
        **training,
    }
    query = {"query": table.query} if arguments.csv is None else {}

    def make(changes: Mapping[str, Any], seed: int) -> EmotionClassifier:
        network = {**query, **changes}
        if "pretrained" in parameters:
            return EmotionClassifier(network=network, random_state=seed, **parameters)
        classifier = EmotionClassifier(random_state=seed, **parameters)
        # CLIP from a directory or the Hub has no fusion yet, and takes the paper's query.
        if table.changes_network or not classifier.network_.fusion_trained:
            forget_fusion(classifier.network_, network, seed)
        return classifier

    return make


def _write(comparison: Comparison, directory: Path) -> None:
    texts = (comparison.to_markdown() + "\n", comparison.to_json() + "\n", comparison.to_csv())
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in zip(FILES, texts, strict=True):
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise CommandError(f"--out {str(directory)!r} cannot be written: {reason}") from error
    say("reproduce", f"written to {directory}")
