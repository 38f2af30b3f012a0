"""Real servers on the loopback address that take what we send, and fail as they are told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Post:
    """What a mail server took. `says`: what it answers to the next messages instead, one each; `slow`: seconds before it answers."""

    letters: list[EmailMessage] = field(default_factory=list)
    says: list[str] = field(default_factory=list)
    to: list[str] = field(default_factory=list)
    slow: float = 0.0
    taken_then: list[str] = field(default_factory=list)  # answers after it took the message all the same
    port: int = 0
    signed_in: list[str] = field(default_factory=list)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.says and self.says[0].startswith("rcpt "):
            return self.says.pop(0).removeprefix("rcpt ")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.slow:
            await asyncio.sleep(self.slow)
        if self.says:
            return self.says.pop(0)
        self.letters.append(cast(EmailMessage, message_from_bytes(envelope.content, policy=default)))
        self.to += envelope.rcpt_tos
        if self.taken_then:
            said = self.taken_then.pop(0)
            if said == "nothing":
                server.transport.abort()
            if said == "late":
                await asyncio.sleep(60)
            return said
        return "250 taken"


class _Here(Controller):
    def __init__(self, post: Post, **more: Any) -> None:
        self._tls = more.pop("started", None)
        self._password = more.pop("password", "")
        super().__init__(post, hostname="127.0.0.1", port=0, ready_timeout=20, **more)

    def factory(self) -> SMTP:
        more: dict[str, Any] = {}
        if self._tls is not None:
            more |= {"tls_context": self._tls, "require_starttls": True}
        if self._password:
            more |= {"authenticator": self._known, "auth_required": True, "auth_require_tls": self._tls is not None}
        return SMTP(self.handler, **more)

    def _known(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and data.password.decode() == self._password
        if good:
            self.handler.signed_in.append(data.login.decode())
        return AuthResult(success=good, handled=good)

    def _trigger_server(self) -> None:  # it takes a port of its own: ask which
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server(**more: Any) -> Iterator[Post]:
    post = Post()
    controller = _Here(post, **more)
    controller.start()
    post.port = controller.port
    try:
        yield post
    finally:
        controller.stop()


@contextmanager
def raw_server(*steps: Any) -> Iterator[tuple[int, list[bytes]]]:
    """A socket that speaks these lines to each connection: bytes are sent, None reads, a number sleeps, `...` hangs; then it drops."""
    heard: list[bytes] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)

        def one(connection: socket.socket) -> None:
            with connection:
                for step in steps:
                    if step is None:
                        heard.append(connection.recv(65536))
                    elif step is ...:
                        done.wait(60)
                    elif isinstance(step, (int, float)):
                        done.wait(step)
                    else:
                        connection.sendall(step)

        def serve() -> None:
            while not done.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                except OSError:
                    return
                try:
                    one(connection)
                except OSError:
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1], heard
        finally:
            done.set()
            thread.join(5)


@dataclass
class Web:
    """What an HTTP server was sent. `says`: (status, headers) of the next answers; then 204."""

    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    says: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/notices"


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    web = Web()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            web.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, headers = web.says.pop(0) if web.says else (204, {})
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up at the handshake
    web.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def certificate(folder: Path, address: str = "127.0.0.1", ends: timedelta = timedelta(days=1)) -> tuple[Path, ssl.SSLContext]:
    """(the file to trust, the server's side) of a certificate for this address, made now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    at = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(at - timedelta(days=9)).not_valid_after(at + ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    public, private = folder / "trusted.pem", folder / "private.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context
