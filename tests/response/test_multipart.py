"""multipart/byteranges, read back by an email parser."""

from email import message_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.response.multipart import choose_boundary, frame_parts
from sendfile_server.semantics.ranges import Span
from sendfile_server.semantics.representations import Representation

CONTENT = bytes(range(33, 127)) * 20
FILE = Representation(len(CONTENT), 1_700_000_000 * 10**9, b"image/png")


def read_back(spans: tuple[Span, ...]) -> list[tuple[str, str, bytes]]:
    """Return type, Content-Range and content of each part that is framed."""
    boundary = choose_boundary(FILE)
    body = b"".join(
        part if isinstance(part, bytes) else CONTENT[part.start : part.stop]
        for part in frame_parts(FILE, spans, boundary)
    )
    head = b'Content-Type: multipart/byteranges; boundary="%s"\r\n\r\n' % boundary
    message = message_from_bytes(head + body)
    parts = list(message.walk())[1:]
    contents = [part.get_payload(decode=True) for part in parts]
    labels = [(part["Content-Type"], part["Content-Range"]) for part in parts]
    return [
        (kind, content_range, content)
        for (kind, content_range), content in zip(labels, contents, strict=True)
        if isinstance(content, bytes)
    ]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        pytest.param(
            (Span(0, 3), Span(10, 12)),
            [
                ("image/png", "bytes 0-2/1880", CONTENT[:3]),
                ("image/png", "bytes 10-11/1880", CONTENT[10:12]),
            ],
            id="two parts",
        ),
        pytest.param(
            (Span(1879, 1880), Span(0, 1)),
            [
                ("image/png", "bytes 1879-1879/1880", CONTENT[-1:]),
                ("image/png", "bytes 0-0/1880", CONTENT[:1]),
            ],
            id="the order asked",
        ),
    ],
)
def test_parts_are_labelled(
    spans: tuple[Span, ...], expected: list[tuple[str, str, bytes]]
) -> None:
    """Each part says its type, and where in the file it belongs."""
    assert read_back(spans) == expected


def test_boundary_follows_the_file_state() -> None:
    """The same state has the same boundary, another state another."""
    other = Representation(FILE.size, FILE.mtime_ns + 1, FILE.media_type)

    assert choose_boundary(FILE) == choose_boundary(FILE)
    assert choose_boundary(FILE) != choose_boundary(other)


@given(
    st.lists(
        st.tuples(st.integers(0, 1879), st.integers(1, 50)), min_size=2, max_size=8
    )
)
@settings(deadline=None)
def test_any_spans_come_back(pairs: list[tuple[int, int]]) -> None:
    """The parts hold exactly the bytes of the spans, in their order."""
    spans = tuple(Span(start, min(start + n, FILE.size)) for start, n in pairs)
    contents = [content for _, _, content in read_back(spans)]

    assert contents == [CONTENT[span.start : span.stop] for span in spans]
