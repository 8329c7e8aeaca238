"""multipart/byteranges (RFC 9110 section 14.6)."""

from hashlib import blake2b

from sendfile_server.semantics.ranges import Span, format_content_range
from sendfile_server.semantics.representations import Representation


def choose_boundary(file: Representation) -> bytes:
    """Return a boundary that depends on the file state only.

    So the same request has the same answer in every process, and content that
    holds its own boundary would have to know its own time of writing.
    """
    state = b"%d %d" % (file.mtime_ns, file.size)
    return blake2b(state, digest_size=16, person=b"byteranges").hexdigest().encode()


def frame_parts(
    file: Representation, spans: tuple[Span, ...], boundary: bytes
) -> tuple[bytes | Span, ...]:
    """Return the body that carries *spans* of *file*, in their order."""
    body: list[bytes | Span] = []
    delimiter = b"--" + boundary
    for span in spans:
        body.append(
            b"%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n"
            % (delimiter, file.media_type, format_content_range(span, file.size))
        )
        body.append(span)
        delimiter = b"\r\n--" + boundary
    body.append(delimiter + b"--\r\n")
    return tuple(body)
