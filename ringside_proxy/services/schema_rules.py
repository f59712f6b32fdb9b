"""Compiling a JSON schema, and what is wrong with a value by it. No limit on the time it takes."""

from itertools import islice
from typing import Any, Final

import jsonschema_rs

BACKTRACKS_MAX: Final = 100_000
FAULTS_SHOWN_MAX: Final = 5
FAULT_CHARS_MAX: Final = 300


def compiled(document: dict[str, Any]) -> jsonschema_rs.Validator:
    """The schema, fetching nothing. Raises ValueError, with the reason, if it is none."""
    try:
        return jsonschema_rs.validator_for(
            document,
            offline=True,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS_MAX),
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise ValueError(str(error).partition("\n")[0][:FAULT_CHARS_MAX]) from None


def faults(validator: jsonschema_rs.Validator, value: Any) -> list[str]:
    """What is wrong with `value`, in words for the model that wrote it; empty if nothing."""
    return [
        f"at /{'/'.join(map(str, error.instance_path))}: {error.message}"[:FAULT_CHARS_MAX]
        for error in islice(validator.iter_errors(value), FAULTS_SHOWN_MAX)
    ]
