"""Images and containers without an engine: buildah(1) and namespaces(7)."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from running import DEADLINE_S, Server, launch, wait_until

# What an engine does before it starts a process in namespaces of its own.
_PREPARE = """
mount --bind -o ro "$1" "$1"
[ -z "$2" ] || mount --bind -o ro "$2" "$1/www"
mount -t proc proc "$1/proc"
ip link set lo up
shift 2
exec env -i "$@"
"""


def run(*command: str) -> str:
    """Run a command, and return what it prints; show what it says if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@dataclass(frozen=True)
class Image:
    """Files, and how a process is started among them."""

    root: Path
    config: dict[str, Any]
    """What an image of Docker says of itself."""


class Builder:
    """Builds images, and keeps them in a folder of its own."""

    def __init__(self, store: Path) -> None:
        self._buildah = (
            *("buildah", "--storage-driver", "vfs"),
            *("--root", str(store / "images"), "--runroot", str(store / "run")),
        )

    def build(self, name: str, context: Path, **arguments: str) -> None:
        """Build the image *name* as the Dockerfile of *context* says."""
        pairs = (f"--build-arg={key}={value}" for key, value in arguments.items())
        form = ("--isolation", "chroot", "--format", "docker", "--tag", name)
        run(*self._buildah, "bud", *form, *pairs, str(context))

    def unpack(self, name: str) -> Image:
        """Return the image *name*, with files of its own."""
        told = json.loads(run(*self._buildah, "inspect", "--type", "image", name))
        container = run(*self._buildah, "from", "--pull-never", name)
        root = run(*self._buildah, "mount", container)
        return Image(Path(root), told["Docker"]["config"])


class Container:
    """A process that was started as an engine would start it.

    It has the user, the entry point and the environment of the image, a root that
    can't be written to, with nothing mounted but /proc and /www, and a network of
    its own.
    """

    def __init__(
        self,
        image: Image,
        site: Path | None,
        log: Path,
        *arguments: str,
        **variables: str,
    ) -> None:
        """Start, with *site* at /www if not None; *variables* win over the image's."""
        root, self._user = str(image.root), image.config["User"]
        pairs = (f"{name}={value}" for name, value in variables.items())
        self._environment = (*image.config["Env"], *pairs)
        spaces = ("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child")
        prepare = ("sh", "-euc", _PREPARE, "sh", root, str(site or ""))
        enter = ("chroot", f"--userspec={self._user}", "--groups=", root)
        command = (*enter, *image.config["Entrypoint"], *arguments)
        process = launch(log, [*spaces, *prepare, *self._environment, *command])
        self._outside = Server(process, 0, log)

    @property
    def log(self) -> str:
        """What it wrote to stderr so far."""
        return self._outside.log.read_text()

    @property
    def pid(self) -> int:
        """That of its first process, as it is called outside."""
        return self._outside.children()[0]

    def wait_until_serving(self) -> None:
        """Wait for the line that says what is served."""

        def is_serving() -> bool:
            assert self._outside.process.poll() is None, self.log
            return "Serving" in self.log

        wait_until(is_serving, "the line that says what is served")

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run *command* inside, as an engine runs a health check."""
        user, group = self._user.split(":")
        spaces = ("--mount", "--pid", "--net", "--root")
        enter = (*self._enter(*spaces), "--setuid", user, "--setgid", group)
        return subprocess.run(
            ["env", "-i", *self._environment, *enter, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )

    def beside(self, *command: str) -> tuple[str, ...]:
        """Return what runs *command*, of this machine, in its network."""
        return (*self._enter("--net"), *command)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to its first process."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end, and return the exit code."""
        return self._outside.process.wait(DEADLINE_S)

    def kill(self) -> None:
        """End it, whatever it is at."""
        if self._outside.process.poll() is None:
            # Whoever changes its user is no longer killed with its parent (prctl(2)).
            for pid in self._outside.children():
                os.kill(pid, signal.SIGKILL)
        self.wait()

    def _enter(self, *spaces: str) -> tuple[str, ...]:
        return ("nsenter", "--target", str(self.pid), *spaces)


class Contain(Protocol):
    """Starts a container; see `contain`."""

    def __call__(
        self, image: Image, *arguments: str, site: Path | None = ..., **variables: str
    ) -> Container: ...
