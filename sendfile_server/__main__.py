"""``python -m sendfile_server`` is ``sendfile-serve``."""

from sendfile_server.cli import main

main()
