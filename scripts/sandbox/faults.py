"""Deliberate faults: they strike requests by chance or by number, always the same for a seed."""

import re
from dataclasses import dataclass, replace

from scripts.sandbox.dice import Dice

KINDS = (
    "500",  # an error before anything was done
    "500-after",  # everything was done, the answer is an error; an idempotency key keeps that error
    "502",  # the proxy's HTML page; nothing was done
    "429",  # contention on one object: no header says which limit
    "reset",  # the connection is reset; nothing was done
    "reset-after",  # everything was done, then the connection is reset
    "hang",  # everything was done, the answer comes `seconds` later
    "truncated",  # half of the announced body, then the connection closes
    "garbage",  # status 200 and JSON that stops in the middle
    "slow",  # the body takes `seconds` to come
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Strikes a share of the matching requests, or those with these numbers (from 1), at most `times` times."""

    kind: str
    share: float = 0.0
    numbers: tuple[int, ...] = ()
    times: int | None = None
    path: str = ""  # how the path of the request begins
    method: str = ""
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; there are {', '.join(KINDS)}")


_SPEC = re.compile(
    r"(?P<kind>[0-9a-z-]+)(?:=(?P<seconds>[0-9.]+))?:(?:#(?P<numbers>[0-9,]+)|(?P<share>[0-9.]+))(?:@(?P<path>/\S*))?"
)


def parse(spec: str) -> Fault:
    """`500:0.05`, `hang=60:0.01@/v1/invoices` for 60 s, or `reset:#3,7` for the third and the seventh request."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(f"a fault is KIND:SHARE or KIND:#1,2, with =SECONDS and @/path if wanted, not {spec!r}")
    numbers = tuple(int(number) for number in match["numbers"].split(",")) if match["numbers"] else ()
    fault = Fault(match["kind"], float(match["share"] or 0), numbers, path=match["path"] or "")
    return replace(fault, seconds=float(match["seconds"])) if match["seconds"] else fault


class FaultPlan:
    """The current faults. At most one strikes a request: the first that matches."""

    def __init__(self, faults: tuple[Fault, ...] = (), seed: int = 1) -> None:
        self.faults = faults
        self._dice = Dice(f"faults:{seed}")
        self._met = [0] * len(faults)
        self._struck = [0] * len(faults)

    def strike(self, method: str, path: str) -> Fault | None:
        for at, fault in enumerate(self.faults):
            if not path.startswith(fault.path) or fault.method not in ("", method):
                continue
            self._met[at] += 1
            wanted = self._met[at] in fault.numbers or (fault.share > 0 and self._dice.chance(fault.share))
            if wanted and (fault.times is None or self._struck[at] < fault.times):
                self._struck[at] += 1
                return fault
        return None
