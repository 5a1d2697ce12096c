"""Shows events to a person: bars on a terminal, a plain line each tenth elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from dd_core.events import Event, Listener, Message, PhaseAdvanced, PhaseFinished, PhaseStarted
from dd_recipes.results import duration

__all__ = ["PlainLines", "showing"]


@contextmanager
def showing(console: Console) -> Iterator[Listener]:
    """A listener that shows events on the console while the block runs."""
    if not console.is_terminal:
        yield PlainLines(console)
        return
    # Narrow enough for 80 columns.
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        _Rate(table_column=Column(no_wrap=True)),
        _Elapsed(table_column=Column(no_wrap=True)),
        TextColumn("ETA"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[value]}", table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, speed_estimate_period=20.0) as progress:
        yield _Bars(progress)


class PlainLines:
    """One line at the start of a phase, at each tenth of it and at its end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tenth: dict[str, int] = {}
        self._began: dict[str, tuple[float, int]] = {}

    def __call__(self, event: Event) -> None:
        """Prints the event, if it is time to."""
        match event:
            case Message():
                self._print(_message(event))
            case PhaseStarted():
                self._began[event.phase] = (time.monotonic(), event.done)
                self._tenth[event.phase] = _tenth(event.done, event.total)
                if event.done < event.total:
                    goes_on = f", going on at {event.done}" if event.done else ""
                    self._print(f"{event.phase}: {event.total} {_many(event.unit)}{goes_on}")
            case PhaseAdvanced():
                tenth = _tenth(event.done, event.total)
                if tenth > self._tenth.get(event.phase, -1):
                    self._tenth[event.phase] = tenth
                    self._print(self._line(event))
            case PhaseFinished():
                self._print(f"{event.phase}: done in {duration(event.seconds)}")

    def _line(self, event: PhaseAdvanced) -> str:
        start, first = self._began.get(event.phase, (time.monotonic(), 0))
        left = ""
        if event.done > first:
            pace = (time.monotonic() - start) / (event.done - first)
            left = f", ETA {duration(pace * (event.total - event.done))}"
        share = 100 * event.done // max(event.total, 1)
        values = _values(event.values)
        shown = f", {values}" if values else ""
        return f"{event.phase}: {event.done}/{event.total} ({share}%){left}{shown}"

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Bars:
    """Draws one bar a phase."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        progress = self._progress
        match event:
            case Message():
                progress.console.print(_message(event), markup=False, highlight=False)
            case PhaseStarted():
                self._tasks[event.phase] = progress.add_task(
                    event.phase, total=event.total, completed=event.done, value=""
                )
            case PhaseAdvanced() if event.phase in self._tasks:
                progress.update(
                    self._tasks[event.phase], completed=event.done, value=_main(event.values)
                )
            case PhaseFinished() if event.phase in self._tasks:
                task = self._tasks[event.phase]
                total = progress.tasks[progress.task_ids.index(task)].total
                progress.update(task, completed=total)


class _Rate(ProgressColumn):
    """Steps or iterations a second."""

    def render(self, task: Task) -> Text:
        """The rate as text."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{speed:.2f}/s", style="cyan")


class _Elapsed(ProgressColumn):
    """Time of the phase in this process."""

    def render(self, task: Task) -> Text:
        """Minutes and seconds."""
        seconds = round((task.finished_time if task.finished else task.elapsed) or 0)
        return Text(f"{seconds // 60:02d}:{seconds % 60:02d}", style="yellow")


def _main(values: Mapping[str, float]) -> str:
    """The value that fits beside a bar: accuracy if there is one, else the first."""
    if "accuracy" in values:
        return f"{values['accuracy']:.1f}% right"
    return "".join(f"{name} {value:.4g}" for name, value in list(values.items())[:1])


def _values(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _message(event: Message) -> str:
    return f"warning: {event.text}" if event.level == "warning" else event.text


def _tenth(done: int, total: int) -> int:
    return 10 * done // max(total, 1)


def _many(unit: str) -> str:
    """The plural: steps, classes."""
    return f"{unit}es" if unit.endswith("s") else f"{unit}s"
