"""The last warnings and errors of all processes."""

import logging
import os

from sendfile_server.hosting.notices import Notice, NoticeHandler, Notices


def test_latest_of_all_processes_come_first() -> None:
    """What another process noted is seen here."""
    notices = Notices(2)
    notices.write(0, 0, Notice(1.0, "WARNING", "first"))
    child = os.fork()
    if child == 0:
        notices.write(1, 0, Notice(3.0, "ERROR", "third"))
        os._exit(0)
    os.waitpid(child, 0)
    notices.write(0, 1, Notice(2.0, "CRITICAL", "second"))

    assert [each.text for each in notices.read()] == ["third", "second", "first"]
    assert notices.read()[0] == Notice(3.0, "ERROR", "third")


def test_old_ones_make_room() -> None:
    """There are so many and no more, and long ones are cut."""
    notices = Notices(1)
    for number in range(100):
        notices.write(
            0, number, Notice(number + 1.0, "ERROR", f"{number} " + "\u00e9" * 500)
        )
    texts = [each.text for each in notices.read()]

    assert [text.split()[0] for text in texts] == [str(n) for n in range(99, 83, -1)]
    assert all(set(text.split()[1]) == {"\u00e9"} for text in texts)


def test_handler_notes_what_went_wrong() -> None:
    """Warnings and errors, and what can't be put into words is left out."""
    notices = Notices(1)
    handler = NoticeHandler(notices, 0)
    logger = logging.getLogger("a logger of its own")
    logger.addHandler(handler)
    logger.info("nothing")
    logger.warning("it is %s", "late")
    handler.emit(logging.makeLogRecord({"msg": "it is %d", "args": ("no number",)}))
    logger.removeHandler(handler)

    assert [(each.level, each.text) for each in notices.read()] == [
        ("WARNING", "it is late")
    ]
