"""The page: one file, and the policy that lets a browser run only the script and style in that file."""

import base64
import hashlib
import re
from importlib.resources import files


def policy_for(html: str) -> str:
    """A Content-Security-Policy that names the inline scripts and styles of `html` by their digest (CSP 3, 2.3.1)."""
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src {_digests(html, 'script')}",
            f"style-src {_digests(html, 'style')}",
            "img-src 'self' data: blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
        )
    )


def _digests(html: str, element: str) -> str:
    inline = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
    hashed = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline)
    return " ".join(f"'sha256-{digest}'" for digest in hashed) or "'none'"


PAGE = files("app_inference.web").joinpath("page.html").read_text(encoding="utf-8")
PAGE_HEADERS = {
    "Content-Security-Policy": policy_for(PAGE),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# A picture's bytes and media type come from the bus. A browser must not run scripts in it (an SVG may hold some).
PICTURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
