"""Memory: what it recognizes, what it learns, and when it lets go."""

import gc
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.protocol.parser import parse_head
from sendfile_server.resource.files import OpenFile, read
from sendfile_server.resource.resolver import Resolver
from sendfile_server.resource.root import Root
from sendfile_server.response.heads import format_head
from sendfile_server.response.plan import plan_response
from sendfile_server.semantics.dates import format_http_date
from sendfile_server.server.remembered import (
    _ANSWER_OVERHEAD,
    _KIND_OVERHEAD,
    NO_KIND,
    Kind,
    Memory,
)
from sendfile_server.server.reply import Reply
from sendfile_server.server.responder import SMALL_BODY

MIB = 1 << 20
LINE = b"GET /file HTTP/1.1"
HOST = b"\r\nHost: x"
END = b"\r\n\r\n"
PLAIN = LINE + HOST + END


@dataclass
class Mind:
    """A memory, and whoever tells it what it is to remember."""

    memory: Memory
    resolver: Resolver

    def kind(self, head: bytes = PLAIN) -> Kind:
        """Return the kind of *head*, which is learned if it is new."""
        if self.memory.recognize(head) is None:
            self.memory.learn(head, parse_head(head))
        known = self.memory.recognize(head)
        assert known is not None
        return known[0]

    def answer(self, kind: Kind, line: bytes = LINE) -> OpenFile | None:
        """Answer *line*, let *kind* remember it, and return the file if it is big."""
        now = self.memory.now
        request = kind.request(line, None)
        assert request is not None
        found = self.resolver.resolve(request.target, now)
        file = found.outcome if isinstance(found.outcome, OpenFile) else None
        if file is None:
            assert not isinstance(found.outcome, OpenFile)
            plan = plan_response(request, found.outcome, now)
        else:
            plan = plan_response(request, file.representation, now)
        if plan.body_size <= SMALL_BODY and file:
            plan = plan.filled([read(file, 0, SMALL_BODY)])
            file = None
        reply = Reply(request, plan, file, found.evidence)
        self.memory.remember(kind, line, format_head(plan, now, kind.connection), reply)
        return file

    def recall(self, kind: Kind, line: bytes = LINE) -> bytes | None:
        """Return the wire of what *kind* remembers."""
        answer = self.memory.recall(kind, line)
        return answer.wire if answer else None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"one")
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "big").write_bytes(bytes(SMALL_BODY + 1))
    (tmp_path / "dir").mkdir()
    return tmp_path


@pytest.fixture
def mind(root: Path) -> Mind:
    return make_mind(root)


def make_mind(root: Path, capacity: int = MIB, freshness: int = 1) -> Mind:
    """Make a memory at a time when all files of *root* were left alone for long."""
    resolver = Resolver(Root(str(root), freshness), b"index.html", {})
    memory = Memory(resolver, capacity, freshness)
    memory.tick(int(time.time()) + 10)
    return Mind(memory, resolver)


# Kinds.


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(PLAIN, id="the same"),
        pytest.param(b"GET /other?q HTTP/1.1" + HOST + END, id="another target"),
        pytest.param(b"HEAD /file HTTP/1.1" + HOST + END, id="another method"),
        pytest.param(LINE + b"\r\nCookie: a" + HOST + b"\r\nVia:" + END, id="cookies"),
        pytest.param(LINE + HOST + b"\r\nRange: bytes=1-2" + END, id="range"),
        pytest.param(LINE + HOST + b"\r\nRange: bytes=-2" + END, id="suffix"),
        pytest.param(LINE + HOST + b"\r\nrange:bytes=007-" + END, id="open range"),
        pytest.param(LINE + HOST + b'\r\nIf-None-Match: "a"' + END, id="condition"),
        pytest.param(
            LINE + b'\r\nIf-Range: "a"\r\nRange: bytes=1-2' + HOST + END,
            id="range on a condition",
        ),
    ],
)
def test_like_of_what_was_learned_is_recognized(mind: Mind, head: bytes) -> None:
    """Whatever no answer depends on, or has a grammar of its own, may be new."""
    assert mind.memory.recognize(head) is None
    mind.memory.learn(PLAIN, parse_head(PLAIN))
    known = mind.memory.recognize(head)
    assert known is not None
    kind, line, _, part = known
    request = kind.request(line, part)
    expected = parse_head(head)
    if b"range" in expected.fields and request:
        # The same numbers, however they were written.
        assert request.fields.keys() == expected.fields.keys()
        expected = parse_head(head.replace(b"007", b"7"))
    assert request == expected


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(LINE + b"\r\nHost: y" + END, id="another kept value"),
        pytest.param(LINE + HOST + b"\r\nIf-Match: *" + END, id="one more kept field"),
        pytest.param(LINE + HOST + b"\r\nConnection: close" + END, id="close"),
        pytest.param(LINE + HOST + b"\r\nCookie: a\0" + END, id="control character"),
        pytest.param(LINE + HOST + b"\r\nCookie: a" * 100 + END, id="too many lines"),
        pytest.param(LINE + HOST + b"\r\nRange: bytes=1-2,4-5" + END, id="ranges"),
        pytest.param(
            LINE + HOST + b"\r\nRange: bytes=1-2" * 2 + END, id="a range twice"
        ),
        pytest.param(
            LINE + HOST + b'\r\nIf-None-Match: "a"' * 2 + END, id="a condition twice"
        ),
        pytest.param(PLAIN[:-2], id="not yet whole"),
        pytest.param(PLAIN + b"\r\n", id="more than one"),
        pytest.param(LINE, id="a line alone"),
        pytest.param(HOST + END, id="a tail alone"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_all_else_is_not_recognized(mind: Mind, head: bytes) -> None:
    """What may be another request, or none, is left to the gate and h11."""
    mind.memory.learn(PLAIN, parse_head(PLAIN))
    known = mind.memory.recognize(head)
    assert known is None or known[0].request(known[1], known[3]) is None


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET / HTTP/1.0" + HOST + END, id="HTTP/1.0"),
        pytest.param(b"POST / HTTP/1.1" + HOST + END, id="another method"),
        pytest.param(LINE + HOST + b"\r\nContent-Length: 0" + END, id="no content"),
        pytest.param(LINE + HOST + b"\r\nContent-Length: 3" + END, id="content"),
        pytest.param(
            LINE + HOST + b"\r\nTransfer-Encoding: chunked" + END, id="chunked"
        ),
        pytest.param(LINE + HOST + b"\r\nExpect: 100-continue" + END, id="expectation"),
        pytest.param(LINE + HOST + b"\r\nUpgrade: h2c" + END, id="upgrade"),
        pytest.param(LINE + HOST + b"\r\nRange: bytes=1-2,4-5" + END, id="ranges"),
        pytest.param(
            LINE + HOST + b"\r\nRange: bytes=1-2" * 2 + END, id="a range twice"
        ),
    ],
)
def test_what_is_more_than_its_head_is_not_learned(mind: Mind, head: bytes) -> None:
    """Nor is an old version, nor what would be another kind each time."""
    mind.memory.learn(head, parse_head(head))
    assert mind.memory.recognize(head) is None
    assert mind.memory.recognize(PLAIN) is None


def test_kind_without_conditions_is_learned_from_one_with_them(mind: Mind) -> None:
    """What was cut out is no part of the kind: the plain one is known as well."""
    lines = b'\r\nIf-None-Match: "a"\r\nCookie: a\r\nRange: bytes=1-2'
    mind.memory.learn(LINE + HOST + lines + END, parse_head(LINE + HOST + lines + END))
    assert mind.kind().fields == {b"host": b"x"}
    known = mind.memory.recognize(LINE + HOST + lines + END)
    assert known is not None
    kind, line, tail, part = known
    assert kind.fields == {b"host": b"x", b"if-none-match": b'"a"'}
    assert line + tail == LINE + HOST + lines.partition(b"\r\nRange")[0] + END
    assert part == (1, 2)


@pytest.mark.parametrize("line", [b"POST / HTTP/1.1", b"GET / HTTP/1.0", b"", b"GET"])
def test_kind_makes_no_request_of_another_line(mind: Mind, line: bytes) -> None:
    """GET and HEAD in HTTP/1.1 only."""
    assert mind.kind().request(line, None) is None


# Answers.


def test_answer_is_recalled_as_it_was_sent(mind: Mind) -> None:
    """Head and body, for the line and the kind that it was sent to, and no other."""
    kind, other = mind.kind(), mind.kind(LINE + b"\r\nHost: y" + END)
    mind.answer(kind)
    wire = mind.recall(kind)
    assert wire is not None
    assert wire.startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.endswith(END + b"one")
    assert mind.recall(kind, b"HEAD /file HTTP/1.1") is None
    assert mind.recall(other) is None


def test_only_the_date_moves_on(mind: Mind) -> None:
    """In every second the answer is that of the first, with the Date of now."""
    kind, began = mind.kind(), mind.memory.now
    mind.answer(kind)
    first = mind.recall(kind)
    assert first is not None
    for now in (began + 1, began + 2, began + 60, began + 3600):
        mind.memory.tick(now)
        date = format_http_date(began), format_http_date(now)
        assert mind.recall(kind) == first.replace(*date)


def rewrite(path: Path) -> None:
    """Write as many bytes, and keep the time of the last change of content."""
    state = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def replace(path: Path) -> None:
    path.with_name("new").write_bytes(b"one")
    path.with_name("new").rename(path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("other")


CHANGES = [rewrite, replace, os.remove, make_folder, link, Path.touch]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("freshness", [0, 1, 5])
def test_changed_file_drops_the_answer(
    root: Path, freshness: int, change: Callable[[Path], None]
) -> None:
    """After the freshness and for good, but not before."""
    mind = make_mind(root, freshness=freshness)
    kind, began = mind.kind(), mind.memory.now
    mind.answer(kind)
    change(root / "file")
    for now in range(began, began + freshness):
        mind.memory.tick(now)
        assert mind.recall(kind) is not None
    mind.memory.tick(began + freshness)
    assert mind.recall(kind) is None
    mind.memory.tick(began + freshness + 10)
    assert mind.recall(kind) is None


@pytest.mark.parametrize("target", [b"/missing", b"/missing/", b"/file/x", b"/dir"])
def test_what_is_no_file_is_remembered_until_it_is(
    mind: Mind, root: Path, target: bytes
) -> None:
    """A 404 holds for as long as there is nothing, a redirect while its folder does."""
    kind, line = mind.kind(), b"GET %b HTTP/1.1" % target
    mind.answer(kind, line)
    assert mind.recall(kind, line) is not None
    mind.memory.tick(mind.memory.now + 1)
    assert mind.recall(kind, line) is not None
    for name in ("file", "missing"):
        (root / name).unlink(missing_ok=True)
        (root / name).mkdir()
    for name in ("file/x", "missing/index.html", "dir/x"):
        (root / name).write_bytes(b"new")
    mind.memory.tick(mind.memory.now + 1)
    assert mind.recall(kind, line) is None


@pytest.mark.parametrize("gap", [1, 2, 3, 50])
def test_file_that_was_changing_is_read_again(root: Path, gap: int) -> None:
    """What was read just after a change may be old without any later timestamp."""
    mind = make_mind(root)
    changed = int(os.stat(root / "file").st_ctime)
    mind.memory.tick(changed + 1)
    kind = mind.kind()
    mind.answer(kind)
    assert mind.recall(kind) is not None
    mind.memory.tick(changed + 1 + gap)
    assert mind.recall(kind) is None


def test_answer_without_evidence_is_not_remembered(mind: Mind, root: Path) -> None:
    """A refusal that no look at the disk can confirm is decided each time."""
    (root / "out").symlink_to("/")
    kind, line = mind.kind(), b"GET /out HTTP/1.1"
    mind.answer(kind, line)
    assert mind.recall(kind, line) is None


# Answers whose body is in a file that is open.


def test_big_file_is_recalled_while_someone_keeps_it_open(mind: Mind) -> None:
    """The memory itself keeps no file open."""
    kind, line = mind.kind(), b"GET /big HTTP/1.1"
    file = mind.answer(kind, line)
    answer = mind.memory.recall(kind, line)
    assert file is not None
    assert answer is not None
    assert answer.file() is file
    assert answer.span is not None
    assert len(answer.span) == answer.body_size == SMALL_BODY + 1
    assert answer.size == len(answer.wire) + answer.body_size
    del file
    gc.collect()
    assert not answer.is_at_hand
    assert mind.memory.recall(kind, line) is None


def test_closed_file_does_not_come_back(mind: Mind) -> None:
    """Who opens the file again gets an answer that leads to it, in every kind."""
    line = b"GET /big HTTP/1.1"
    kinds = [mind.kind(LINE + b"\r\nHost: %d" % n + END) for n in range(3)]
    for kind in kinds:
        mind.answer(kind, line)  # and nobody keeps the file
    gc.collect()
    files = [mind.answer(kind, line) for kind in kinds]
    answers = [mind.memory.recall(kind, line) for kind in kinds]
    assert all(answer and answer.file() in files for answer in answers)


def test_kinds_share_what_they_get_the_same(mind: Mind) -> None:
    """One answer for all who differ in nothing that shows, but not for a close."""
    kinds = [mind.kind(LINE + b"\r\nHost: %d" % n + END) for n in range(3)]
    closing = mind.kind(LINE + HOST + b"\r\nConnection: close" + END)
    for kind in (*kinds, closing, *kinds):
        mind.answer(kind)
    one, *others = [mind.memory.recall(kind, LINE) for kind in kinds]
    assert one is not None
    assert mind.recall(closing) not in (None, one.wire)
    for kind in kinds:
        mind.answer(kind)
    one, *others = [mind.memory.recall(kind, LINE) for kind in kinds]
    assert all(other is one for other in others)


def test_changed_file_is_not_shared(mind: Mind, root: Path) -> None:
    """A kind that looked after a change does not get what another one has kept."""
    one, other = mind.kind(), mind.kind(LINE + b"\r\nHost: y" + END)
    mind.answer(one)
    rewrite(root / "file")
    mind.answer(other)
    wire = mind.recall(other)
    assert wire is not None
    assert wire.endswith(b"two")


# Letting go.


def test_clock_that_is_set_back_forgets_everything(mind: Mind) -> None:
    """What was looked at in a future that is no more would hold for too long."""
    kind = mind.kind()
    mind.answer(kind)
    mind.memory.tick(mind.memory.now - 1)
    assert mind.memory.recognize(PLAIN) is None
    assert mind.recall(kind) is None
    assert mind.kind() is not kind


def test_closed_memory_keeps_nothing_more(mind: Mind) -> None:
    """Neither what it had, nor what comes; nor by a kind that someone holds."""
    kind = mind.kind()
    mind.answer(kind)
    mind.memory.close()
    mind.memory.learn(PLAIN, parse_head(PLAIN))
    assert mind.memory.recognize(PLAIN) is None
    mind.answer(kind)
    assert mind.recall(kind) is None


def test_memory_of_no_size_keeps_nothing(root: Path) -> None:
    """With a capacity of 0, nothing is ever known."""
    memory = make_mind(root, capacity=0).memory
    memory.learn(PLAIN, parse_head(PLAIN))
    assert memory.recognize(PLAIN) is None


def test_no_kind_gets_no_answers(mind: Mind) -> None:
    """The kind of a connection that had no request stays empty."""
    mind.answer(NO_KIND)
    assert mind.recall(NO_KIND) is None


def test_answers_stay_within_the_capacity(root: Path) -> None:
    """Of any number of lines the latest are kept, and no more bytes than allowed."""
    (root / "file").write_bytes(bytes(5000))
    mind = make_mind(root, capacity=MIB)
    most = 0
    for number in range(500):
        line = b"GET /file?%d HTTP/1.1" % number
        mind.answer(mind.kind(), line)
        answers = mind.kind().answers.values()
        most = max(most, sum(len(answer.wire) for answer in answers))
        assert mind.recall(mind.kind(), line) is not None
        assert mind.memory.size <= MIB
    assert most > MIB * 4 // 5
    assert mind.recall(mind.kind(), b"GET /file?0 HTTP/1.1") is None


def test_answer_that_is_asked_for_outlives_the_others(root: Path) -> None:
    """What is recalled in each second stays, in all kinds, however much else comes."""
    (root / "file").write_bytes(bytes(5000))
    mind = make_mind(root, capacity=MIB)
    heads = [LINE + b"\r\nHost: %d" % n + END for n in range(2)]
    for head in heads:
        mind.answer(mind.kind(head), b"GET /other HTTP/1.1")
    for number in range(500):
        if number % 100 == 0:
            mind.memory.tick(mind.memory.now + 1)
        mind.answer(mind.kind(), b"GET /file?%d HTTP/1.1" % number)
        for head in heads:
            assert mind.recall(mind.kind(head), b"GET /other HTTP/1.1") is not None


def test_kinds_stay_within_the_capacity(root: Path) -> None:
    """A client that is another one each time makes the others forgotten, in time."""
    mind = make_mind(root, capacity=MIB)
    heads = [LINE + b"\r\nHost: %d" % n + END for n in range(2000)]
    first = mind.kind(heads[0])
    for head in heads:
        mind.kind(head)
    known = [head for head in heads if mind.memory.recognize(head)]
    assert heads[-1] in known
    assert len(known) * 500 < MIB
    assert first.is_forgotten


def test_forgotten_kind_gets_nothing_more(root: Path) -> None:
    """A connection may hold it: what it would keep, nobody would ever let go."""
    mind = make_mind(root, capacity=MIB)
    first = mind.kind()
    mind.answer(first)
    for number in range(2000):
        mind.kind(LINE + b"\r\nHost: %d" % number + END)
    assert first.is_forgotten
    mind.answer(first)
    assert not first.answers
    assert mind.recall(first) is None
    assert mind.kind() is not first


def test_kind_outlives_its_answers(root: Path) -> None:
    """As long as it has some: the oldest of them are let go before it."""
    (root / "file").write_bytes(bytes(5000))
    mind = make_mind(root, capacity=MIB)
    kind = mind.kind()
    for number in range(500):
        mind.answer(kind, b"GET /file?%d HTTP/1.1" % number)
    assert mind.kind() is kind
    assert len(kind.answers) > 100


def test_kind_that_is_not_asked_for_keeps_no_answer(root: Path) -> None:
    """Though others still ask for it; and what they ask for has its place instead."""
    mind = make_mind(root, capacity=MIB)
    kind, line = mind.kind(), b"GET /other HTTP/1.1"
    warm = [b"GET /file?%d HTTP/1.1" % number for number in range(100)]
    for each in (line, *warm):
        mind.answer(kind, each)
    strangers = []
    for second in range(20):
        mind.memory.tick(mind.memory.now + 1)
        for number in range(60):
            strangers.append(
                mind.kind(LINE + b"\r\nHost: %d.%d" % (second, number) + END)
            )
            mind.answer(strangers[-1], line)
        if second % 4 == 0:
            assert all(mind.recall(kind, each) for each in (line, *warm))
    assert mind.kind() is kind
    assert strangers[0].is_forgotten


def test_kind_is_not_learned_twice(mind: Mind) -> None:
    """As by the last request of a connection, which is always parsed."""
    kind = mind.kind()
    mind.answer(kind)
    mind.memory.learn(PLAIN, parse_head(PLAIN))
    assert mind.kind() is kind


def test_answer_that_does_not_fit_is_let_go(root: Path) -> None:
    """As if it had not been there."""
    (root / "file").write_bytes(bytes(5000))
    mind = make_mind(root, capacity=5000)
    kind = mind.kind()
    size = mind.memory.size
    mind.answer(kind)
    assert mind.recall(kind) is None
    assert mind.memory.size == size


def check(memory: Memory) -> None:
    """Let everything be listed once, and counted."""
    order, size = memory._order, 0  # noqa: SLF001 - no one else can tell
    for each, kinds in order.items():
        if isinstance(each, Kind):
            assert memory._kinds[each.tail] is each  # noqa: SLF001
            assert all(each in order[answer] for answer in each.answers.values())
            size += len(each.tail) + _KIND_OVERHEAD
        else:
            assert kinds
            assert len(set(kinds)) == len(kinds)
            assert all(kind.answers[each.line] is each for kind in kinds)
            size += len(each.wire) + len(kinds) * (len(each.line) + _ANSWER_OVERHEAD)
    kinds = [each for each in order if isinstance(each, Kind)]
    assert len(kinds) == len(memory._kinds)  # noqa: SLF001
    assert set(memory._shared.values()) <= set(order)  # noqa: SLF001
    assert memory.size == size


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["answer", "recall", "rewrite", "tick"]),
        st.integers(0, 4),
        st.integers(0, 9),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(_STEPS)
def test_size_is_that_of_what_is_remembered(steps: list[tuple[str, int, int]]) -> None:
    """Whatever came and went, what comes then takes as much as in a new memory."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "file").write_bytes(bytes(900))
        mind = make_mind(root, capacity=20_000)
        for step, host, query in steps:
            kind = mind.kind(LINE + b"\r\nHost: %d" % host + END)
            line = b"GET /file?%d HTTP/1.1" % query
            match step:
                case "answer":
                    mind.answer(kind, line)
                case "recall":
                    mind.recall(kind, line)
                case "rewrite":
                    (root / "file").write_bytes(bytes(900 + query))
                case _:
                    mind.memory.tick(mind.memory.now + query)
            assert mind.memory.size <= 20_000
            check(mind.memory)
        fresh = make_mind(root, capacity=20_000)
        for each in (mind, fresh):
            for number in range(60):
                each.kind(LINE + b"\r\nHost: new%d" % number + END)
        assert mind.memory.size == fresh.memory.size
