"""Ctrl-C: asked first, at once the second time."""

from __future__ import annotations

import os
import signal

import pytest

from cli.interrupts import stop_on_interrupt


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_without_an_interrupt_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_interrupt() as cancelled:
        assert signal.getsignal(signal.SIGINT) is not before
        assert not cancelled()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_first_interrupt_asks_and_then_drops_the_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGINT)
    reached = False
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt() as cancelled:
        press()
        reached = cancelled()
    assert reached
    assert signal.getsignal(signal.SIGINT) is before
    assert "press Ctrl-C again" in capsys.readouterr().err


def test_the_second_interrupt_does_not_wait() -> None:
    after = False
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt():
        press()
        press()
        after = True
    assert not after


def test_an_error_of_the_work_is_not_hidden() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="mine"), stop_on_interrupt():
        press()
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is before
