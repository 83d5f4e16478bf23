"""Notices are sent signed, tried again until they arrive, and never elsewhere than where they were addressed to."""

import email
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
import stripe

from sync.alerts.store import AlertStore, Notice, Receivers
from tests.factories import NOW
from workers.alerts import mail, sending
from workers.alerts.telling import subject
from workers.context import Context


@dataclass
class Receiver:
    """A webhook's receiver, which answers with `status`."""

    url: str = ""
    status: int = 200
    answer: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.requests.append((self.path, dict(self.headers), body))
            self.send_response(made.status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(made.answer)))
            self.end_headers()
            self.wfile.write(made.answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}/hook?token=t"
        yield made
        server.shutdown()


@dataclass
class MailServer:
    url: str = ""
    refuses: str = ""  # a command that it answers with 550
    messages: list[tuple[list[str], bytes]] = field(default_factory=list)


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """Speaks as much SMTP as a message needs."""
    made = MailServer()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 here")
            recipients: list[str] = []
            while line := self.rfile.readline().decode().strip():
                command = line.split()[0].upper()
                if command == made.refuses:
                    self.say("550 no")
                elif command == "EHLO":
                    self.say("250 here")
                elif command == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (text := self.rfile.readline()) != b".\r\n":
                        lines.append(text)
                    made.messages.append((recipients, b"".join(lines)))
                    self.say("250 taken")
                elif command == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    if command == "RCPT":
                        recipients.append(line)
                    self.say("250 ok")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.url = f"smtp+plain://127.0.0.1:{server.server_address[1]}"
        yield made
        server.shutdown()


@pytest.fixture
def context(context: Context, mail_server: MailServer) -> Context:
    settings = replace(
        context.settings, allow_private_alerts=True, smtp_url=mail_server.url, mail_from="billstack@example.com"
    )
    return replace(context, settings=settings)


@pytest.fixture
def store(context: Context, database: psycopg.Connection) -> AlertStore:
    return AlertStore(database, context.box)


@pytest.fixture
def refused(
    context: Context, database: psycopg.Connection, team_id: str, store: AlertStore, receiver: Receiver
) -> Callable[..., str]:
    """A team whose key was just refused, with a webhook, and e-mail if `emails`. Returns the webhook's secret."""

    def make(*, url: str | None = None, emails: tuple[str, ...] = ()) -> str:
        for number, address in enumerate(emails):
            database.execute(
                "INSERT INTO billstack.users (id, email, password_hash) VALUES (%s, %s, '') ON CONFLICT DO NOTHING",
                (f"user_alert_{number}", address),
            )
            database.execute(
                "INSERT INTO billstack.members (team_id, user_id, role) VALUES (%s, %s, 'viewer')",
                (team_id, f"user_alert_{number}"),
            )
        store.put(team_id, webhook_url=url or receiver.url, emails=emails)
        database.execute("UPDATE billstack.connections SET key_valid = false")
        store.look(every_s=0)
        receivers = store.receivers(team_id)
        assert receivers
        assert receivers.webhook_secret
        return receivers.webhook_secret

    yield make
    database.execute("DELETE FROM billstack.users WHERE id LIKE 'user_alert_%'")


def told(store: AlertStore, team_id: str):
    return store.notices(team_id, limit=50)


def come_due(database: psycopg.Connection) -> None:
    database.execute("UPDATE billstack.alert_notices SET next_attempt_at = now() - interval '1 second'")


def test_a_webhook_is_signed_so_that_stripes_library_verifies_it(context, store, team_id, receiver, refused):
    secret = refused()

    assert sending.run_once(context) == 1

    ((path, headers, body),) = receiver.requests
    assert path == "/hook?token=t"
    signature = headers["BillStack-Signature"]
    assert stripe.WebhookSignature.verify_header(body.decode(), signature, secret, tolerance=300)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(body.decode() + " ", signature, secret, tolerance=300)
    sent = json.loads(body)
    assert (sent["type"], sent["kind"], sent["teamId"], sent["team"]) == ("alert.began", "key_refused", team_id, "Acme")
    assert sent["url"] == f"http://billstack.test/teams/{team_id}/stripe"
    (notice,) = told(store, team_id)
    assert (notice.id, notice.state, notice.attempts, notice.error) == (sent["id"], "sent", 1, None)
    assert sending.run_once(context) == 0


def test_a_receiver_that_fails_is_tried_again_with_the_same_id(context, database, store, team_id, receiver, refused):
    refused()
    receiver.status = 500

    sending.run_once(context)
    (notice,) = told(store, team_id)
    assert (notice.state, notice.error) == ("waiting", "the webhook answered 500")
    assert timedelta(seconds=25) < notice.next_attempt_at - notice.created_at < timedelta(seconds=40)
    assert sending.run_once(context) == 0, "not before it is due"

    receiver.status = 204
    come_due(database)
    sending.run_once(context)

    assert [each.state for each in told(store, team_id)] == ["sent"]
    assert len({json.loads(body)["id"] for _, _, body in receiver.requests}) == 1
    assert len(receiver.requests) == 2


def test_after_a_day_of_failures_it_is_given_up(context, database, store, team_id, receiver, refused):
    refused()
    receiver.status = 500
    database.execute("UPDATE billstack.alert_notices SET attempts = %s", (sending.MOST_ATTEMPTS - 1,))

    sending.run_once(context)

    assert [each.state for each in told(store, team_id)] == ["failed"]
    day_s = sum(sending.wait_s(attempts) for attempts in range(1, sending.MOST_ATTEMPTS))
    assert 20 * 3600 < day_s < 30 * 3600


def test_no_redirect_is_followed(context, store, team_id, receiver, refused):
    refused()
    receiver.status, receiver.headers = 302, {"Location": receiver.url}

    sending.run_once(context)

    assert len(receiver.requests) == 1
    assert told(store, team_id)[0].error == "the webhook answered 302"


def test_a_long_answer_is_cut_off_and_counts(context, store, team_id, receiver, refused):
    refused()
    receiver.answer = b"x" * 5_000_000

    sending.run_once(context)

    assert told(store, team_id)[0].state == "sent"


def test_a_private_address_is_not_asked_unless_a_setting_allows_it(context, store, team_id, receiver, refused):
    refused(url=receiver.url.replace("127.0.0.1", "localhost").replace("http:", "https:"))
    careful = replace(context, settings=replace(context.settings, allow_private_alerts=False))

    sending.run_once(careful)

    assert receiver.requests == []
    assert told(store, team_id)[0].error == "the webhook's address must not lead into a private network"


def test_the_connection_goes_where_the_name_led_when_it_was_checked(context, receiver, monkeypatch):
    """Here the name is none that DNS knows: only the checked address can have been used."""
    found = [(2, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr("workers.alerts.addresses.socket.getaddrinfo", lambda *_, **__: found)
    url = receiver.url.replace("127.0.0.1", "hook.invalid")

    assert sending._try(context, a_notice(webhook_url=url)) is None
    assert receiver.requests[0][1]["Host"].startswith("hook.invalid:")


def a_notice(*, webhook_url: str | None = None, emails: tuple[str, ...] = (), **fields) -> Notice:
    values = {
        "kind": "key_refused",
        "is_on": True,
        "since": datetime.fromtimestamp(NOW, UTC),
        "over_at": None,
        "details": {},
        "id": "alert_1",
        "team_id": "team_1",
        "team": "Acme",
        "channel": "webhook" if webhook_url else "email",
        "attempts": 1,
        "receivers": Receivers(webhook_url, "whsec_x", list(emails)),
    }
    return Notice(**(values | fields))


def test_mail_goes_to_each_member_who_wants_it_and_shows_none_to_the_others(
    context, store, team_id, mail_server, refused
):
    refused(emails=("ada@example.com", "bob@example.com"))

    assert sending.run_once(context) == 2

    ((recipients, raw),) = mail_server.messages
    message = email.message_from_bytes(raw, policy=policy.default)
    assert sorted(recipients) == ["rcpt TO:<ada@example.com>", "rcpt TO:<bob@example.com>"]
    assert message["To"] == message["From"] == "billstack@example.com"
    assert message["Subject"] == "[BillStack] Acme: Key refused"
    assert "Enter a new key." in message.get_content()
    assert f"http://billstack.test/teams/{team_id}/alerts" in message.get_content()
    assert {each.state for each in told(store, team_id)} == {"sent"}


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_a_mail_server_that_refuses_is_tried_again(context, store, team_id, mail_server, refused, command):
    refused(emails=("ada@example.com",))
    mail_server.refuses = command

    sending.run_once(context)

    states = {each.channel: (each.state, each.error) for each in told(store, team_id)}
    assert states["webhook"] == ("sent", None), "the other channel does not wait for it"
    assert states["email"][0] == "waiting"
    assert (states["email"][1] or "").startswith("the mail server did not take it: ")
    assert "550" in str(states["email"][1]) or "refused" in str(states["email"][1])


def test_without_encryption_nothing_is_sent_to_a_server_that_should_have_it(context, mail_server):
    settings = replace(context.settings, smtp_url=mail_server.url.replace("smtp+plain", "smtp"))

    failure = sending._try(replace(context, settings=settings), a_notice(emails=("ada@example.com",)))

    assert failure
    assert failure.reason == "the mail server did not take it: it offers no encryption or no sign-in"
    assert mail_server.messages == []


def test_a_team_whose_name_has_lines_writes_no_header():
    notice = a_notice(emails=("a@b.c",), team="Acme\r\nBcc: all@example.com")

    message = mail.compose(notice, mail_from="billstack@example.com", public_url="https://x.example")

    assert message["Bcc"] is None
    assert subject(notice) == "[BillStack] Acme Bcc: all@example.com: Key refused"


def test_a_thread_of_the_scheduler_goes_on_after_an_error(context, monkeypatch):
    stopped, turns = threading.Event(), []

    def fails(_: Context) -> int:
        turns.append(1)
        if len(turns) > 1:
            stopped.set()
        raise RuntimeError

    monkeypatch.setattr(sending, "run_once", fails)
    monkeypatch.setattr(sending, "_TURN_EVERY_S", 0.0)

    sending.run(context, stopped)

    assert len(turns) == 2
