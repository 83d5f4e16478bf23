"""The progress display: what each kind of terminal gets to see."""

import io
import re

from scripts.progress import Display, Look, bar, duration, plain_line, render

WIDE = Look(width=100, redraws=True, coloured=False, blocks=True)


def status(**results):
    return {
        "result": {name: {"synced": n, "progress": p, "status": s} for name, (n, p, s) in results.items()},
        "backfill": {"objectsPerSecond": 2300.4, "etaSeconds": 74},
    }


RUNNING = status(customer=(1250, 1.0, "ready"), invoice=(700, 0.5, "syncing"))


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_a_type_has_a_bar_a_count_a_share_and_its_status():
    lines = render(RUNNING, WIDE)

    assert lines[0].split() == ["customer", "█" * 32, "1,250", "100%", "ready"]
    assert lines[1].split() == ["invoice", "█" * 16, "700", "50%", "syncing"]
    assert lines[2] == "  1,950 objects, 2,300 objects/s, about 1 min 14 s left"


def test_no_line_is_longer_than_the_terminal():
    for width in range(44, 120):
        look = Look(width=width, redraws=True, coloured=False, blocks=True)

        assert max(map(len, render(RUNNING, look))) <= width


def test_a_narrow_terminal_loses_the_bars_first():
    narrow = Look(width=44, redraws=True, coloured=False, blocks=True)

    assert render(RUNNING, narrow)[0].split() == ["customer", "1,250", "100%", "ready"]


def test_colours_only_where_they_are_wanted():
    coloured = Look(width=100, redraws=True, coloured=True, blocks=True)

    assert "\033[" in "".join(render(RUNNING, coloured))
    assert "\033[" not in "".join(render(RUNNING, WIDE))


def test_no_color_turns_colours_off(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")

    assert Look.of(Terminal()) == Look(width=80, redraws=True, coloured=False, blocks=True)


def test_a_terminal_without_utf8_gets_ascii_bars():
    ascii_only = Look(width=100, redraws=True, coloured=False, blocks=False)

    assert bar(0.5, 10, ascii_only) == "#####....."


def test_a_bar_moves_by_eighths_of_a_cell():
    assert bar(0.0, 4, WIDE) == "    "
    assert bar(1 / 32, 4, WIDE) == "▏   "
    assert bar(0.5, 4, WIDE) == "██  "
    assert bar(1.0, 4, WIDE) == "████"


def test_a_pipe_gets_plain_lines_and_not_each_of_them():
    stream = io.StringIO()
    display = Display(stream)

    for _ in range(5):
        display.show(RUNNING)
    display.show(status(customer=(1250, 1.0, "ready")), is_last=True)

    assert stream.getvalue().splitlines() == [plain_line(RUNNING), plain_line(status(customer=(1250, 1.0, "ready")))]
    assert stream.getvalue().isascii()


def test_a_terminal_is_redrawn_in_place(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    display = Display(stream)

    display.show(RUNNING)
    display.show(RUNNING)
    display.finish()
    display.say("done")

    assert re.findall(r"\033\[(\d+)A", stream.getvalue()) == ["3"]
    assert stream.getvalue().endswith("left\ndone\n")


def test_durations_are_said_in_minutes_from_one_on():
    assert [duration(seconds) for seconds in (0.4, 59, 60, 150)] == ["0 s", "59 s", "1 min 0 s", "2 min 30 s"]


def test_why_nothing_moves_stands_below_the_bars_in_as_many_lines_as_it_needs():
    notice = "No progress for 12 s: a worker stopped. Work on invoices resumes within 6 s."
    stuck = RUNNING | {"backfill": {"objectsPerSecond": 0, "etaSeconds": None, "notice": notice}}
    narrow = Look(width=44, redraws=True, coloured=False, blocks=True)

    lines = render(stuck, narrow)

    assert [line.strip() for line in lines[3:]] == [
        "No progress for 12 s: a worker stopped.",
        "Work on invoices resumes within 6 s.",
    ]
    assert max(map(len, lines)) <= 44
    assert plain_line(stuck).endswith(f"1,950 objects - {notice}")
    assert len(render(RUNNING, narrow)) == 3
