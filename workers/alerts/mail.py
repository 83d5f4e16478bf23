"""Sends one notice by e-mail, through the mail server of BILLSTACK_SMTP_URL."""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from sync.alerts.store import Notice
from workers.alerts.telling import NotSent, subject, text

_TIMEOUT_S = 10
_PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}


def send(notice: Notice, *, smtp_url: str | None, mail_from: str | None, public_url: str) -> None:
    """One message to all recipients. Raises NotSent if the server takes it for none of them."""
    if smtp_url is None or mail_from is None:
        raise NotSent("this server sends no e-mail: BILLSTACK_SMTP_URL is not set", is_final=True)
    if not notice.receivers.emails:
        raise NotSent("none of the recipients is a member of the team any more", is_final=True)
    message = compose(notice, mail_from=mail_from, public_url=public_url)
    try:
        with _connect(smtp_url) as server:
            server.send_message(message, from_addr=mail_from, to_addrs=notice.receivers.emails)
    except (smtplib.SMTPException, OSError) as exc:
        raise NotSent(f"the mail server did not take it: {_reason(exc)}") from None


def compose(notice: Notice, *, mail_from: str, public_url: str) -> EmailMessage:
    """Recipients do not see each other. The message's id is the notice's, so that mail programs show it once."""
    message = EmailMessage()
    message["Subject"] = subject(notice)
    message["From"] = mail_from
    message["To"] = mail_from
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = f"<{notice.id}@{mail_from.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text(notice, public_url))
    return message


def _connect(smtp_url: str) -> smtplib.SMTP:
    parts = urlsplit(smtp_url)
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    if parts.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_S, context=ssl.create_default_context())
    else:
        server = smtplib.SMTP(host, port, timeout=_TIMEOUT_S)
    try:
        if parts.scheme == "smtp":
            server.starttls(context=ssl.create_default_context())  # raises if the server does not offer it
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _reason(exc: Exception) -> str:
    """Without the server's own words, which may name addresses."""
    if isinstance(exc, smtplib.SMTPResponseException):
        return f"it answered {exc.smtp_code}"
    if isinstance(exc, smtplib.SMTPRecipientsRefused):
        return "it refused all recipients"
    if isinstance(exc, smtplib.SMTPNotSupportedError):
        return "it offers no encryption or no sign-in"
    if isinstance(exc, ssl.SSLError):
        return "its certificate is not trusted, or no encrypted connection could be made"
    return "the connection was closed" if isinstance(exc, smtplib.SMTPException) else "no connection could be made"
