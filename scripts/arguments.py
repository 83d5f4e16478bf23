"""Argument types for command-line numbers. A refusal says what is allowed."""

import argparse
from collections.abc import Callable

SMALLEST_SCALE = 0.001
LARGEST_SCALE = 1000.0


def between(lowest: float, highest: float) -> Callable[[str], float]:
    """A number from `lowest` to `highest`. "nan" is refused."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} should be a number from {lowest:,g} to {highest:,g}")
        return value

    return parse


def port(text: str) -> int:
    """A TCP port. 0 asks the system for a free one."""
    if not text.isascii() or not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} should be a port from 0 to 65535")
    return int(text)


scale = between(SMALLEST_SCALE, LARGEST_SCALE)
rate = between(0.1, 1_000_000)
latency_ms = between(0, 600_000)
