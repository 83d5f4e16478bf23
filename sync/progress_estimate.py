"""Turns what a plan has met and still expects into a share that people can believe."""

# Estimates end a little early or late; only a type whose windows are all done shows 1.
MOST_WHILE_OPEN = 0.99


class ProgressEstimate:
    """The share of a type's objects that were met, 0..1, never going down.

    `shown` is the share that was shown before, also by another process. Estimates of the rest change with every split
    and answer, so the share rests where it is until they have caught up.
    """

    def __init__(self, shown: float = 0.0) -> None:
        self._shown = shown

    def advance(self, *, met: int, remaining: float, is_finished: bool) -> float:
        share = 1.0 if is_finished else min(met / max(1.0, met + remaining), MOST_WHILE_OPEN)
        self._shown = max(self._shown, share)
        return self._shown


def eta_s(remaining: float, objects_per_second: float) -> float | None:
    """Seconds until the rest is met at this speed; None while nothing moves."""
    return remaining / objects_per_second if objects_per_second > 0 else None
