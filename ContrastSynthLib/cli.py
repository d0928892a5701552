"""The command line: ``contrastsynth`` or ``python -m ContrastSynthLib``.

Exit codes: 0 done; 2 the request or an input is wrong; 3 something to install or download
is missing; 1 anything else. Results go to stdout, warnings and error messages to stderr.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import SimpleITK as sitk

from ContrastSynthLib.commands.parser import parse
from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthLib.requirements import as_missing
from ContrastSynthLib.running.jobs import JsonLines, cancelled_by_signals, json_lines_on_stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _escape_unprintable()
    options = parse(sys.argv[1:] if arguments is None else arguments)
    # ITK's warnings name lines of its source code; the readers check the same and explain it.
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        code = _run_command(options)
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        _discard_output()
        return 1
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EIO):
            raise
        _discard_output()
        print(f"contrastsynth: the output cannot be written ({error.strerror}).", file=sys.stderr)
        return 1
    return code


def _run_command(options: argparse.Namespace) -> int:
    with _stdout_for(options) as lines:
        try:
            with cancelled_by_signals():
                options.command(options, lines)
        except ContrastSynthError as error:
            return _report_error(error, lines)
        except ImportError as error:
            if (missing := as_missing(error)) is None:
                raise
            return _report_error(missing, lines)
    return 0


def _escape_unprintable() -> None:
    """Print characters that the console cannot encode, as in file names, as backslash escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Discard buffered output: flushing it at the end of the process would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _report_error(error: ContrastSynthError, lines: JsonLines | None) -> int:
    """Print the message of an error that a user can correct, and return its exit code."""
    print(f"contrastsynth: {error}", file=sys.stderr)
    if lines:
        lines.send("error", message=str(error), exit_code=error.exit_code)
    return error.exit_code


@contextmanager
def _stdout_for(options: argparse.Namespace) -> Iterator[JsonLines | None]:
    if getattr(options, "progress", None) == "json":
        with json_lines_on_stdout() as lines:
            yield lines
    else:
        yield None


if __name__ == "__main__":
    sys.exit(main())
