"""The process of one measurement: `python -m twosample.worker JOB`, JOB in JSON.

It builds the samples, calls the test once on a few rows (imports and compilation are not timed),
and then measures. The answer is one line of JSON. Where one call takes longer than the limit the
system's alarm ends the process.
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
        seconds: Calls are repeated until they took this long together.
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
    """What was measured.

    Attributes:
        seconds: Wall seconds of every call.
        extra_mb: Peak memory of the first call, less what was resident before it (MB, 10^6 bytes).
        pvalue: The p-value, for the record.
    """

    seconds: list[float]
    extra_mb: float
    pvalue: float


def run(job: Job) -> Answer:
    """Measure one test in this process."""
    import numpy as np

    from twosample.catalogue import ENTRIES

    entry = ENTRIES[job.key]
    rng = np.random.default_rng(0)
    samples: list[Any] = [rng.standard_normal((job.n, job.d)) for _ in "xy"]
    if entry.kind == "torch":
        import torch

        torch.set_num_threads(job.threads)
        samples = [torch.from_numpy(sample).float() for sample in samples]
    x, y = samples
    del samples
    entry.call(x[:_WARM_ROWS], y[:_WARM_ROWS], _WARM_RESAMPLES, 0, **job.options)
    memory.reset_peak()
    before = memory.resident_mb()
    taken: list[float] = []
    extra, pvalue = 0.0, 1.0
    while not taken or (sum(taken) < job.seconds and len(taken) < _MOST_CALLS):
        _alarm(job.limit)
        start = time.perf_counter()
        pvalue = entry.call(x, y, job.resamples, len(taken), **job.options)
        taken.append(time.perf_counter() - start)
        if len(taken) == 1:
            extra = memory.peak_mb() - before
        _alarm(0)
    return Answer(taken, extra, pvalue)


def _alarm(seconds: float) -> None:
    """End this process after so many seconds, also in the middle of compiled code."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> None:
    """Read the job, and write the answer where no print of a package can get in its way."""
    answer_file = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = Job(**json.loads(sys.argv[1]))
    answer = run(job)
    json.dump(asdict(answer), answer_file)
    answer_file.close()


if __name__ == "__main__":
    main()
