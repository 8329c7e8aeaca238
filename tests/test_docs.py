"""What the README claims, where a program can tell."""

from pathlib import Path

import pytest

from sendfile_server.config import Config
from sendfile_server.options import Option, options
from sendfile_server.relay.config import RelayConfig

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text()


OPTIONS = options(Config) | options(RelayConfig)


@pytest.mark.parametrize(("name", "option"), OPTIONS.items(), ids=OPTIONS)
def test_readme_states_each_option(name: str, option: Option) -> None:
    """A table of the README has every option, with its metavar and default."""
    flag = f"--{name.replace('_', '-')} {option.metavar}".strip()
    row = next((row for row in README.splitlines() if f"| `{flag}`" in row), "")

    assert row, f"no row for {flag}"
    if option.default not in (None, (), False):
        default = str(option.default).removesuffix(".0")
        assert f"| {default} |" in row
