from __future__ import annotations

from io import StringIO

from rich.console import Console

from dd_core.events import Event, Message, PhaseAdvanced, PhaseFinished, PhaseStarted
from dd_recipes.progress import showing


def shown(events: list[Event], *, terminal: bool, width: int = 80) -> str:
    target = StringIO()
    console = Console(file=target, force_terminal=terminal, width=width, legacy_windows=False)
    with showing(console) as listen:
        for event in events:
            listen(event)
    return target.getvalue()


def phase(total: int, done: int = 0) -> list[Event]:
    advances = [
        PhaseAdvanced("students random packed", i, total, {"loss": 2.25, "accuracy": 51.5})
        for i in range(done + 1, total + 1)
    ]
    started = PhaseStarted("students random packed", total, "step", done)
    return [started, *advances, PhaseFinished("students random packed", 61.0)]


def test_without_a_terminal_a_line_each_tenth() -> None:
    lines = shown(phase(1000), terminal=False).splitlines()
    assert lines[0] == "students random packed: 1000 steps"
    assert lines[-1] == "students random packed: done in 1 min 01 s"
    middle = lines[1:-1]
    assert len(middle) == 10
    assert middle[4].startswith("students random packed: 500/1000 (50%), ETA ")
    assert middle[4].endswith("loss 2.25, accuracy 51.5")


def test_a_phase_that_goes_on_says_so() -> None:
    lines = shown(phase(100, done=70), terminal=False).splitlines()
    assert lines[0] == "students random packed: 100 steps, going on at 70"
    assert len(lines) == 1 + 3 + 1


def test_a_complete_phase_is_silent() -> None:
    assert shown([PhaseStarted("pool", 10, "step", 10)], terminal=False) == ""


def test_messages_are_not_taken_for_markup() -> None:
    text = shown([Message("a [bold] b"), Message("careful", "warning")], terminal=False)
    assert text == "a [bold] b\nwarning: careful\n"


def test_bars_show_count_rate_and_accuracy_within_80_columns() -> None:
    text = shown(phase(4000), terminal=True)
    last = [line for line in text.splitlines() if "4000/4000" in line][-1]
    assert "students random packed" in last
    assert "51.5% right" in last
    assert "/s" in last
    assert "ETA" in last
    assert "…" not in last


def test_bars_take_events_of_an_unknown_phase() -> None:
    shown([PhaseAdvanced("late", 1, 2), PhaseFinished("late", 1.0)], terminal=True)
