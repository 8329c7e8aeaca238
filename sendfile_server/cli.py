"""The command ``sendfile-serve``: options to a `Config`, errors to exit codes."""

import difflib
import sys
import tomllib
from typing import Any, NoReturn

import click

from sendfile_server import __version__
from sendfile_server.config import Config, Option, options
from sendfile_server.errors import ConfigError
from sendfile_server.server.start import check, serve

_PREFIX = "SENDFILE_SERVE"
_EPILOG = (
    "Every option is also a variable of the environment (SENDFILE_SERVE_PORT=80;"
    " spaces between the values of a list) and a key of the TOML file (port = 80)."
    " The command line wins over the environment, the environment over the file."
)


class _OptionType(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic since click 8.4
    """Hands text to the option's own parser, from wherever it came."""

    def __init__(self, option: Option) -> None:
        self.name = option.metavar
        self._parse = option.parse

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> object:
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(f"{error}, not {str(value)!r}", param, ctx)


class _GroupedCommand(click.Command):
    """Lists its options under the headings of their groups."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        stated = options()
        # In the order in which they are stated; what is the command's own, last.
        groups: dict[str, list[tuple[str, str]]] = {
            option.group: [] for option in stated.values()
        }
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record and isinstance(param, click.Option):
                known = stated.get(param.name or "")
                groups.setdefault(known.group if known else "Other", []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=28)


def main() -> NoReturn:
    """Run the command and exit: 0 done, 1 failed, 2 asked for wrongly."""
    try:
        sys.exit(_command().main(prog_name="sendfile-serve", standalone_mode=False))
    except ConfigError as error:
        _exit_with(str(error), 2)
    except click.ClickException as error:
        _exit_with(error.format_message(), error.exit_code)
    except click.Abort:
        sys.exit(130)


def _exit_with(message: str, code: int) -> NoReturn:
    # One line, whatever the message was made of.
    click.echo(f"sendfile-serve: {' '.join(message.split())}", err=True)
    sys.exit(code)


def _command() -> click.Command:
    directory = click.Argument(
        ["directory"], metavar="DIR", envvar=f"{_PREFIX}_DIRECTORY"
    )
    file = click.Option(
        ["--config"],
        type=click.Path(),
        metavar="FILE",
        help="Read options from a TOML file.",
        envvar=f"{_PREFIX}_CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_load_file,
    )
    only_check = click.Option(
        ["--check", "only_check"],
        is_flag=True,
        help="Validate the options and the directory, and exit.",
    )
    version = click.version_option(__version__, package_name="sendfile-server")
    return version(
        _GroupedCommand(
            "sendfile-serve",
            callback=_run,
            params=[
                directory,
                *(_make_option(*each) for each in options().items()),
                file,
                only_check,
            ],
            help="Serve the files below DIR over HTTP/1.1.",
            epilog=_EPILOG,
            context_settings={"max_content_width": 80},
        )
    )


def _make_option(name: str, option: Option) -> click.Option:
    is_flag = isinstance(option.default, bool)
    shown = option.help
    if not is_flag and option.default not in (None, ()):
        shown = (
            f"{shown} Default: {option.default:g}."
            if isinstance(option.default, float)
            else f"{shown} Default: {option.default}."
        )
    return click.Option(
        [f"--{_spell(name)}", name],
        type=click.BOOL if is_flag else _OptionType(option),
        metavar=None if is_flag else option.metavar,
        is_flag=is_flag,
        default=None,
        multiple=isinstance(option.default, tuple),
        help=shown,
        envvar=f"{_PREFIX}_{name.upper()}",
    )


def _run(*, only_check: bool, **given: Any) -> int:  # noqa: ANN401 - any option's
    set_ones = {key: value for key, value in given.items() if value not in (None, ())}
    config = Config(**set_ones)
    if only_check:
        check(config)
        click.echo("sendfile-serve: the configuration is valid", err=True)
        return 0
    return serve(config)


def _load_file(
    ctx: click.Context, _param: click.Parameter, path: str | None
) -> str | None:
    """Make the values of the TOML file the defaults of the options."""
    if path is not None:
        ctx.default_map = _defaults_from(path)
    return path


def _defaults_from(path: str) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    stated = options()
    names = {_spell(name): name for name in ("directory", *stated)}
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1, cutoff=0)
            raise ConfigError(f"{path}: no option {key!r}; the nearest is {near[0]!r}")
    return {
        names[key]: _as_list(value, stated.get(names[key]))
        for key, value in values.items()
    }


def _as_list(value: object, option: Option | None) -> object:
    takes_list = option is not None and isinstance(option.default, tuple)
    return [value] if takes_list and not isinstance(value, list) else value


def _spell(name: str) -> str:
    return name.replace("_", "-")
