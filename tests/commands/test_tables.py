"""Tables for the eye."""

from ringside_proxy.commands.tables import table


def test_columns_are_aligned() -> None:
    """Words to the left, numbers to the right, no line with spaces at its end."""
    shown = table(("NAME", "COUNT", "X"), [["a", "1000000", ""], ["longer", "2", "x"]], ("COUNT",))

    assert shown == (
        "NAME      COUNT  X\n"
        "a       1000000\n"
        "longer        2  x\n"
    )  # fmt: skip


def test_a_table_without_rows_is_its_header() -> None:
    """So that an empty answer is seen to be one."""
    assert table(("A", "B"), []) == "A  B\n"


def test_a_terminal_obeys_nothing_in_a_cell() -> None:
    """A name with control characters is shown without them."""
    assert table(("A",), [["\x1b[2Jx\ny\u202e"]]) == "A\n?[2Jx?y?\n"
