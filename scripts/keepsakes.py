"""What a demo stores for its next start, beside the data."""

import base64
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path


class DemoError(Exception):
    """The demo cannot continue. The text is for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Keepsakes:
    """What the next start must find again. Stored in .billstack/demo.json, which only its owner can read."""

    secret_key: str  # decrypts the Stripe key in the database
    password: str
    sandbox_until: int  # where the sandbox' made-up history ends, so that it is the same again
    scale: float | None = None  # of its account; None: an older demo did not store it
    types: str = "six"  # that it has and the team mirrors

    @classmethod
    def load(cls, path: Path, *, scale: float, types: str) -> "Keepsakes":
        """What this start and the ones before need: a team that mirrors all types does so from then on.

        Raises:
            DemoError: the data is of another scale.
        """
        known = cls(**json.loads(path.read_text())) if path.exists() else None
        if known and known.scale not in (None, scale):
            raise DemoError(
                f"{path.parent} has the data of a demo with --scale {known.scale:g}. At --scale {scale:g} the sandbox"
                " is another account, and the backfill would have to look up each old object; start with"
                f" --scale {known.scale:g}, use another folder with --state-dir DIR, or delete {path.parent} first"
            )
        kept = replace(known or cls._fresh(), scale=scale, types="all" if known and known.types == "all" else types)
        if kept != known:
            aside = path.with_suffix(".new")
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(asdict(kept), file)
            aside.rename(path)
        return kept

    @classmethod
    def _fresh(cls) -> "Keepsakes":
        secret_key = base64.b64encode(secrets.token_bytes(32)).decode()
        return cls(secret_key, password=secrets.token_urlsafe(9), sandbox_until=int(time.time()))
