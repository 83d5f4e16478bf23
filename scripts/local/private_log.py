"""Log files that only their owner can read, because lines name teams, users and addresses."""

import os
from pathlib import Path
from typing import IO


def open_private_log(path: Path) -> IO[bytes]:
    """Opens the file for appending. Makes an existing one private."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")
