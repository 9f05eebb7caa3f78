"""Progress where nobody sees a bar: lines in a log."""

import pytest

from mien.cli.progress import in_lines, loading, stages
from mien.stages import within


def test_a_log_gets_its_first_line_soon_and_then_one_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 0.0, 9.0, 10.0, 29.0, 30.0, 69.0, 70.0, 129.0, 130.0, 300.0, 300.0])
    tell = in_lines("train", clock=lambda: next(now))
    for done in (0, 1, 2, 2, 3, 6, 7, 12, 13, 30, 30):
        tell(done, 30)
    assert capsys.readouterr().err.splitlines() == [
        "train: 7%, 0:02:20 left",
        "train: 10%, 0:04:30 left",
        "train: 23%, 0:03:50 left",
        "train: 43%, 0:02:50 left",
        "train: done in 0:05:00",
    ]


def test_work_that_goes_on_counts_from_where_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 0.0, 100.0])
    tell = in_lines("train", clock=lambda: next(now))
    tell(50, 100)
    tell(75, 100)
    assert capsys.readouterr().err == "train: 75%, 0:01:40 left\n"


def test_nothing_moved_yet_is_no_reason_to_fail(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 61.0])
    in_lines("look", clock=lambda: next(now))(3, 9)
    assert capsys.readouterr().err == "look: 33%, unknown time left\n"


def test_a_stage_of_one_of_several_runs_names_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    tell = within(within(in_lines, "1/2 small"), "fold 0 (1/3)")("look")
    assert tell is not None
    tell(1, 1)
    assert capsys.readouterr().err == "1/2 small: fold 0 (1/3): look: done in 0:00:00\n"


def test_a_terminal_says_what_is_waited_for_and_a_log_does_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with loading():
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with loading():
        pass
    assert "loading the training libraries" in capsys.readouterr().err


def test_of_more_stages_than_a_terminal_has_rows_the_one_that_runs_is_seen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "LINES": "5", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    with stages() as stage:
        for number in range(9):
            tell = stage(f"stage {number}")
            assert tell is not None
            for done in (1, 2, 2):
                tell(done, 2)
        tell = stage("the one that runs")
        assert tell is not None
        tell(1, 2)
    said = capsys.readouterr().err
    assert "..." not in said and all(f"stage {number}" in said for number in range(9))
    assert "the one that runs" in said
