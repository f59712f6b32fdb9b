"""Why a command cannot be carried out."""


class CommandError(Exception):
    """The command cannot be carried out; the message says why and what to do."""
