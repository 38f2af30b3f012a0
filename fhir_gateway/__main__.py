"""`fhir-gateway COMMAND`, or `python -m fhir_gateway`. Results on stdout, progress and logs on stderr."""

from __future__ import annotations

import sys

from .command_line import app
from .command_line.base import Stop, fail


def main() -> None:
    """Entry point: every expected failure is one sentence."""
    from .domain.problem import Problem
    from .settings import Refused
    from .store.base import StoreError

    try:
        app()
    except Stop as stop:
        fail(str(stop), stop.code)
    except Refused as refused:
        fail(str(refused), 2)
    except Problem as problem:
        each = [f"\n  {i.where}: {i.text}" if i.where else f"\n  {i.text}" for i in problem.issues if i.text != problem.text]
        fail("".join([f"{problem.where}: {problem.text}" if problem.where else problem.text, *each]), 1)
    except StoreError as error:
        fail(f"The store refused: {error}", 1)
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
