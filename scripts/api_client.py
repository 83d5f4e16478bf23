"""A dashboard user of BillStack over HTTP, for the demo, the benchmark and end-to-end tests."""

from typing import Any

import urllib3

JSON = dict[str, Any]
TIMEOUT_S = 30.0
SESSION_COOKIE = "billstack_session"


class ApiError(Exception):
    """BillStack answered with an error. The text is its sentence."""

    def __init__(self, status: int, body: JSON) -> None:
        self.status = status
        self.code = body.get("code")
        super().__init__(body.get("error") or f"BillStack answered {status}")


class ApiClient:
    """Keeps the session's cookie. Its methods are the paths under `/api/billstack/teams/{team_id}/stripe`."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._pool = urllib3.PoolManager(timeout=TIMEOUT_S, retries=False)
        self.cookie = ""

    def sign_in(self, email: str, password: str) -> JSON:
        return self.call("POST", "/api/auth/sign-in", {"email": email, "password": password})

    def connect(self, team_id: str, secret_key: str, webhook_secret: str | None = None) -> JSON:
        body = {"secretKey": secret_key} | ({"webhookSecret": webhook_secret} if webhook_secret else {})
        return self.call("POST", self._stripe(team_id, "connect"), body)

    def start_backfill(self, team_id: str, **request: Any) -> JSON:
        return self.call("POST", self._stripe(team_id, "backfill"), request)

    def status(self, team_id: str) -> JSON:
        return self.call("GET", self._stripe(team_id, "status"))

    def call(self, method: str, path: str, body: JSON | None = None) -> JSON:
        """Returns the answer's JSON.

        Raises:
            ApiError: for any status from 400 on.
            urllib3.exceptions.HTTPError: nobody answered.
        """
        headers = {"Cookie": self.cookie} if self.cookie else {}
        response = self._pool.request(method, self._base_url + path, json=body, headers=headers)
        self._keep_cookie(response.headers.get("Set-Cookie", ""))
        answer = response.json() if response.data else {}
        if response.status >= 400:
            raise ApiError(response.status, answer)
        return dict(answer)

    @staticmethod
    def _stripe(team_id: str, name: str) -> str:
        return f"/api/billstack/teams/{team_id}/stripe/{name}"

    def _keep_cookie(self, header: str) -> None:
        if header.startswith(f"{SESSION_COOKIE}="):
            self.cookie = header.partition(";")[0]
