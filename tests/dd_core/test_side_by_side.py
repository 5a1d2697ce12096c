"""Networks side by side: everything is run once, errors come through, threads are given back."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from dd_core import SettingsError
from dd_core.side_by_side import count_workers, in_rounds, run_side_by_side


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_each_is_run_once_and_every_step_is_reported_by_the_caller(workers):
    ran, seen, caller = [], [], threading.get_ident()

    def run(number, report):
        ran.append(number)
        for step in range(3):
            report(step, f"{number}-{step}")

    def report(number, step, what):
        assert threading.get_ident() == caller
        seen.append((number, step, what))

    run_side_by_side(run, [4, 7, 1, 9], workers, report, threads=2)
    assert sorted(ran) == [1, 4, 7, 9]
    assert sorted(seen) == [(n, s, f"{n}-{s}") for n in (1, 4, 7, 9) for s in range(3)]
    for number in ran:  # in their order
        assert [s for n, s, _ in seen if n == number] == [0, 1, 2]


def test_workers_run_at_the_same_time_and_share_the_threads():
    before, meeting, threads = torch.get_num_threads(), threading.Barrier(2, timeout=10), []

    def run(number, report):
        threads.append(torch.get_num_threads())
        meeting.wait()  # would break if one ran after the other

    run_side_by_side(run, [0, 1], 2, lambda *_: None, threads=4)
    assert threads == [2, 2] and torch.get_num_threads() == before


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_ends_all(workers):
    begun = []

    def run(number, report):
        begun.append(number)
        if number == 1:
            raise ValueError("one failed")
        for step in range(10**9):
            report(step, None)
            if workers == 1:
                return

    with pytest.raises(ValueError, match="one failed"):
        run_side_by_side(run, [0, 1, 2, 3], workers, lambda *_: None, threads=2)
    assert not {2, 3} & set(begun) or workers == 2  # a thread may have begun the next


def test_an_error_of_the_report_ends_all():
    def run(number, report):
        for step in range(10**9):
            report(step, None)

    def report(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side(run, [0, 1], 2, report, threads=2)


def test_the_number_of_workers(runtime):
    four = replace(runtime, threads=4)
    assert count_workers("auto", four, 10) == 4
    assert count_workers("auto", four, 3) == 3
    assert count_workers("auto", replace(four, compile=True), 10) == 1
    assert count_workers("auto", replace(four, device_name="cuda"), 10) == 1
    assert count_workers(8, four, 10) == 8
    assert count_workers(2, four, 0) == 1
    with pytest.raises(SettingsError, match="workers is 0"):
        count_workers(0, four, 10)
    with pytest.raises(SettingsError, match="set workers = 1 or compile = 'off'"):
        count_workers(2, replace(four, compile=True), 10)


def test_a_network_keeps_its_group_whatever_is_done():
    for count in range(1, 9):
        for workers in range(1, 5):
            groups = {n: many for many, group in in_rounds(range(count), count, workers)
                      for n in group}  # fmt: skip
            assert sorted(groups) == list(range(count)) and max(groups.values()) <= workers
            for missing in ([0], [count - 1], list(range(0, count, 2))):
                for many, group in in_rounds(missing, count, workers):
                    assert all(groups[number] == many for number in group)
