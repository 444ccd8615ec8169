"""A file in a multipart/form-data body (RFC 7578), by the standard library's MIME parser. Pure."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import HTTP

from edgex_kit.wire.errors import Invalid


def file_of(content_type: str, body: bytes, field: str) -> bytes | None:
    """The bytes of `field`; None where it is missing. Raises Invalid for a body of another kind."""
    form = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body, policy=HTTP)
    if not isinstance(form, EmailMessage) or not form.is_multipart():
        raise Invalid(f"a multipart/form-data body was expected, not '{content_type}'")
    for part in form.iter_parts():
        if part.get_param("name", header="content-disposition") == field:
            data = part.get_payload(decode=True)
            return data if isinstance(data, bytes) else None
    return None
