"""The `ringside` command."""

import argparse
import asyncio
import gc
import os
import re
import resource
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ringside_proxy import __version__
from ringside_proxy.commands.errors import CommandError
from ringside_proxy.settings.environment import MASTER_KEYS, apply_overrides
from ringside_proxy.settings.load import load
from ringside_proxy.settings.problems import SettingsError
from ringside_proxy.settings.schema import Settings
from ringside_proxy.settings.source import ConfigSource

if TYPE_CHECKING:
    from ringside_proxy.commands.reach import Access

DEFAULT_CONFIG: Final = Path("config/ringside.yaml")
CONFIG_VARIABLE: Final = "RINGSIDE_CONFIG"
FAILPOINT_VARIABLE: Final = "RINGSIDE_FAILPOINT"
SANDBOX_PORT: Final = 8081
PORT: Final = re.compile(r"[0-9]{1,5}")
PORT_MAX: Final = 65535

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_DAMAGED: Final = 3

T = TypeVar("T")

LEAVE_S_MAX: Final = 2.0
"""How long the interpreter may take to end, once there is nothing more to do."""
UMASK: Final = 0o077
FILES_MAX: Final = 10_000
"""Open at once: two for each answer that is streamed. Shells and systemd begin with 1,024."""
LIFETIME: Final = re.compile(r"([0-9]{1,9})([smhd])")
LIFETIME_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
LIFETIME_S_MAX: Final = 100 * 365 * 24 * 3600


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit status."""
    from ringside_proxy.store.files import StoreCorruptError, StoreError

    args = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except StoreCorruptError as error:
        print(error, file=sys.stderr)
        return EXIT_DAMAGED
    except (SettingsError, StoreError, CommandError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ringside", description="Runs OpenAI Assistants applications on any model."
    )
    parser.add_argument("--version", action="version", version=f"ringside {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the proxy")
    _with_config(serve)
    serve.add_argument("--host", help="address of the API")
    serve.add_argument("--port", type=_port, help="port of the API; 0 takes a free one")
    serve.set_defaults(command=_serve)

    check = commands.add_parser("check", help="validate a configuration")
    _with_config(check)
    check.set_defaults(command=_check)

    demo = commands.add_parser("demo", help="a whole conversation with the official SDK")
    demo.set_defaults(command=_demo)

    sandbox = commands.add_parser("sandbox", help="the simulated models alone, as a server")
    sandbox.add_argument("--port", type=_port, default=SANDBOX_PORT, help="0 takes a free one")
    sandbox.set_defaults(command=_sandbox)

    _add_tokens(commands.add_parser("token", help="who may call"))

    usage = commands.add_parser("usage", help="a month by customer and model")
    _with_access(usage)
    usage.add_argument("--month", metavar="YYYY-MM", help="else this month")
    usage.add_argument("--customer", metavar="ID", help="this one alone")
    usage.add_argument("--format", choices=("table", "csv", "json"), default="table")
    usage.set_defaults(command=_usage)

    doctor = commands.add_parser("doctor", help="what is wrong here, and what to do about it")
    _with_config(doctor)
    doctor.add_argument(
        "--keys", action="store_true", help="try each provider's key; costs a part of a cent"
    )
    doctor.set_defaults(command=_doctor)

    backup = commands.add_parser("backup", help="copy the store, also while the proxy runs")
    _with_config(backup)
    backup.add_argument("target", metavar="FILE", type=Path)
    backup.set_defaults(command=_backup)

    rotate = commands.add_parser("rotate-keys", help="seal the store's secrets with a new key")
    _with_config(rotate)
    rotate.add_argument(
        "--drop-unreadable",
        action="store_true",
        help="delete the webhooks whose secrets no key opens any more",
    )
    rotate.set_defaults(command=_rotate_keys)
    return parser


def _add_tokens(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="DO")

    new = commands.add_parser("new", help="make a token and show it once")
    _with_access(new)
    new.add_argument("name", metavar="NAME", help="what the token is called")
    new.add_argument("--role", choices=("developer", "client"), default="developer")
    new.add_argument("--customer", metavar="ID", help="whom a client token acts for")
    new.add_argument(
        "--expires-in", metavar="TIME", type=_lifetime_s, help="such as 90d, 12h, 30m; else never"
    )
    new.set_defaults(command=_token_new)

    listing = commands.add_parser("list", help="show all tokens, without the tokens themselves")
    _with_access(listing)
    listing.set_defaults(command=_token_list)

    revoke = commands.add_parser("revoke", help="end a token, at once")
    _with_access(revoke)
    revoke.add_argument("id", metavar="ID", help="as the list shows it: tok_…")
    revoke.set_defaults(command=_token_revoke)


def _port(text: str) -> int:
    """A number that is a port: of a larger one the system would take what is left of it."""
    if PORT.fullmatch(text) is None or int(text) > PORT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to {PORT_MAX}")
    return int(text)


def _lifetime_s(text: str) -> int:
    """Seconds of a time such as 90d."""
    found = LIFETIME.fullmatch(text)
    seconds = 0 if found is None else int(found[1]) * LIFETIME_UNITS_S[found[2]]
    if not 0 < seconds <= LIFETIME_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90d, 12h or 30m")
    return seconds


def _with_access(parser: argparse.ArgumentParser) -> None:
    """For commands that ask a running proxy, and without one look into its store."""
    _with_config(parser)
    parser.add_argument("--url", help="a running proxy, else the one of the configuration")
    parser.add_argument("--token", help="a developer token to ask it with, else $RINGSIDE_TOKEN")


def _with_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        help=f"else ${CONFIG_VARIABLE}, else {DEFAULT_CONFIG}",
    )
    parser.set_defaults(host=None, port=None)


def _settings(args: argparse.Namespace) -> Settings:
    """What the file, the environment and the flags say, in rising order. Raises SettingsError."""
    return load(_config_path(args), _environment(args))


def _environment(args: argparse.Namespace) -> dict[str, str]:
    return apply_overrides(os.environ, host=args.host, port=args.port)


def _config_path(args: argparse.Namespace) -> Path | None:
    if args.config is not None:
        return Path(args.config)
    if os.environ.get(CONFIG_VARIABLE):
        return Path(os.environ[CONFIG_VARIABLE])
    return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None


def _serve(args: argparse.Namespace) -> int:
    from ringside_proxy.telemetry.logs import configure_logging

    os.umask(UMASK)
    _allow_files()
    path = _config_path(args)
    source = None if path is None else ConfigSource(path, _environment(args))
    settings = _settings(args)
    configure_logging(settings.log.level, settings.log.format, sys.stderr)
    if FAILPOINT_VARIABLE in os.environ:
        _arm_failpoints(os.environ[FAILPOINT_VARIABLE])
    return _run(_serve_until_stopped(settings, source))


def _allow_files() -> None:
    """Raise the process's own limit of open files, as far as the system's allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _arm_failpoints(text: str) -> None:
    """For tests: let the proxy fail where they say."""
    from ringside_proxy import app, failpoints  # noqa: F401 - everything has to be there to be wrapped

    try:
        failpoints.arm(text)
    except ValueError as error:
        raise CommandError(str(error)) from None


async def _serve_until_stopped(settings: Settings, source: ConfigSource | None) -> int:
    stop, hurry, reload = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: (hurry if stop.is_set() else stop).set())
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    from ringside_proxy.app import running  # takes a while, in which a signal may come already

    async with _named_hosts(settings), running(settings, source=source, reload=reload) as proxy:
        print(
            f"Ringside Proxy is ready on {proxy.url} (health and metrics on {proxy.admin_url})",
            flush=True,
        )
        _settle_garbage()
        await stop.wait()
        await proxy.drain(settings.server.drain_s, hurry)
    _leave_soon()
    return EXIT_OK


@asynccontextmanager
async def _named_hosts(settings: Settings) -> AsyncIterator[None]:
    """What the system says of a host that it does not know names neither the host nor the key."""
    try:
        yield
    except socket.gaierror as error:
        hosts = f"server.host is {settings.server.host}, admin.host {settings.admin.host}"
        raise CommandError(f"An address to listen on is not known ({hosts}): {error}") from None


def _leave_soon() -> None:
    """The store is closed. What may go on in a thread is a lookup that hangs: who would wait for it?"""
    leaving = threading.Timer(LEAVE_S_MAX, os._exit, (EXIT_OK,))
    leaving.daemon = True
    leaving.start()


def _settle_garbage() -> None:
    """Never look again at what lives as long as the process."""
    gc.collect()
    gc.freeze()


def _check(args: argparse.Namespace) -> int:
    settings = _settings(args)
    for key in settings.not_in_effect:
        print(f"{key}: not in effect yet; it is checked, and ignored by this version")
    print(f"{_config_path(args) or 'the built-in configuration'} is valid")
    return EXIT_OK


def _demo(args: argparse.Namespace) -> int:
    del args
    try:
        import openai  # noqa: F401
    except ImportError:
        raise CommandError(
            "The demo drives the proxy with OpenAI's SDK: pip install 'ringside-proxy[demo]'"
        ) from None
    from ringside_proxy.demo import run

    return _run(run())


def _sandbox(args: argparse.Namespace) -> int:
    return _run(_sandbox_until_stopped(args.port))


async def _sandbox_until_stopped(port: int) -> int:
    from ringside_proxy.sandbox.server import serve
    from ringside_proxy.system import SystemClock, system_ids

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(SystemClock(), system_ids(), port=port) as taken:
        print(f"The sandbox is ready on http://127.0.0.1:{taken}/v1", flush=True)
        await stop.wait()
    return EXIT_OK


def _token_new(args: argparse.Namespace) -> int:
    from ringside_proxy.commands import tokens

    token = tokens.new(_access(args), args.name, args.role, args.customer, args.expires_in)
    print(token)
    print("This is the only time it is shown.", file=sys.stderr)
    return EXIT_OK


def _token_list(args: argparse.Namespace) -> int:
    from ringside_proxy.commands import tokens

    print(tokens.listing(_access(args)), end="")
    return EXIT_OK


def _token_revoke(args: argparse.Namespace) -> int:
    from ringside_proxy.commands import tokens

    tokens.revoke(_access(args), args.id)
    print(f"{args.id} is revoked")
    return EXIT_OK


def _usage(args: argparse.Namespace) -> int:
    from ringside_proxy.commands import usage

    print(usage.usage(_access(args), args.month, args.customer, args.format), end="")
    return EXIT_OK


def _access(args: argparse.Namespace) -> "Access":
    from ringside_proxy.commands.reach import TOKEN_VARIABLE, Access

    token = args.token or os.environ.get(TOKEN_VARIABLE)
    return Access(settings=_settings(args), url=args.url, token=token)


def _doctor(args: argparse.Namespace) -> int:
    from ringside_proxy.commands import doctor, doctor_keys
    from ringside_proxy.system import SystemClock, system_ids

    clock, new_id = SystemClock(), system_ids()
    settings, findings = doctor.examine(_config_path(args), _environment(args), clock, new_id)
    if args.keys and settings is not None:
        findings += _run(doctor_keys.findings(settings, clock, new_id))
    print(doctor.report(findings))
    return EXIT_OK if doctor.is_well(findings) else EXIT_FAILED


def _backup(args: argparse.Namespace) -> int:
    from contextlib import closing

    from ringside_proxy.store import files
    from ringside_proxy.store.vault import key_file_of

    path = _settings(args).store.path
    if not path.exists():
        raise CommandError(f"There is no store at {path}.")
    with closing(files.open_reader(path)) as reader:
        files.backup(reader, args.target)
    print(f"{path} was copied to {args.target}")
    if key_file_of(path).exists():
        print(f"Webhooks' secrets in it need {key_file_of(path)}; keep a copy of that elsewhere.")
    return EXIT_OK


def _rotate_keys(args: argparse.Namespace) -> int:
    dropped, count = _run(_reseal(_settings(args), drops=args.drop_unreadable))
    if args.drop_unreadable:
        print(f"{dropped} webhooks were deleted, whose secrets no key opens")
    print(f"{count} secrets were sealed anew; older keys are not needed any more")
    return EXIT_OK


async def _reseal(settings: Settings, *, drops: bool) -> tuple[int, int]:
    """Seal with the first master key, or with a new key of the store's own.

    Gives how many webhooks were dropped before, if that was asked for, and how many secrets sealed.
    """
    from ringside_proxy.delivery.secrets import drop_unreadable, reseal
    from ringside_proxy.store.db import Database
    from ringside_proxy.store.files import StoreInUseError
    from ringside_proxy.store.vault import Vault
    from ringside_proxy.system import SystemClock

    path = settings.store.path
    if not path.exists():
        raise CommandError(f"There is no store at {path}.")
    os.umask(UMASK)
    try:
        db = await Database.open(path, SystemClock(), settings.store.synchronous)
    except StoreInUseError:
        raise CommandError(
            "A proxy is running on this store. It seals everything with the first of "
            f"{MASTER_KEYS} when it starts: restart it with the new key before the old one, or "
            "stop it for this command."
        ) from None
    try:
        vault = Vault.of(settings.master_keys, path)
        if not settings.master_keys:
            vault.renew_key_file()
        dropped = await db.write(drop_unreadable, vault) if drops else 0
        count = await db.write(reseal, vault)
        if not settings.master_keys:
            vault.drop_old_keys()
        return dropped, count
    finally:
        await db.close()


def _run(work: Coroutine[Any, Any, T]) -> T:
    import uvloop

    return uvloop.run(work)
