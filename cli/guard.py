"""Where errors become messages and exit codes: every command is wrapped by `guarded`.

A user's mistake is one message on stderr and the exit code of its class in `castline.errors`, never a
traceback. Anything unforeseen is a bug: it keeps its traceback and leaves with 1.
"""

import functools
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import ParamSpec

import typer

from castline.errors import INTERRUPTED, CastlineError, DeviceError
from castline.files import is_disk_full

P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command so that what it raises ends in a message and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with _KeepInterrupts():
                command(*args, **kwargs)
            sys.stdout.flush()
        except CastlineError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt as interrupt:
            message = str(interrupt) or "what was finished is kept; run the same command again to go on"
            _fail(message, INTERRUPTED, label="interrupted")
        except MemoryError:
            _fail("not enough memory; a smaller batch, context or worker count needs less", DeviceError.exit_code)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("castline"):
                raise
            advice = "`castline doctor` says what is and how to get the rest"
            _fail(f"the Python package '{error.name}' is not installed; {advice}", DeviceError.exit_code)
        except OSError as error:
            if not is_disk_full(error):
                raise
            where = f" while writing {error.filename}" if error.filename else ""
            _fail(f"no space left on the disk{where}; free some space and run again", DeviceError.exit_code)

    return wrapper


class _KeepInterrupts:
    """Inside, Ctrl-C ends in a KeyboardInterrupt, also where a library's C code makes another error of it."""

    def __enter__(self) -> None:
        self._seen = False
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._before)
        if self._seen and isinstance(error, Exception) and not isinstance(error, CastlineError):
            raise KeyboardInterrupt from error

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen = True
        raise KeyboardInterrupt


def _fail(message: str, code: int, label: str = "error") -> None:
    print(f"{label}: {message}", file=sys.stderr)
    raise typer.Exit(code)
