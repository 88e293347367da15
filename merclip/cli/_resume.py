"""A file of JSON Lines that an earlier run left, and what is missing in it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from merclip.cli._clips import Row
from merclip.cli._console import CommandError

if TYPE_CHECKING:
    from merclip.classifier import EmotionClassifier

RUN = "run"
"""The key of a row that says what made it."""
_FACTS = ("id", "audio", "text", "start", "end")
_FIRST = b'{"id": '


@dataclass
class Done:
    """Rows that are there already.

    Parameters
    ----------
    keys : Counter
        How often each clip is there.
    n_rows, n_failed : int
    n_bytes : int
        Of whole lines; what follows them is half a line.
    """

    keys: Counter[bytes] = field(default_factory=Counter)
    n_rows: int = 0
    n_failed: int = 0
    n_bytes: int = 0

    def missing(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the clips that are not there, or not as often."""
        left = self.keys.copy()
        for row in rows:
            key = _key({"id": row.name, **row.facts})
            if left[key] > 0:
                left[key] -= 1
            else:
                yield row


def run_of(classifier: EmotionClassifier) -> str:
    """Return a short hash of the model, the labels and all else that scores depend on."""
    settings = {
        "labels": list(classifier.labels_.to_dict().items()),
        "prompt": classifier.prompt,
        "multi_label": classifier.multi_label,
        "threshold": classifier.threshold_.tolist() if classifier.multi_label else None,
        "calibration": classifier.calibration_,
        "face": classifier.face,
        "frames": classifier.frames,
        "use_video_audio": classifier.use_video_audio,
        "dtype": classifier.dtype,
        "backend": classifier.backend,
        "network": classifier.network_.config.to_dict(),
    }
    if classifier.anchors_:
        settings["predict_from"] = classifier.predict_from
        settings["anchors"] = {name: rows.tolist() for name, rows in classifier.anchors_.items()}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=repr).encode())
    for name, tensor in classifier.network_.state_dict().items():
        flat = tensor.detach().flatten()
        # A few values of each tensor tell one model from another, at once.
        sampled = flat[:: max(1, len(flat) // 64)].float().cpu().numpy()
        digest.update(name.encode() + sampled.tobytes())
    return digest.hexdigest()[:12]


def read_done(path: str, labels: Sequence[str], run: str) -> Done:
    """Read what an earlier run has written.

    Parameters
    ----------
    path : str
        May not exist yet.
    labels : sequence of str
    run : str
        As `run_of` gives it.

    Raises
    ------
    CommandError
        The file is something else, or other labels or another model made it.
    """
    done = Done()
    try:
        with open(path, "rb") as file:
            for line in file:
                if not _add(done, line, path, labels, run):
                    break
            rest = file.read(1)
    except FileNotFoundError:
        return done
    except OSError as error:
        raise CommandError(f"--output {path!r} cannot be read: {error.strerror}") from error
    if rest:
        raise CommandError(_no_rows(path, done.n_rows + 1))
    return done


def cut_off(path: str, done: Done) -> bool:
    """Take half a line from the end of the file; return whether there was one."""
    try:
        with open(path, "r+b") as file:
            half = file.seek(0, 2) > done.n_bytes
            file.truncate(done.n_bytes)
            return half
    except FileNotFoundError:
        return False


def _add(done: Done, line: bytes, path: str, labels: Sequence[str], run: str) -> bool:
    """Count a line; return False for one that may be the half-written last one."""
    row = _parsed(line) if line.endswith(b"\n") else None
    if row is None:
        # Half a row begins like one, and a crash of the machine leaves zeros.
        start = line[: len(_FIRST)]
        if not (_FIRST.startswith(start) or not line.strip(b"\0\r\n")):
            raise CommandError(_no_rows(path, done.n_rows + 1))
        return False
    _check(row, path, labels, run)
    done.keys[_key(row)] += 1
    done.n_rows += 1
    done.n_failed += row.get("error") is not None
    done.n_bytes += len(line)
    return True


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(row, dict) and "id" in row and isinstance(row.get("scores"), dict)
    return row if whole else None


def _check(row: dict[str, Any], path: str, labels: Sequence[str], run: str) -> None:
    there = list(row["scores"])
    if there != list(labels):
        raise CommandError(
            f"--output {path!r} has answers for the labels {', '.join(there)}, and not for "
            f"{', '.join(labels)}: --resume with the same, or give another file"
        )
    if row.get(RUN, run) != run:
        raise CommandError(
            f"--output {path!r} was made by another model, or with other options: --resume with "
            "the same, or give another file"
        )


def _no_rows(path: str, line: int) -> str:
    return (
        f"--output {path!r} is not what merclip predict --format jsonl writes (line {line}): "
        "--resume goes on with that alone"
    )


def _key(row: dict[str, Any]) -> bytes:
    facts = [row.get(name) for name in _FACTS]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=12).digest()
