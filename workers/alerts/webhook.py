"""Sends one notice to a team's webhook, signed as Stripe signs its deliveries."""

import hashlib
import hmac
import json
import ssl

import pycurl
import stripe

from sync.alerts.store import Notice
from workers.alerts.addresses import BadAddress, Target, resolve
from workers.alerts.telling import NotSent, as_json

SIGNATURE = "BillStack-Signature"
_CONNECT_TIMEOUT_S = 5
_TIMEOUT_S = 10
# Nobody reads the answer. A longer one is cut off.
_MOST_ANSWER_BYTES = 64 * 1024
_REASONS = {
    pycurl.E_COULDNT_CONNECT: "the connection was refused",
    pycurl.E_OPERATION_TIMEDOUT: f"it did not answer within {_TIMEOUT_S} s",
    pycurl.E_PEER_FAILED_VERIFICATION: "its certificate is not trusted",
    pycurl.E_SSL_CONNECT_ERROR: "no encrypted connection could be made",
}


def send(notice: Notice, *, public_url: str, now: int, allow_private: bool) -> None:
    """Raises NotSent unless the receiver answers with a status from 200 to 299. Follows no redirect."""
    url, secret = notice.receivers.webhook_url, notice.receivers.webhook_secret
    if url is None or secret is None:
        raise NotSent("the team has no webhook any more", is_final=True)
    try:
        target = resolve(url, allow_private=allow_private)
    except BadAddress as exc:
        raise NotSent(f"the webhook's address {exc}") from None
    body = json.dumps(as_json(notice, public_url=public_url), ensure_ascii=False).encode()
    status = _post(target, body, sign(body, secret, now))
    if not 200 <= status < 300:
        raise NotSent(f"the webhook answered {status}")


def sign(body: bytes, secret: str, at: int) -> str:
    """HMAC-SHA256 over "{t}.{body}", so that Stripe's libraries can verify it."""
    digest = hmac.new(secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _post(target: Target, body: bytes, signature: str) -> int:
    """The answer's status."""
    handle, left = pycurl.Curl(), [_MOST_ANSWER_BYTES]

    def take(piece: bytes) -> int | None:
        left[0] -= len(piece)
        return None if left[0] >= 0 else 0  # 0: libcurl ends the transfer

    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.URL, target.url)
    handle.setopt(pycurl.PATH_AS_IS, 1)
    # To the addresses that were checked, whatever the name resolves to now, and through no proxy.
    if ":" not in target.host:  # else it is the address itself
        addresses = ",".join(f"[{each}]" if each.version == 6 else str(each) for each in target.addresses)
        handle.setopt(pycurl.RESOLVE, [f"{target.host}:{target.port}:{addresses}"])
    handle.setopt(pycurl.PROXY, "")
    handle.setopt(pycurl.FOLLOWLOCATION, 0)
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    handle.setopt(pycurl.CAINFO, ssl.get_default_verify_paths().cafile or stripe.ca_bundle_path)
    handle.setopt(pycurl.CONNECTTIMEOUT, _CONNECT_TIMEOUT_S)
    handle.setopt(pycurl.TIMEOUT, _TIMEOUT_S)
    handle.setopt(pycurl.POST, 1)
    handle.setopt(pycurl.POSTFIELDS, body)
    headers = {"Content-Type": "application/json", "User-Agent": "BillStack", "Expect": "", SIGNATURE: signature}
    handle.setopt(pycurl.HTTPHEADER, [f"{name}: {value}".rstrip() for name, value in headers.items()])
    handle.setopt(pycurl.WRITEFUNCTION, take)
    try:
        handle.perform()
    except pycurl.error as exc:
        if exc.args[0] != pycurl.E_WRITE_ERROR:  # a long answer: its status is known
            raise NotSent(
                f"the webhook could not be reached: {_REASONS.get(exc.args[0], 'the connection failed')}"
            ) from None
    finally:
        status = int(handle.getinfo(pycurl.RESPONSE_CODE))
        handle.close()
    return status
