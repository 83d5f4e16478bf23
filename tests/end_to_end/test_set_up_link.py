"""The web as the Procfile starts it prints the link of the first set-up, once, where only its owner can read it."""

import json
import stat

from tests.end_to_end.product import Installation


def test_the_web_of_a_server_without_users_prints_one_link(installation: Installation):
    log = installation.stack.log_dir / "web.log"

    printed = [json.loads(line) for line in log.read_text().splitlines() if '"set_up.waits"' in line]

    assert len(printed) == 1, "of its two processes one prints"
    assert printed[0]["open"].startswith(f"{installation.stack.url}/set-up?token=")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
