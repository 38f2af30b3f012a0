"""Somebody else's system on the loopback address, from which an app is launched: a desk with a person open, sign-in, tokens, keys and one Patient.

It is strict where a real one is (redirect address, PKCE, aud, one use of a code) and can be told to be wrong, or to attack.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_gateway.domain.identity import NHS_NUMBER

CLIENT, SECRET = "shared-plan", "a-long-secret-of-this-ehr"
AMINA = {
    "resourceType": "Patient", "id": "p1", "identifier": [{"system": NHS_NUMBER, "value": "999 000 0018"}], "birthDate": "1951-04-07",
    "name": [{"family": "Maiden", "use": "old"}, {"family": "EXAMPLE", "given": ["Amina"]}],
}  # fmt: skip
PAGE = "<!doctype html><html lang=en><title>{0}</title><main><h1>{0}</h1>{1}</main>"


class Ehr:
    """`claims`, `patient`, `token` and `about` change what it says; `others` are open there, too, by their `launch`; `down` are paths that answer 503, `odd` those that do something else;
    `signs` makes the id token of its claims; a `lax` one takes any proof, any number of times; `heard` what it was asked."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "ehr-1"})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.base = f"http://localhost:{self.server.server_port}"  # another site than 127.0.0.1, as for a browser
        self.iss = f"{self.base}/fhir"
        self.back = ""  # the registered redirect address
        self.codes: dict[str, dict[str, str]] = {}
        self.heard: list[str] = []
        self.cookies: list[str] = []
        self.usual()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def usual(self) -> None:
        self.claims: dict[str, Any] = {}
        self.token: dict[str, Any] = {}
        self.about: dict[str, Any] = {}
        self.patient: dict[str, Any] = AMINA
        self.others: dict[str, dict[str, Any]] = {}
        self.down: set[str] = set()
        self.odd: dict[str, Callable[[Any], None]] = {}
        self.signs: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode({"alg": "ES256", "kid": "ehr-1"}, claims, self.key, algorithms=["ES256"])
        self.lax = False

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ehr = self

        class Desk(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                path, query = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
                ehr.heard.append(path)
                ehr.cookies.append(self.headers.get("Cookie", ""))
                if path in ehr.down:
                    return self.said(503, {})
                if path in ehr.odd:
                    return ehr.odd[path](self)
                if path == "/desk":
                    where = html.escape(f"{query['app']}/launch?{urlencode({'iss': ehr.iss, 'launch': 'amina-is-open'})}")
                    link = f' <a href="{html.escape(query["link"])}">By a link</a>' if "link" in query else ""
                    return self.page("Amina Example is open", f'<a href="{where}">Shared plan</a>{link}')
                if path == "/fhir/.well-known/smart-configuration":
                    return self.said(200, ehr.configuration())
                if path == "/authorize":
                    if query.get("redirect_uri") != ehr.back or query.get("client_id") != CLIENT or query.get("aud") != ehr.iss:
                        return self.said(400, {"error": "invalid_request"})
                    if query.get("launch") not in ("amina-is-open", *ehr.others):
                        return self.off(ehr.back, error="invalid_request", state=query["state"])
                    ehr.codes[code := f"code-{len(ehr.heard)}"] = query
                    return self.off(ehr.back, code=code, state=query["state"])
                if path == "/jwks":
                    return self.said(200, {"keys": [ehr.key.as_dict(private=False)]})
                if path.startswith("/fhir/Patient/") and self.headers.get("Authorization") == "Bearer of-the-ehr":
                    return self.said(200, next((p for p in ehr.others.values() if path.endswith(f"/{p['id']}")), ehr.patient))
                self.said(404, {})

            def do_POST(self) -> None:
                form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                self.form = form
                ehr.heard.append(self.path)
                if self.path in ehr.down:
                    return self.said(503, {})
                if self.path in ehr.odd:
                    return ehr.odd[self.path](self)
                asked = ehr.codes.get(form.get("code", "")) if ehr.lax else ehr.codes.pop(form.get("code", ""), None)
                basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
                if self.headers.get("Authorization") != f"Basic {basic}":
                    return self.said(401, {"error": "invalid_client"})
                proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
                proven = asked is not None and asked["code_challenge"] == proof and asked["code_challenge_method"] == "S256"
                if asked is None or not (proven or ehr.lax) or form["redirect_uri"] != ehr.back:
                    return self.said(400, {"error": "invalid_grant"})
                now = int(time.time())
                claims = {"iss": ehr.base, "aud": CLIENT, "sub": "dr-patel", "fhirUser": f"{ehr.iss}/Practitioner/7", "iat": now, "exp": now + 300, "nonce": asked["nonce"], **ehr.claims}
                id_token = ehr.signs({k: v for k, v in claims.items() if v is not None})
                out = {"access_token": "of-the-ehr", "token_type": "Bearer", "expires_in": 300, "patient": ehr.others.get(asked["launch"], AMINA)["id"], "id_token": id_token, **ehr.token}
                self.said(200, {k: v for k, v in out.items() if v is not None})

            def said(self, status: int, body: Any) -> None:
                self._send(status, json.dumps(body).encode(), "application/json")

            def page(self, title: str, body: str) -> None:
                self._send(200, PAGE.format(title, body).encode(), "text/html; charset=utf-8")

            def off(self, where: str, **query: str) -> None:
                self.send_response(302)
                self.send_header("Location", f"{where}?{urlencode(query)}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _send(self, status: int, raw: bytes, media: str) -> None:
                with suppress(ConnectionError):  # whoever asked may have had enough
                    self._sent(status, raw, media)

            def _sent(self, status: int, raw: bytes, media: str) -> None:
                self.send_response(status)
                self.send_header("Set-Cookie", "theirs=1; Path=/")
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        return Desk

    def configuration(self) -> dict[str, Any]:
        said = {
            "issuer": self.base, "authorization_endpoint": f"{self.base}/authorize", "token_endpoint": f"{self.base}/token", "jwks_uri": f"{self.base}/jwks",
            "code_challenge_methods_supported": ["S256"], "capabilities": ["launch-ehr", "client-confidential-symmetric", "sso-openid-connect", "permission-v2"],
        }  # fmt: skip
        return {**said, **self.about}
