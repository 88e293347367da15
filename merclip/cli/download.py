"""``merclip download``: fetch a model ahead of its use."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from merclip.cli._arguments import Parser, add_debug_argument, examples
from merclip.cli._console import DONE, debugging, short_messages

if TYPE_CHECKING:
    from merclip.hub.download import Fetched


def run(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(list(argv))
    with short_messages(debugging(argv)):
        return _download(arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="merclip download",
        usage="merclip download MODEL [--to DIR] [options]",
        description="Fetch a model, and the CLIP weights that it rests on, so that it can be used "
        "without a network afterwards: into the Hugging Face cache, or with --to into a directory "
        "that needs nothing else and can be copied to another machine.",
        epilog=examples(
            "merclip download org/name",
            "merclip download org/name --revision v1 --to my_model",
            "merclip download ViT-B-32 --pretrained openai --to clip",
            "merclip predict clip.mp4 --model my_model",
        ),
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="org/name on the Hugging Face Hub, a directory whose CLIP weights lie there, or an "
        "open_clip architecture with --pretrained",
    )
    parser.add_argument("--to", metavar="DIR", help="a new directory to write; without it: cache")
    parser.add_argument(
        "--pretrained", metavar="TAG", help="for an architecture: open_clip's tag (openai)"
    )
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit")
    parser.add_argument(
        "--token", help="for private and gated models; better kept in the variable HF_TOKEN"
    )
    parser.add_argument("--cache-dir", metavar="DIR", help="another cache than that of HF_HOME")
    parser.add_argument("--force", action="store_true", help="fetch again what the cache has")
    add_debug_argument(parser)
    return parser


def _download(arguments: argparse.Namespace) -> int:
    from merclip.hub import HubAccess
    from merclip.hub.download import check_empty, fetch, write_whole

    target = None if arguments.to is None else Path(arguments.to)
    if target is not None:
        check_empty(target)
    access = HubAccess(
        arguments.revision, arguments.cache_dir, arguments.token, force_download=arguments.force
    )
    fetched = fetch(arguments.model, arguments.pretrained, access)
    if target is None:
        _show(fetched)
        _line("use it", _command(arguments))
        return DONE
    write_whole(fetched, replace(access, force_download=False), target)
    for path in sorted(target.iterdir()):
        _line("written", f"{path} ({_size(path)})")
    _line("use it", f"merclip predict FILE --model {target}")
    return DONE


def _show(fetched: Fetched) -> None:
    for path in fetched.files:
        _line("model", f"{path} ({_size(path)})")
    if fetched.backbone is not None:
        _line("backbone", f"{fetched.backbone} ({_size(fetched.backbone)})")


def _command(arguments: argparse.Namespace) -> str:
    options = {"--pretrained": arguments.pretrained, "--revision": arguments.revision}
    given = "".join(f" {name} {value}" for name, value in options.items() if value)
    cache = "" if arguments.cache_dir is None else f"HF_HUB_CACHE={arguments.cache_dir} "
    return f"{cache}merclip predict FILE --model {arguments.model}{given}"


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} bytes"


def _line(name: str, value: str) -> None:
    print(f"{name:<8}  {value}")
