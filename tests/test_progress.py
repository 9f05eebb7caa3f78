"""Progress where nobody sees a bar: lines in a log."""

import pytest

from mien.cli.progress import in_lines


def test_a_log_gets_a_line_a_minute_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 0.0, 59.0, 60.0, 119.0, 300.0, 300.0])
    tell = in_lines("train", every=60, clock=lambda: next(now))
    for done in (0, 2, 3, 4, 15, 15):
        tell(done, 15)
    assert capsys.readouterr().err == "train: 20%, 0:04:00 left\ntrain: done in 0:05:00\n"


def test_work_that_goes_on_counts_from_where_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 0.0, 100.0])
    tell = in_lines("train", every=60, clock=lambda: next(now))
    tell(50, 100)
    tell(75, 100)
    assert capsys.readouterr().err == "train: 75%, 0:01:40 left\n"


def test_nothing_moved_yet_is_no_reason_to_fail(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 61.0])
    in_lines("look", every=60, clock=lambda: next(now))(3, 9)
    assert capsys.readouterr().err == "look: 33%, unknown time left\n"
