"""By email: SMTP (RFC 5321) with TLS off the machine, one message a connection.

A connection that breaks after the last dot leaves it unknown whether the message went: it is sent again under the same
Message-ID, by which mail programs and people know it for the same.
"""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from .channel import SECONDS, Failed, Message

_threads = ThreadPoolExecutor(4, "mail")


class _Held:
    """Known to whoever waits, before it connects: it can be cut from outside."""

    def __init__(self, held: list[Any], *args: Any, **more: Any) -> None:
        held.append(self)
        super().__init__(*args, **more)


class _Plain(_Held, smtplib.SMTP):
    pass


class _Wrapped(_Held, smtplib.SMTP_SSL):
    pass


def _cut(held: list[smtplib.SMTP]) -> None:
    """The thread that waits on it goes on at once."""
    for connection in held:
        sock = connection.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@dataclass
class Mail:
    """A mail server that takes our messages. `tls`: `wrapped` from the first byte (smtps), `started` (STARTTLS, required) or `none`."""

    host: str
    port: int
    sender: str
    tls: str = "started"
    user: str = ""
    password: str = ""
    authority: str = ""  # a file of certificates to trust, by default the system's

    async def send(self, message: Message) -> None:
        held: list[smtplib.SMTP] = []
        work = asyncio.get_running_loop().run_in_executor(_threads, self._send, message, held)
        try:
            await asyncio.wait_for(asyncio.shield(work), SECONDS)
        except TimeoutError:
            raise Failed("did not answer in time") from None
        except smtplib.SMTPResponseException as wrong:
            raise _refused(wrong.smtp_code) from None
        except smtplib.SMTPRecipientsRefused as wrong:
            raise _refused(max((code for code, _ in wrong.recipients.values()), default=0)) from None
        except (smtplib.SMTPNotSupportedError, ssl.SSLError):
            raise Failed("cannot be reached by TLS") from None
        except (OSError, smtplib.SMTPException):
            raise Failed("cannot be reached") from None
        finally:
            if not work.done():
                work.add_done_callback(lambda f: f.exception())
                _cut(held)

    def _send(self, message: Message, held: list[smtplib.SMTP]) -> None:
        more = {"local_hostname": "gateway.invalid", "timeout": SECONDS / 2}
        if self.tls == "wrapped":
            connection: smtplib.SMTP = _Wrapped(held, self.host, self.port, context=self._trusted(), **more)
        else:
            connection = _Plain(held, self.host, self.port, **more)
        try:
            if self.tls == "started":
                connection.starttls(context=self._trusted())
            if self.user:
                connection.login(self.user, self.password)
            connection.send_message(self.letter(message), self.sender, [message.to])
            with suppress(OSError, smtplib.SMTPException):  # it is taken already: a poor farewell changes nothing
                connection.quit()
        finally:
            connection.close()

    def _trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority or None)

    def letter(self, message: Message) -> EmailMessage:
        """The message as it goes out."""
        out = EmailMessage(policy=SMTP)
        out["From"] = Address(addr_spec=self.sender)
        out["To"] = Address(addr_spec=message.to)
        out["Subject"] = message.subject
        out["Date"] = format_datetime(message.at)
        out["Message-ID"] = f"<{message.id}@{self.sender.rpartition('@')[2]}>"
        out["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answer comes back
        out.set_content(message.text, charset="utf-8")
        out["Content-Language"] = message.language
        return out

    async def close(self) -> None:
        return None


def _refused(code: int) -> Failed:
    """4yz may pass later, 5yz will not (RFC 5321, 4.2.1); a refused sign-in may be put right by the operator."""
    if code in (530, 534, 535, 538):
        return Failed(f"did not let us sign in ({code})")
    return Failed(f"refused it ({code})", final=500 <= code < 600)
