"""Runs our command line under cProfile, by the processor's clock: on a busy machine what waits for the processor costs nothing here.

`python -m benchmarks.profiled FILE ARGS...`; `python -m pstats FILE` reads what it leaves when it has ended.
"""

from __future__ import annotations

import cProfile
import runpy
import signal
import sys
import time


def main() -> None:
    file, *args = sys.argv[1:]
    sys.argv = ["fhir-gateway", *args]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn gives the signal back once it has ended
    profile = cProfile.Profile(time.thread_time)
    try:
        profile.runcall(runpy.run_module, "fhir_gateway", run_name="__main__", alter_sys=True)
    finally:
        profile.dump_stats(file)


if __name__ == "__main__":
    main()
