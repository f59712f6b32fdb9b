"""YAML bytes → a tree of scalars, lists and mappings.

The tree is built from the parser's events, so that nothing is walked, counted or recursed into
before its size is known: a document is refused at its first byte, node or level too many.
Scalars stay text: the schema gives every one its type (`no` is a name where a name is asked for).
"""

import re
from typing import Final, NoReturn, TypeAlias

import msgspec
import yaml

from ringside_proxy.settings.problems import Problem, SettingsError, join

DOCUMENT_BYTES_MAX: Final = 1 << 20
DOCUMENT_NODES_MAX: Final = 10_000
DOCUMENT_LEVELS_MAX: Final = 32

SURROGATE: Final = re.compile("[\ud800-\udfff]")
"""What `"\\ud800"` makes: text that no encoding can carry any further."""

NULL_WORDS: Final = frozenset({"", "~", "null", "Null", "NULL"})


class Scalar(msgspec.Struct, frozen=True):
    """A value as it is written. `is_plain`: without quotes."""

    text: str
    is_plain: bool = False

    @property
    def is_null(self) -> bool:
        """Nothing is given."""
        return self.is_plain and self.text in NULL_WORDS


Node: TypeAlias = Scalar | list["Node"] | dict[str, "Node"]


def parse(data: bytes) -> dict[str, Node]:
    """The document's mapping; empty for an empty document. Raises SettingsError."""
    if len(data) > DOCUMENT_BYTES_MAX:
        _refuse("file", "is larger than 1 MiB", "keep only what differs from the defaults")
    builder = _Builder()
    try:
        for event in yaml.parse(data.decode("utf-8-sig"), Loader=yaml.SafeLoader):
            builder.take(event)
    # Beside its own errors PyYAML lets those of int() and chr() through: `%YAML 9…9`, "\UFFFFFFFF".
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise SettingsError([_syntax_problem(error)]) from error
    return builder.finish()


class _Open(msgspec.Struct):
    """A list or mapping whose end has not been read yet."""

    node: list[Node] | dict[str, Node]
    path: str
    key: str | None = None


class _Builder:
    def __init__(self) -> None:
        self._root: Node | None = None
        self._open: list[_Open] = []
        self._nodes = 0
        self._problems: list[Problem] = []

    def take(self, event: yaml.Event) -> None:
        """Add what one event of the parser says."""
        if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
            _refuse(_line(event), "a second document begins", "keep one document in the file")
        if isinstance(event, yaml.NodeEvent):
            self._admit(event)
        if isinstance(event, yaml.ScalarEvent):
            self._place(self._scalar(event), event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._place({}, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._place([], event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()

    def finish(self) -> dict[str, Node]:
        """The whole tree."""
        if self._problems:
            raise SettingsError(self._problems)
        if self._root is None or (isinstance(self._root, Scalar) and self._root.is_null):
            return {}
        if not isinstance(self._root, dict):
            _refuse("file", "is not a mapping", "write sections such as `server:`")
        return self._root

    def _admit(self, event: yaml.NodeEvent) -> None:
        self._nodes += 1
        if self._nodes > DOCUMENT_NODES_MAX:
            _refuse(_line(event), f"more than {DOCUMENT_NODES_MAX} values", "keep fewer")
        if event.anchor is not None:
            _refuse(_line(event), "anchors and aliases are not read", "write the value out")
        if getattr(event, "tag", None) is not None:
            _refuse(_line(event), "tags (!) are not read", "write the plain value")

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        if SURROGATE.search(event.value):
            _refuse(_line(event), "half a surrogate pair", "write the character itself")
        return Scalar(event.value, is_plain=event.style is None)

    def _place(self, node: Node, event: yaml.Event) -> None:
        path = self._attach(node, event)
        if isinstance(node, Scalar):
            return
        if len(self._open) == DOCUMENT_LEVELS_MAX:
            _refuse(_line(event), f"more than {DOCUMENT_LEVELS_MAX} levels", "nest less deeply")
        self._open.append(_Open(node, path))

    def _attach(self, node: Node, event: yaml.Event) -> str:
        """Put a node where the document has it; the path of that place."""
        if not self._open:
            self._root = node
            return ""
        parent = self._open[-1]
        if isinstance(parent.node, list):
            parent.node.append(node)
            return f"{parent.path}[{len(parent.node) - 1}]"
        if parent.key is None:
            parent.key = self._key(node, parent, event)
            return parent.path
        path = join(parent.path, parent.key)
        parent.node[parent.key] = node
        parent.key = None
        return path

    def _key(self, node: Node, parent: _Open, event: yaml.Event) -> str:
        if not isinstance(node, Scalar):
            _refuse(_line(event), "a key is not text", 'put "${NAME}" and {…} in quotes')
        if node.text in parent.node:
            again = f"is given again on {_line(event)}"
            self._problems.append(Problem(join(parent.path, node.text), again, "keep one of them"))
        return node.text


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}" if event.start_mark is not None else "file"


def _syntax_problem(error: Exception) -> Problem:
    remedy = 'check the indentation, and put "${NAME}" inside {…} and […] in quotes'
    if isinstance(error, UnicodeDecodeError):
        return Problem("file", f"is not UTF-8 at byte {error.start}", "save it as UTF-8")
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return Problem(f"line {error.problem_mark.line + 1}", f"{error.problem}", remedy)
    return Problem("file", "is not YAML", remedy)


def _refuse(path: str, what: str, remedy: str) -> NoReturn:
    raise SettingsError([Problem(path, what, remedy)])
