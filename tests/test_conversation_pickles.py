"""VEGA's pickles: features are read, and nothing in a file ever runs."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import subprocess
import zlib

import numpy as np
import pytest

from merclip import errors
from merclip.datasets import load_vega_features

RAN = []


def content(n=3, **changed):
    """Return VEGA's seven parts, of two dialogues."""
    generator = np.random.default_rng(0)
    keys = ["Ses01F_impro01", "Ses05M_impro02"]
    parts = {
        "speakers": {key: ["M", "F", "M"][:n] for key in keys},
        "labels": {key: [0, 3, 5][:n] for key in keys},
        "text": {
            key: [generator.normal(size=4).astype(np.float32) for _ in range(n)] for key in keys
        },
        "audio": {key: generator.normal(size=(n, 5)) for key in keys},
        "visual": {key: generator.normal(size=(n, 2)).tolist() for key in keys},
        "train": keys[:1],
        "test": keys[1:],
    }
    return tuple({**parts, **changed}.values())


def written(tmp_path, value, protocol=None):
    path = tmp_path / "features.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_gives_the_same_dialogues(tmp_path, protocol):
    given = content()
    found = load_vega_features(written(tmp_path, given, protocol))
    (train,), (test,) = found.train, found.test
    assert train.name == "Ses01F_impro01" and test.name == "Ses05M_impro02"
    assert train.speakers == ("M", "F", "M")
    assert train.labels == ("happy", "anger", "frustration")
    for letter, part in (("L", 2), ("A", 3), ("V", 4)):
        assert np.allclose(train.utterances[letter], given[part][train.name], atol=1e-6)


def test_python_2_and_both_names_of_numpys_core(tmp_path):
    given = content()
    for old, new in ((b"numpy._core", b"numpy.core"), (b"numpy.core", b"numpy._core")):
        data = pickle.dumps(given, 2).replace(old, new)
        # The name is written with a line end in protocol 2, so its length may change.
        found = load_vega_features(written(tmp_path, data))
        assert np.allclose(found.train[0].utterances["A"], given[3]["Ses01F_impro01"])
    raw = np.arange(3.0)
    # Python 2 wrote an array's bytes as a string, which is read as latin-1.
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I3\ntcnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
        + b"S"
        + repr(raw.tobytes())[1:].encode()
        + b"\ntb"
    )
    names = b"(dS'd'\n(lS'M'\nas"
    text = b"(" + names + b"(dS'd'\n(lI0\nas" + (b"(dS'd'\n(l" + array + b"as") * 3
    found = load_vega_features(written(tmp_path, text + b"(lS'd'\na(lt."))
    assert np.array_equal(found.train[0].utterances["L"], raw[None])


def test_meld_indicators_of_speakers_fortran_order_and_containers(tmp_path):
    given = list(content())
    given[0] = {key: np.eye(9)[[4, 0, 4]] for key in given[0]}
    given[3] = collections.OrderedDict(
        (key, np.asfortranarray(rows)) for key, rows in given[3].items()
    )
    given[4] = collections.defaultdict(list, given[4])
    given[1] = {key: np.array(row) for key, row in given[1].items()}
    given[5] = set(given[5])
    found = load_vega_features(written(tmp_path, tuple(given)), labels="meld")
    assert found.train[0].speakers == ("4", "0", "4")
    assert found.train[0].labels == ("neutral", "sad", "disgust")
    assert np.allclose(found.train[0].utterances["A"], given[3]["Ses01F_impro01"], atol=1e-6)


def test_some_modalities_and_labels_of_ones_own(tmp_path):
    path = written(tmp_path, content())
    found = load_vega_features(path, labels=list("abcdef"), modalities=["audio"])
    assert set(found.train[0].utterances) == {"A"} and found.train[0].labels == ("a", "d", "f")


class Attack:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def mark(*arguments):
    RAN.append(arguments)


ATTACKS = {
    "os.system": lambda trap: Attack(os.system, (f"touch {trap}",)),
    "subprocess": lambda trap: Attack(subprocess.call, (["touch", str(trap)],)),
    "eval": lambda trap: Attack(eval, (f"open({str(trap)!r}, 'w')",)),
    "exec": lambda trap: Attack(exec, (f"open({str(trap)!r}, 'w')",)),
    "open": lambda trap: Attack(open, (str(trap), "w")),
    "getattr": lambda trap: Attack(getattr, ("x", "upper")),
    "import": lambda trap: Attack(__import__, ("os",)),
    "map": lambda trap: Attack(map, (mark, [1])),
    "own function": lambda trap: Attack(mark, (1,)),
    "numpy that loads": lambda trap: Attack(np.load, (str(trap), None, True)),
    "numpy that writes": lambda trap: Attack(np.save, (str(trap), np.zeros(1))),
    "numpy that calls": lambda trap: Attack(np.vectorize, (mark,)),
    "fromfile": lambda trap: Attack(np.fromfile, ("/etc/passwd",)),
    "nested pickle": lambda trap: Attack(pickle.loads, (pickle.dumps(Attack(mark, (1,))),)),
    "another codec": lambda trap: Attack(__import__("_codecs").encode, ("x", "zlib_codec")),
    "decompression": lambda trap: Attack(zlib.decompress, (zlib.compress(b"x"),)),
    "state of a function": lambda trap: Attack(np.dtype, ("f8",), {"__call__": mark}),
    "list items of a call": lambda trap: Attack(list, (), None, iter([Attack(mark, (1,))])),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("inside", [False, True])
def test_an_attack_does_not_run(tmp_path, name, inside):
    trap = tmp_path / "trap"
    attack = ATTACKS[name](trap)
    value = content(speakers={"Ses01F_impro01": [attack]}) if inside else attack
    with pytest.raises(errors.InputError):
        load_vega_features(written(tmp_path, value))
    assert not trap.exists() and not RAN


def test_objects_in_an_array_are_read_as_plainly(tmp_path):
    plain = np.empty(3, dtype=object)
    plain[:] = ["M", "F", "M"]
    found = load_vega_features(
        written(tmp_path, content(speakers={key: plain for key in content()[0]}))
    )
    assert found.train[0].speakers == ("M", "F", "M")
    armed = np.empty(1, dtype=object)
    armed[0] = Attack(mark, (1,))
    with pytest.raises(errors.InputError):
        load_vega_features(written(tmp_path, content(speakers={"Ses01F_impro01": armed})))
    assert not RAN


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(ios\nsystem\nS'true'\n.",
        b"cnumpy\nndarray\n.",
        b"\x80\x02Pname\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
        b"\x80\x02Nr\xff\xff\xff\xff.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x05\x97.",
        b"",
        b"not a pickle",
        pickle.dumps(content())[:-40],
    ],
)
def test_broken_and_boastful_files_are_refused(tmp_path, data):
    with pytest.raises(errors.InputError):
        load_vega_features(written(tmp_path, data))


def test_arrays_that_claim_more_than_they_have(tmp_path):
    given = content()
    data = pickle.dumps(given, 2)
    shape = b"K\x03K\x05\x86"
    assert shape in data
    with pytest.raises(errors.InputError, match="claims"):
        load_vega_features(written(tmp_path, data.replace(shape, b"K\xffK\xff\x86", 1)))


def test_few_bytes_cannot_stand_for_many_numbers(tmp_path):
    row = [0.5] * 200
    shared = {f"d{i}": [row] * 200 for i in range(50)}
    labels = {key: [0] * 200 for key in shared}
    given = (
        {key: ["M"] * 200 for key in shared},
        labels,
        shared,
        shared,
        shared,
        list(shared),
        [],
    )
    with pytest.raises(errors.InputError, match="more numbers than it has bytes"):
        load_vega_features(written(tmp_path, given))


# Forty times a tuple of the last one twice: hashed, compared or shown it has no end.
NESTED = b"K\x01" + b"2\x86" * 40


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02}" + NESTED + b"K\x01s.",
        b"\x80\x02}(" + NESTED + b"K\x01u.",
        b"\x80\x02(" + NESTED + b"K\x01d.",
        b"\x80\x04(" + NESTED + b"\x91.",
        b"\x80\x04\x8f(" + NESTED + b"\x90.",
    ],
)
def test_keys_that_take_forever_to_hash_are_refused(tmp_path, data):
    with pytest.raises(errors.InputError, match="a key that is no text or number"):
        load_vega_features(written(tmp_path, data))


@pytest.mark.parametrize("part", ["labels", "speakers", "text", "train"])
@pytest.mark.parametrize("kind", ["nested", "huge", "its own member"])
def test_values_without_end_are_not_shown(tmp_path, part, kind):
    value = 1
    for _ in range(40):
        value = (value, value)
    own = []
    own.append(own)
    row = own if kind == "its own member" else [value if kind == "nested" else 10**6000] * 3
    changed = row if part == "train" else {key: row for key in content()[0]}
    with pytest.raises(errors.InputError):
        load_vega_features(written(tmp_path, content(**{part: changed})))


def test_copies_of_copies_take_no_memory(tmp_path):
    # Each call of list() or latin-1 bytes that copied would double what is held.
    out = io.BytesIO(b"")
    out.write(b"\x80\x02]q\x00(" + b"K\x01" * 1000 + b"e")
    for _ in range(2000):
        out.write(b"cbuiltins\nlist\nh\x00\x85R")
    out.write(b".")
    with pytest.raises(errors.InputError, match="seven"):
        load_vega_features(written(tmp_path, out.getvalue()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": {}}, "lack the dialogue"),
        ({"labels": {"Ses01F_impro01": [0, 9, 1]}}, "Set labels="),
        ({"labels": {"Ses01F_impro01": [0, 1]}}, "3 utterances and 2 labels"),
        ({"text": [1]}, "no dictionary"),
        ({"train": ["Ses01F_impro01"] * 2}, "twice"),
        ({"text": {"Ses01F_impro01": [[1.0], [1.0, 2.0], [0.0]]}}, "differ in length"),
        ({"text": {"Ses01F_impro01": [["x"], ["y"], ["z"]]}}, "no number"),
        ({"text": {"Ses01F_impro01": np.array(["a", "b", "c"])}}, "plain numbers"),
        ({"text": {"Ses01F_impro01": np.full((3, 2), np.nan)}}, "NaN or infinite"),
    ],
)
def test_another_layout_says_what_is_wrong(tmp_path, changed, message):
    with pytest.raises(errors.InputError, match=message):
        load_vega_features(written(tmp_path, content(**changed)))


def test_wrong_use(tmp_path):
    with pytest.raises(errors.DatasetNotFoundError):
        load_vega_features(tmp_path / "none.pkl")
    path = written(tmp_path, content())
    with pytest.raises(errors.InputError, match="labels"):
        load_vega_features(path, labels="mosei")
    with pytest.raises(errors.InputError, match="modalities"):
        load_vega_features(path, modalities=["smell"])
    with pytest.raises(errors.InputError, match="seven"):
        load_vega_features(written(tmp_path, (1, 2)))
