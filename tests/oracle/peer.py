"""HL7's validator as a process: lines in, lines out. Built once by Maven in `.work/`, which git ignores."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from ..conftest import ROOT, SHARED
from ..interop.peers import one_at_a_time

SOURCE = SHARED / "peers/hl7-validator"
BUILD = ROOT / ".work/hl7-validator"
JAR = BUILD / "target/hl7-oracle.jar"
Case = dict[str, Any]
Answer = dict[str, Any]


class Absent(Exception):
    """HL7's validator cannot be had here, for lack of its source, Java or Maven; the text says what to do."""


def jar() -> Path:
    """The validator, built when it is not there yet. Absent when the means are; RuntimeError when the build fails, which is no absence."""
    there = JAR.exists()
    missing = [t for t in (("java",) if there else ("java", "mvn")) if not shutil.which(t)]
    if not there and not SOURCE.is_dir():
        raise Absent("../shared/peers/hl7-validator is not here: HL7's validator cannot be asked.")
    if missing:
        raise Absent(f"{' and '.join(missing)} missing: HL7's validator needs JDK 17 and Maven (Debian: openjdk-17-jdk-headless maven).")
    with one_at_a_time():  # another process may be building it, and a half of it be there
        if not JAR.exists():
            shutil.copytree(SOURCE, BUILD, dirs_exist_ok=True)
            subprocess.run(["chmod", "-R", "u+w", str(BUILD)], check=True)
            done = subprocess.run(["mvn", "-B", "-q", "package"], cwd=BUILD, capture_output=True, text=True, timeout=900)
            if done.returncode:
                raise RuntimeError(f"HL7's validator does not build: {done.stdout[-800:]}{done.stderr[-400:]}")
    return JAR


class Validator:
    """A process that answers line by line, as `fhir-gateway validate --lines` does and HL7's validator."""

    def __init__(self, command: list[str], log: Path) -> None:
        with open(log, "ab") as errors:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT)

    def ask(self, cases: Iterable[Case]) -> Iterator[Answer]:
        """One answer a case, in order, as they come."""
        lines = [json.dumps(c).encode() + b"\n" for c in cases]
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None

        def send() -> None:
            for line in lines:
                stdin.write(line)
            stdin.flush()

        Thread(target=send, daemon=True).start()
        for _ in lines:
            said = stdout.readline()
            if not said:
                raise RuntimeError("The validator ended before it had answered everything.")
            yield json.loads(said)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()


@contextmanager
def hl7(definitions: Path | None = None) -> Iterator[Validator]:
    """HL7's validator, running, with the definitions of a folder. Absent when it cannot be."""
    more = ["--profile-dir", str(definitions)] if definitions else []
    with _started(["java", "-Xmx2g", "-XX:+UseSerialGC", "-jar", str(jar()), *more]) as validator:
        yield validator


@contextmanager
def ours(python: str, definitions: Path | None = None) -> Iterator[Validator]:
    more = ["--definitions", str(definitions)] if definitions else []
    with _started([python, "-m", "fhir_gateway", "validate", "--lines", *more]) as validator:
        yield validator


@contextmanager
def _started(command: list[str]) -> Iterator[Validator]:
    (ROOT / ".work").mkdir(exist_ok=True)
    validator = Validator(command, ROOT / ".work/oracle.log")
    try:
        yield validator
    finally:
        validator.close()
