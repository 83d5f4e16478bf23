"""Request tokens taken but not yet spent."""

import time
from collections.abc import Callable

from sync.backfill.loop import Loop
from sync.stripe.caller import Reservation


class TokenPool:
    """Tokens for requests of one kind. They keep until there is work for them."""

    def __init__(self, loop: Loop, reserve: Callable[[], Reservation], *, most_payers: int = 1) -> None:
        self._loop = loop
        self._reserve = reserve
        self._most_payers = most_payers
        self._payers = 0
        self._paid = 0
        self.budget: Reservation | None = None  # as of the last payment

    def has_one(self, wanted: int = 1) -> bool:
        """Whether one more request may go out now. If not, starts paying for some of the `wanted`."""
        while not self._paid and self._payers < min(wanted, self._most_payers):
            self._payers += 1
            self._loop.run(self._pay, self._fill)
        return self._paid > 0

    def take(self) -> None:
        self._paid -= 1

    def _pay(self) -> Reservation:
        reservation = self._reserve()
        time.sleep(reservation.wait_s)
        return reservation

    def _fill(self, reservation: Reservation) -> None:
        self._payers -= 1
        self._paid += reservation.count
        self.budget = reservation
