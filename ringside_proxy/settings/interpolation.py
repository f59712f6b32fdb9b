"""`${NAME}`, `${NAME:-default}` and `file:/path` in values."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ringside_proxy.settings.document import SURROGATE

SECRET_FILE_BYTES_MAX: Final = 64 << 10
FILE_SCHEME: Final = "file:"
ESCAPED: Final = "$${"
PLACEHOLDER: Final = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class InterpolationError(Exception):
    """A value's variable or file cannot be had; says what is wrong and what would be right."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def expand(text: str, env: Mapping[str, str]) -> str:
    """The value that `text` stands for. Raises InterpolationError.

    A default stands in for a variable that is unset or empty, as in a shell. `$${` is a plain `${`.
    """
    full = PLACEHOLDER.sub(lambda found: _variable(found, env), text)
    path = _path(full)
    return full if path is None else _content(path)


def named_file(text: str, env: Mapping[str, str]) -> Path | None:
    """The file whose content `text` stands for, if it stands for one."""
    try:
        return _path(PLACEHOLDER.sub(lambda found: _variable(found, env), text))
    except InterpolationError:
        return None


def plain_path(text: str, env: Mapping[str, str]) -> Path | None:
    """The file that is called `text`, if that is a name."""
    try:
        full = PLACEHOLDER.sub(lambda found: _variable(found, env), text)
    except InterpolationError:
        return None
    return Path(full) if full and "\0" not in full else None


def _path(full: str) -> Path | None:
    is_file = full.startswith(f"{FILE_SCHEME}/")
    return Path(full.removeprefix(FILE_SCHEME)) if is_file else None


def _variable(found: re.Match[str], env: Mapping[str, str]) -> str:
    if found.group() == ESCAPED:
        return "${"
    name, default = found.groups()
    if name is None:
        raise InterpolationError("${ begins no variable", "write ${NAME} or ${NAME:-default}")
    value = env.get(name, default)
    if value is not None and not value.isascii() and SURROGATE.search(value):
        raise InterpolationError(f"environment variable {name} is not UTF-8", "set it to text")
    if value is None:
        raise InterpolationError(
            f"environment variable {name} is not set",
            f"set it, or give a default: ${{{name}:-…}}",
        )
    return value or default or ""


def _content(path: Path) -> str:
    try:
        # A device or pipe could be read for ever.
        if not path.is_file():
            raise InterpolationError(f"there is no file {path}", "name a file that can be read")
        with path.open("rb") as file:
            data = file.read(SECRET_FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise InterpolationError(f"cannot read {path}", "name a file that can be read") from error
    if len(data) > SECRET_FILE_BYTES_MAX:
        raise InterpolationError(f"{path} is larger than 64 KiB", "name a file that holds a secret")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InterpolationError(f"{path} is not UTF-8", "name a file that holds text") from error
