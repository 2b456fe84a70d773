"""What a command's errors become on the way out."""

import contextlib
import signal

import pytest
import typer

from castline.cli.guard import guarded
from castline.errors import VerificationError


def test_an_interrupt_that_a_library_swallows_is_still_one(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:  # what C code does that checks for an error and reports its own
            raise ValueError("could not determine the shape") from None

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(typer.Exit) as left:
        guarded(command)()
    assert left.value.exit_code == 130
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_bug_without_an_interrupt_keeps_its_traceback() -> None:
    def command() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        guarded(command)()


def test_an_interrupt_that_was_dealt_with_does_not_hide_what_comes_later() -> None:
    def command() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise VerificationError("too far off")

    with pytest.raises(typer.Exit) as left:
        guarded(command)()
    assert left.value.exit_code == 5
