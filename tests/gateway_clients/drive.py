"""Makes the calls of calls.json with the stripe-python that is on the path, and prints what came of each as JSON.

Arguments: the library's address, the key, and `newest` or `older`.
"""

import itertools
import json
import sys
from functools import reduce
from pathlib import Path
from typing import Any

import stripe

OPTIONS = {"version": "stripe_version", "account": "stripe_account", "key": "idempotency_key"}
HEADERS = ("content-type", "idempotent-replayed", "stripe-should-retry", "stripe-version", "x-billstack-source")


class Driver:
    def __init__(self, address: str, key: str) -> None:
        client = stripe.StripeClient(
            key, base_addresses={"api": address}, max_network_retries=0, http_client=stripe.RequestsClient(timeout=60)
        )
        self._services = getattr(client, "v1", client)
        self._kept: dict[str, Any] = {}

    def outcome(self, call: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self._ask(call)
        except stripe.StripeError as error:
            if error.http_status is None:
                raise
            told = {"type": type(error).__name__, "code": error.code, "message": error.user_message}
            raw = error.json_body
            return {"error": {**told, "raw": raw}, "status": error.http_status, "headers": _shown(error.headers)}
        found = {"status": answer.last_response.code, "headers": _shown(answer.last_response.headers)}
        if call.get("all"):
            value = [_plain(each) for each in itertools.islice(answer.auto_paging_iter(), call["all"])]
        else:
            value = _plain(answer)
        for name, path in call.get("keep", {}).items():
            self._kept[name] = _at(value, path)
        return {**found, "value": value}

    def _ask(self, call: dict[str, Any]) -> Any:
        method = reduce(getattr, call["do"].split("."), self._services)
        options = {OPTIONS[name]: value for name, value in call.get("options", {}).items()}
        return method(*self._filled(call.get("args", [])), self._filled(call.get("params", {})), options)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("$"):
            return self._kept[value[1:]]
        if isinstance(value, list):
            return [self._filled(each) for each in value]
        if isinstance(value, dict):
            return {name: self._filled(each) for name, each in value.items()}
        return value


def _plain(answer: Any) -> Any:
    return json.loads(str(answer))


def _at(value: Any, path: str) -> Any:
    return reduce(lambda found, part: found[int(part) if part.isdigit() else part], path.split("."), value)


def _shown(headers: Any) -> dict[str, str]:
    given = {name.lower(): value for name, value in headers.items()}
    return {name: given[name] for name in HEADERS if name in given}


def main() -> None:
    address, key, release = sys.argv[1:]
    driver = Driver(address, key)
    calls = json.loads(Path(__file__).with_name("calls.json").read_text())
    made = [call for call in calls if call.get("only", release) == release]
    json.dump([{"call": call, **driver.outcome(call)} for call in made], sys.stdout)


main()
