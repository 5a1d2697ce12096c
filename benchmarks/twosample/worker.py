"""The process in which one test is measured: `python -m twosample.worker JOB`, JOB in JSON.

It builds the samples, calls the test once on a few rows (imports and compilation are not timed),
and says so with a line. Then every line that it gets is a turn, which it answers with one line of
JSON. Where one call takes longer than the limit, the system's alarm ends the process.
"""

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from stepbench import memory

_WARM_ROWS = 64
_WARM_RESAMPLES = 9
_MOST_CALLS = 25
_SETUP_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement of one test.

    Attributes:
        key: The test, a key of the catalogue.
        n: Observations in each sample.
        d: Features.
        resamples: Relabelings.
        threads: Threads of every numerical library.
        limit: Seconds after which a call is given up.
        seconds: In a turn, calls are repeated until they took this long together.
        options: Further options of the test.
    """

    key: str
    n: int
    d: int
    resamples: int
    threads: int
    limit: float
    seconds: float = 0.5
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was measured in one turn.

    Attributes:
        seconds: Wall seconds of every call.
        extra_mb: Peak memory of its first call, less what was resident before (MB, 10^6 bytes).
        pvalue: The p-value, for the record.
    """

    seconds: list[float]
    extra_mb: float
    pvalue: float


class Measured:
    """A test with its samples, ready to be measured."""

    def __init__(self, job: Job) -> None:
        import numpy as np

        from twosample.catalogue import ENTRIES

        self.job, self._entry = job, ENTRIES[job.key]
        rng = np.random.default_rng(0)
        self._x, self._y = (self._sample(rng) for _ in "xy")
        rows = slice(0, _WARM_ROWS)
        self._entry.call(self._x[rows], self._y[rows], _WARM_RESAMPLES, 0, **job.options)

    def _sample(self, rng: Any) -> Any:
        sample = rng.standard_normal((self.job.n, self.job.d))
        if self._entry.kind == "numpy":
            return sample
        import torch

        torch.set_num_threads(self.job.threads)
        return torch.from_numpy(sample).float()

    def turn(self) -> Answer:
        """Call the test once or more often."""
        job, extra, pvalue = self.job, 0.0, 1.0
        taken: list[float] = []
        memory.reset_peak()
        before = memory.resident_mb()
        while not taken or (sum(taken) < job.seconds and len(taken) < _MOST_CALLS):
            _alarm(job.limit)
            start = time.perf_counter()
            pvalue = self._entry.call(self._x, self._y, job.resamples, len(taken), **job.options)
            taken.append(time.perf_counter() - start)
            _alarm(0)
            if len(taken) == 1:
                extra = memory.peak_mb() - before
        return Answer(taken, extra, pvalue)


def _alarm(seconds: float) -> None:
    """End this process after so many seconds, also in the middle of compiled code."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> None:
    """Measure when asked; answers go where no print of a package can get in their way."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    _alarm(_SETUP_SECONDS)
    measured = Measured(Job(**json.loads(sys.argv[1])))
    _alarm(0)
    print("ready", file=answers)
    for _ in sys.stdin:
        print(json.dumps(asdict(measured.turn())), file=answers)


if __name__ == "__main__":
    main()
