"""OpenBao as far as an EdgeX service uses it, over real HTTP: token, place for secrets, web tokens."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class OpenBao:
    """Holds what was stored, says which tokens are good, and counts what it was asked."""

    def __init__(self, service: str, token_file: Path) -> None:
        self.service = service
        self.token_file = token_file
        self.token = "s.first"
        self.secrets: dict[str, dict[str, str]] = {}
        self.web_tokens = {f"jwt-of-{service}", "jwt-of-a-person"}
        self.asked: list[str] = []
        self.renewals: list[Any] = []  # what the next renewals are answered with, instead of what is right
        self.port = 0

    def lay_down_token(self) -> None:
        """What security-secretstore-setup does."""
        self.token_file.parent.mkdir(parents=True, exist_ok=True)
        self.token_file.write_text(json.dumps({"auth": {"client_token": self.token, "entity_id": "e-1"}}))

    def end_token(self) -> None:
        """The token in the file is worth nothing any more; a new one is given on request."""
        self.token = "s.second"

    @property
    def environment(self) -> dict[str, str]:
        """What a service is told to find us."""
        port = str(self.port)
        return {
            "EDGEX_SECURITY_SECRET_STORE": "true",
            "SECRETSTORE_HOST": "127.0.0.1",
            "SECRETSTORE_PORT": port,
            "SECRETSTORE_TOKENFILE": str(self.token_file),
            "CLIENTS_SECURITY_SECRETSTORE_SETUP_HOST": "127.0.0.1",
            "CLIENTS_SECURITY_SECRETSTORE_SETUP_PORT": port,
        }

    def answer(self, method: str, path: str, query: str, token: str, body: Any) -> tuple[int, Any]:
        """Status and body."""
        self.asked.append(f"{method} {path}")
        if (method, path) == ("PUT", "/api/v3/token/entityId/e-1"):
            self.lay_down_token()
            return 200, {"apiVersion": "v3", "statusCode": 200}
        if token != self.token:
            return 403, {"errors": ["permission denied"]}
        return self._entered(method, path, query, body)

    def _entered(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        found: tuple[int, Any] = (404, {"errors": []})
        match method, path.removeprefix("/v1/").split("/"):
            case "POST", ["auth", "token", "renew-self"]:
                found = 200, self.renewals.pop(0) if self.renewals else {"auth": {"lease_duration": 3600}}
            case "GET", ["identity", "oidc", "token", self.service]:
                found = 200, {"data": {"token": f"jwt-of-{self.service}", "ttl": 900}}
            case "POST", ["identity", "oidc", "introspect"]:
                found = 200, {"active": body["token"] in self.web_tokens}
            case "GET", ["secret", "edgex", self.service] if query == "list=true" and self.secrets:
                found = 200, {"data": {"keys": sorted(self.secrets)}}
            case "GET", ["secret", "edgex", self.service, name] if name in self.secrets:
                found = 200, {"data": self.secrets[name]}
            case "POST", ["secret", "edgex", self.service, name]:
                self.secrets[name] = body
                found = 204, None
        return found


@contextlib.contextmanager
def running(service: str, folder: Path) -> Iterator[OpenBao]:
    """An OpenBao that knows `service`, whose token file lies in `folder`."""
    bao = OpenBao(service, folder / service / "secrets-token.json")
    bao.lay_down_token()

    class Handler(http.server.BaseHTTPRequestHandler):
        def _do(self) -> None:
            url = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(sent) if sent else None
            status, said = bao.answer(self.command, url.path, url.query, self.headers.get("X-Vault-Token", ""), body)
            data = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _do  # noqa: N815 - the standard library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        bao.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield bao
        finally:
            server.shutdown()
            thread.join()
