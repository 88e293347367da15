"""What the benchmarks count and print is right; nothing is timed here."""

from __future__ import annotations

import json

import pytest
from benchmarks import report
from benchmarks.counting import VIT_B_32, Towers, Transformer
from benchmarks.rounds import Case, Row, Table, interleave, median_ratio

pytest.importorskip("cv2")
targets = pytest.importorskip("benchmarks.targets", reason="needs the extra bench")

MACHINE = {"processor": "made up", "flags": ["avx2", "amx_bf16"]}


def made_up() -> Table:
    return Table(
        "made-up",
        "A made-up table",
        rows=[
            Row("one", "first", [1.0, 2.0, 4.0], [2.0, 4.0, 8.0]),
            Row("one", "second", [2.0, 5.0, 2.0], [1.0, 2.0, 4.0]),
            Row("two", "alone", [0.25, 1234.5, 1234.5]),
        ],
        notes=["A note."],
    )


def test_a_frame_and_a_prompt_of_vit_b_32_take_what_was_counted_by_hand():
    assert VIT_B_32.picture() / 1e9 == pytest.approx(8.82, abs=0.005)
    assert VIT_B_32.sentence() / 1e9 == pytest.approx(5.96, abs=0.005)


def test_a_clip_takes_the_sum_of_its_frames_segments_and_text():
    expected = 15 * VIT_B_32.picture() + VIT_B_32.sentence(11)
    assert VIT_B_32.clip(12, 3, 11) == expected
    assert VIT_B_32.clip(1, 0, 0) == VIT_B_32.picture()


def test_operations_of_a_tiny_transformer_are_those_of_its_products():
    # Two tokens of width 1: query, key, value, out (4 products of 1 x 1), the MLP (8),
    # and two products of 2 x 1 with 1 x 2 for attention; each multiply-add counts two.
    assert Transformer(width=1, layers=1).operations(2) == 2 * 2 * 12 + 2 * 2 * 4
    tiny = Towers(Transformer(1, 0), Transformer(1, 0), patch=2, image_size=4, embedding=3)
    assert tiny.picture() == 2 * 4 * 12 + 2 * 3


def test_the_counter_agrees_with_the_products_that_torch_is_asked_for(monkeypatch):
    floors = pytest.importorskip("benchmarks.floors")
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    monkeypatch.setattr(floors, "ROWS", 2)
    multiply = floors.products(torch.float32)
    with FlopCounterMode(display=False) as counter:
        multiply()
    assert counter.get_total_flops() == floors.operations()


def test_cases_take_turns_and_warm_up_unmeasured():
    order = []
    cases = [
        Case("a", lambda: order.append("a")),
        Case("b", lambda: order.append("b"), warm=False),
        Case("c", lambda: order.append("c") or 7, own_clock=True),
    ]
    rows = interleave("section", cases, rounds=2)
    assert order == ["a", "c", "a", "b", "c", "a", "b", "c"]
    assert [len(row.values) for row in rows] == [2, 2, 2]
    assert rows[2].values == [7.0, 7.0] and rows[2].cpu == []


def test_figures_are_for_one_piece_of_work(monkeypatch):
    from benchmarks import rounds

    ticks = iter([10.0, 18.0])
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: next(ticks))
    assert rounds.measured(Case("eight clips", lambda: None, pieces=8))[0] == 1.0


def test_ratios_are_medians_of_rounds_not_ratios_of_medians():
    table = made_up()
    first, second, alone = table.rows
    assert table.ratios(second) == (2.0, 0.5)  # of 2, 2.5 and 0.5; medians would give 1
    assert table.ratios(first) == (1.0, 1.0)
    assert table.ratios(alone) == (1.0, None)
    assert median_ratio([3.0], [2.0]) == 1.5


def test_a_table_as_markdown():
    lines = report.table_of(made_up()).splitlines()
    assert lines[0] == "|  | median, s | least | most | ratio | CPU s | CPU ratio |"
    assert lines[2] == "| **one** |  |  |  |  |  |  |"
    assert lines[3] == "| first | 2 | 1 | 4 | 1 | 4 | 1 |"
    assert lines[4] == "| second | 2 | 2 | 5 | 2 | 2 | 0.5 |"
    assert lines[6] == "| alone | 1,234 | 0.25 | 1,234 | 1 |  |  |"
    assert lines[-1] == "A note."


def test_an_interrupted_run_leaves_tables_that_a_later_one_reads(tmp_path):
    table = made_up()
    report.write(tmp_path, MACHINE, {table.name: table})
    assert report.read(tmp_path) == {table.name: table}
    assert json.loads((tmp_path / report.RESULTS).read_text())["machine"] == MACHINE
    written = (tmp_path / report.REPORT).read_text()
    assert "A made-up table" in written and "| flags | avx2, amx_bf16 |" in written
    assert report.read(tmp_path / "nothing here") == {}


def test_a_page_is_filled_between_its_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured -->\nold\n<!-- /measured -->\nafter\n")
    for _ in range(2):
        report.fill(page, "new\n")
    expected = "before\n<!-- measured -->\n\nnew\n\n<!-- /measured -->\nafter\n"
    assert page.read_text() == expected
    page.write_text("no markers")
    with pytest.raises(ValueError, match="measured"):
        report.fill(page, "new")


def test_targets_say_what_was_measured_and_whether_it_is_met():
    rows = [
        ("import torch", 2.0),
        ("first text prediction with mini", 3.2),
        ("merclip --help", 0.05),
    ]
    table = Table("start-up", "", rows=[Row("processes", name, [value]) for name, value in rows])
    help_, first = targets.targets({"start-up": table})
    assert (help_.wanted, help_.measured, help_.met) == (0.1, 0.05, True)
    assert (first.wanted, first.measured, first.met) == (pytest.approx(3.1), 3.2, False)
    lines = report.target_table([help_, first]).splitlines()
    assert lines[2] == "| merclip --help | at most 0.1 s | 0.05 s | yes |"
    assert lines[3].endswith("| at most 3.1 s | 3.2 s | **no** |")


def test_a_target_of_speed_is_met_from_below():
    target = targets.Target("how many times faster", 2.5, 2.5, at_most=False)
    assert target.met and not targets.Target("the same", 2.5, 2.4, at_most=False).met


def test_nothing_is_claimed_of_what_was_not_measured():
    assert targets.targets({}) == []


def test_the_picture_has_every_table(tmp_path):
    plot = pytest.importorskip("benchmarks.plot")
    pytest.importorskip("matplotlib")
    plot.draw(tmp_path / "report.png", {"made-up": made_up(), "again": made_up()})
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_a_peer_keeps_frames_at_the_centres_of_twelve_parts(tmp_path):
    clips, peers = (pytest.importorskip(f"benchmarks.{name}") for name in ("clips", "peers"))
    path = tmp_path / "clip.mp4"
    clips.encode(path, seconds=2, height=72)
    assert [frame.shape for frame in peers.read_frames(path)] == [(72, 128, 3)] * 12
    assert len(peers.read_sound(path)) == pytest.approx(2 * 16000, abs=2048)
    assert len(peers.mel_pictures(path)) == 1


def test_a_repeated_clip_is_as_many_times_as_long(tmp_path, monkeypatch):
    clips, floors = (pytest.importorskip(f"benchmarks.{name}") for name in ("clips", "floors"))
    from merclip.media import read_media

    monkeypatch.setattr(clips, "MINUTE", 2)
    clips.encode(tmp_path / "once.mp4", seconds=2, height=72)
    clips.repeat(tmp_path / "once.mp4", tmp_path / "thrice.mp4", 3)
    media = read_media(tmp_path / "thrice.mp4")
    assert media.duration == pytest.approx(6, abs=0.1) and media.warnings == ()
    # Key pictures at 0, 2 and 4 s; the last centre of each is at 1.75 s, frame 43 of 50.
    assert floors.decode(tmp_path / "thrice.mp4", sound=False) == 3 * 44
