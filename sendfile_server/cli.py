"""The commands: options to a configuration, errors to exit codes."""

import difflib
import sys
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from sendfile_server import __version__
from sendfile_server.config import Common, Config
from sendfile_server.errors import ConfigError
from sendfile_server.options import GROUPS, Option, arguments, options
from sendfile_server.relay.config import RelayConfig
from sendfile_server.relay.start import check as check_relay
from sendfile_server.relay.start import relay
from sendfile_server.server.start import check, serve


@dataclass(frozen=True, slots=True)
class _Program:
    name: str
    help: str
    config_type: type[Common]
    check: Callable[[Any], None]
    """Raises ConfigError unless what the configuration asks for can be done."""
    run: Callable[[Any, Callable[[], Any]], int]
    """Does what the configuration asks for, and returns the exit code.

    It is also given what reads the configuration again, or raises ConfigError.
    """

    @property
    def prefix(self) -> str:
        """What its variables in the environment begin with."""
        return self.name.replace("-", "_").upper()


# Where a value comes from, the nearest first.
_SOURCES = (
    ParameterSource.COMMANDLINE,
    ParameterSource.ENVIRONMENT,
    ParameterSource.DEFAULT_MAP,
    ParameterSource.DEFAULT,
)
_FILE = f"{__name__}.file"
"""Where the context keeps the path of the file that it read options from."""

SERVE = _Program(
    name="sendfile-serve",
    help="Serve the files below DIR over HTTP/1.1.",
    config_type=Config,
    check=check,
    run=serve,
)
RELAY = _Program(
    name="splice-relay",
    help="Forward TCP connections that come to LISTEN to TARGET, both ways, without"
    " copying what they carry. LISTEN and TARGET are HOST:PORT, [IPV6]:PORT or"
    " unix:PATH.",
    config_type=RelayConfig,
    check=check_relay,
    run=relay,
)


def main() -> NoReturn:
    """Run ``sendfile-serve``."""
    _main(SERVE)


def relay_main() -> NoReturn:
    """Run ``splice-relay``."""
    _main(RELAY)


def _main(program: _Program) -> NoReturn:
    """Run the command and exit: 0 done, 1 failed, 2 asked for wrongly."""
    try:
        command = _command(program)
        sys.exit(command.main(prog_name=program.name, standalone_mode=False))
    except ConfigError as error:
        _exit_with(program, str(error), 2)
    except click.ClickException as error:
        _exit_with(program, _describe(error), error.exit_code)
    except click.Abort:
        sys.exit(130)
    except OSError as error:  # of the machine: a full disk, a limit that is too low
        _exit_with(program, error.strerror or str(error), 1)


def _describe(error: click.ClickException) -> str:
    """Say what is wrong, and of which variable or file, if the value is from there."""
    if isinstance(error, click.BadParameter) and error.ctx and error.param:
        name = error.param.name or ""
        source = error.ctx.get_parameter_source(name)
        if source is ParameterSource.ENVIRONMENT:
            error.param_hint = f"{error.param.envvar} in the environment"
        elif source is ParameterSource.DEFAULT_MAP:
            error.param_hint = f"{_spell(name)!r} in {error.ctx.meta[_FILE]}"
    return error.format_message()


def _exit_with(program: _Program, message: str, code: int) -> NoReturn:
    # One line, whatever the message was made of.
    click.echo(f"{program.name}: {' '.join(message.split())}", err=True)
    sys.exit(code)


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

    def __init__(self, program: _Program, **settings: Any) -> None:  # noqa: ANN401 - as click's
        super().__init__(program.name, **settings)
        self._stated = options(program.config_type)

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        # What is the command's own, last.
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record and isinstance(param, click.Option):
                known = self._stated.get(param.name or "")
                groups.setdefault(known.group if known else "Other", []).append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records, col_max=28)


def _command(program: _Program) -> click.Command:
    file = click.Option(
        ["--config"],
        type=click.Path(),
        metavar="FILE",
        help="Read options from a TOML file.",
        envvar=f"{program.prefix}_CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_load_file(program),
    )
    only_check = click.Option(
        ["--check", "only_check"],
        is_flag=True,
        help="Validate the options and what they name, and exit.",
    )
    version = click.version_option(__version__, package_name="sendfile-server")
    return version(
        _GroupedCommand(
            program,
            callback=_run(program),
            params=[*_arguments(program), *_options(program), file, only_check],
            help=program.help,
            epilog=_epilog(program),
            context_settings={
                "help_option_names": ["-h", "--help"],
                "max_content_width": 80,
            },
        )
    )


def _epilog(program: _Program) -> str:
    places = "".join(
        f"; {stated.metavar} is {_variable(program, name)}"
        for name, stated in arguments(program.config_type).items()
    )
    return (
        "Every option is also a variable of the environment"
        f" ({program.prefix}_WORKERS=2; spaces between the values of a list{places})"
        " and a key of the TOML file (workers = 2). The command line wins over the"
        " environment, the environment over the file."
    )


def _arguments(program: _Program) -> list[click.Parameter]:
    return [
        click.Argument(
            [name],
            type=_OptionType(stated),
            metavar=stated.metavar,
            required=stated.default is MISSING,
            envvar=_variable(program, name),
        )
        for name, stated in arguments(program.config_type).items()
    ]


def _options(program: _Program) -> list[click.Parameter]:
    return [
        _make_option(name, option, _variable(program, name))
        for name, option in options(program.config_type).items()
    ]


def _variable(program: _Program, name: str) -> str:
    return f"{program.prefix}_{name.upper()}"


def _make_option(name: str, option: Option, variable: str) -> click.Option:
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
        envvar=variable,
    )


def _run(program: _Program) -> Callable[..., int]:
    @click.pass_context
    def run(context: click.Context, /, *, only_check: bool, **_: object) -> int:
        config = _configure(program, context)
        if only_check:
            program.check(config)
            click.echo(f"{program.name}: the configuration is valid", err=True)
            return 0
        return program.run(config, lambda: read_again(program))

    return run


def read_again(program: _Program) -> object:
    """Return what is asked for by now, or raise ConfigError."""
    try:
        with _command(program).make_context(program.name, sys.argv[1:]) as context:
            return _configure(program, context)
    except click.ClickException as error:
        raise ConfigError(_describe(error)) from None


def _configure(program: _Program, context: click.Context) -> Any:  # noqa: ANN401 - the program's
    known = (*arguments(program.config_type), *options(program.config_type))
    given = {k: v for k in known if (v := context.params[k]) not in (None, ())}

    def place(names: tuple[str, ...]) -> int:
        """Tell how near the nearest source of these is; 0 is the nearest of all."""
        sources = (context.get_parameter_source(name) for name in names)
        return min(_SOURCES.index(each) for each in sources if each)

    for pair in program.config_type.ALTERNATIVES:
        for one, other in (pair, pair[::-1]):
            if place(one) < place(other):
                given = {k: v for k, v in given.items() if k not in other}
    return program.config_type(**given)


def _load_file(
    program: _Program,
) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    def load(
        ctx: click.Context, _param: click.Parameter, path: str | None
    ) -> str | None:
        """Make the values of the TOML file the defaults of the options."""
        if path is not None:
            ctx.default_map = _defaults_from(program, path)
            ctx.meta[_FILE] = path
        return path

    return load


def _defaults_from(program: _Program, path: str) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # of numbers and nesting, too
        raise ConfigError(f"{path} is not TOML: {error}") from None
    known = {**arguments(program.config_type), **options(program.config_type)}
    names = {_spell(name): name for name in known}
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            raise ConfigError(f"{path}: no option {key!r}{hint}")
    try:
        return {
            names[key]: _read(key, value, known[names[key]])
            for key, value in values.items()
        }
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from None


def _read(key: str, value: object, option: Option) -> object:
    """Return a value of TOML as click takes it; TypeError says what was expected."""
    if isinstance(option.default, bool):
        if not isinstance(value, bool):
            raise TypeError(f"{key} is true or false, without quotes")
        return value
    takes_list = isinstance(option.default, tuple)
    values = value if takes_list and isinstance(value, list) else [value]
    for each in values:
        if not isinstance(each, str | int | float) or isinstance(each, bool):
            more = ", or a list of them" if takes_list else ""
            raise TypeError(f"{key} is text in quotes or a number{more}")
    return values if takes_list else value


def _spell(name: str) -> str:
    return name.replace("_", "-")
