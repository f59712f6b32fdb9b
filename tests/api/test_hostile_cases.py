"""Schemathesis on our own /openapi.json: cases that it allows and cases that it forbids."""

import re
from contextlib import suppress
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from ringside_proxy.api.routes import ROUTES, Route
from tests.api.rig import Answer
from tests.api.test_hostile_json import Target, target
from tests.api.test_openapi import DOCUMENT, JSON, answer_schema, operation, template, validator
from tests.faults.sizes import TIMEOUT_S, size

__all__ = ["target"]

CASES: Final = size("described cases")
MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
PER_ROUTE: Final = max(1, CASES // (len(MODES) * len(ROUTES)))
OF_SHAPE: Final = ("unknown_parameter", "missing_required_parameter", "invalid_type")
"""Codes of what the document could have told; other 400s depend on what there is."""
DECIMAL: Final = re.compile("expected .*an integer.*, but got a decimal number")
"""JSON Schema takes 1.0 for an integer, the API does not, and the document says so in words."""
SKIPPED_HEADERS: Final = ("authorization", "accept-encoding", "connection", "content-length")
LINE_BYTES_MAX: Final = 8_000
"""A longer address is refused before it is looked at."""
CASE: Final = settings(
    max_examples=PER_ROUTE,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
OPERATIONS: Final = {
    (found.method.upper(), found.path): found
    for found in (
        each.ok() for each in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    )
}


def sent(target: Target, case: Any) -> Answer | None:
    """The answer to a case, as a client would send it; none if its address is too long."""
    request = requests.Request(**case.as_transport_kwargs(base_url="http://x")).prepare()
    if len(request.path_url) > LINE_BYTES_MAX:
        return None
    headers = {n: v for n, v in request.headers.items() if n.lower() not in SKIPPED_HEADERS}
    return target.call(str(request.method), request.path_url, data=request.body, headers=headers)


def attack(target: Target, route: Route, mode: GenerationMode) -> None:
    """Holds the answers to a route's cases to the document."""

    @CASE
    @given(OPERATIONS[route.method, template(route)].as_strategy(generation_mode=mode))
    def judge(case: Any) -> None:
        answer = sent(target, case)
        if answer is None:
            return

        is_the_far_ends = answer.status >= 500 and answer.error["type"] == "provider_error"
        assert answer.status < 500 or is_the_far_ends, answer.body
        if answer.headers["content-type"].startswith(JSON):
            validator(answer_schema(route, answer.status)).validate(answer.json)
        if mode is GenerationMode.POSITIVE and answer.status == 400:
            is_of_shape = answer.error["code"] in OF_SHAPE
            assert not is_of_shape or DECIMAL.search(answer.error["message"]), answer.body

    judge()


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_cases_are_answered_as_described(target: Target, mode: GenerationMode) -> None:
    """No 5xx but of a provider; the answer is one that is described; a body that is allowed is not of a wrong shape."""
    for route in ROUTES:
        with suppress(*[Unsatisfiable] if has_nothing_to_spoil(route) else []):
            attack(target, route, mode)


def has_nothing_to_spoil(route: Route) -> bool:
    """Whether a request to it is always as described: then there are no negative cases."""
    return "requestBody" not in operation(route) and not operation(route)["parameters"]
