"""Everything that can go wrong, one class per meaning.

    RingsideError
    ├── InvalidRequestError            the caller's request; carries its own code
    │   ├── InvalidModelError
    │   ├── ProviderNotConfiguredError
    │   ├── ModelPriceUnknownError     a capped customer's call that nobody could price
    │   ├── UnsupportedToolTypeError
    │   ├── AddressRefusedError        an address that is not dialled on a caller's word
    │   ├── ThreadBusyError            a message while a run is active (400, OpenAI's text)
    │   └── RunStateError              the run is in a state that does not allow this
    ├── NotFoundError
    ├── AuthenticationError
    ├── PermissionDeniedError
    ├── ResponseSchemaValidationFailedError   the model's answer is not what was asked for
    ├── RateLimitExceededError         one of our limits: too much for a minute, too many runs
    │   └── CallTooLargeError          more tokens than a whole minute's limit
    ├── BillingError
    │   ├── CustomerBudgetExceededError    the customer's cap would be passed
    │   └── WalletExhaustedError
    ├── CustomerExistsError
    ├── ConversationLockedError        a second run on a busy thread
    ├── ConversationFullError
    ├── IdempotencyError               an earlier request with the same Idempotency-Key
    │   ├── IdempotencyInProgressError     is still being answered
    │   ├── IdempotencyKeyReusedError      was another one
    │   ├── IdempotencyOutcomeUnknownError was cut off: it may have been carried out
    │   └── IdempotencyAnswerNotKeptError  was carried out, but what it answered is not kept
    ├── ManagedByConfigError           what the configuration says is not changed by the API
    ├── RequestTooLargeError
    ├── RequestTimeoutError            the caller's body did not arrive
    ├── UnavailableError
    │   ├── ClockJumpError             the clock cannot be believed: no budget is opened
    │   ├── OverloadedError
    │   ├── StorageFullError
    │   └── ShuttingDownError
    └── ProviderError                  the far side; names the provider, knows if a retry can help
        ├── ProviderRateLimitedError
        ├── ProviderQuotaExceededError
        ├── ProviderAuthenticationError
        ├── ProviderPermissionDeniedError
        ├── ProviderRejectedError      the provider understood the request and refused it
        ├── ProviderUnavailableError
        ├── ProviderTimeoutError
        └── ProviderBadReplyError      broken stream, garbage, oversized reply

The HTTP status and error type of each stand in one table, `api/errors.py`.
"""

from typing import ClassVar


class RingsideError(Exception):
    """Something the caller is told about: message, the parameter at fault, a machine code."""

    default_code: ClassVar[str | None] = None
    is_retryable_by_client: ClassVar[bool | None] = None
    """Sent as `x-should-retry`; None leaves it to the SDK's own rule for the status."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code if code is not None else self.default_code
        self.retry_after_s = retry_after_s


class InvalidRequestError(RingsideError):
    """The request cannot be served as it is."""


class InvalidModelError(InvalidRequestError):
    """The model is not named as `fc:<provider>/<model>` or `slot:<alias>`, or is unknown."""

    default_code = "invalid_model"


class ProviderNotConfiguredError(InvalidRequestError):
    """The provider is known but has no key here."""

    default_code = "provider_not_configured"


class ModelPriceUnknownError(InvalidRequestError):
    """The call is under a cap and its model has no known price."""

    default_code = "model_price_unknown"


class UnsupportedToolTypeError(InvalidRequestError):
    """A hosted tool that this proxy does not run."""

    default_code = "unsupported_tool_type"


class AddressRefusedError(InvalidRequestError):
    """An address that is not dialled on a caller's word: it is not public, or not HTTP."""

    default_code = "address_not_allowed"


class ThreadBusyError(InvalidRequestError):
    """A message cannot be added while a run is active."""

    default_code = "conversation_locked"


class RunStateError(InvalidRequestError):
    """The run's status does not allow the operation."""


class NotFoundError(RingsideError):
    """No such object, or not the caller's."""

    @classmethod
    def of(cls, noun: str, object_id: str) -> "NotFoundError":
        """OpenAI's own words: `No thread found with id 'thread_x'.`"""
        return cls(f"No {noun} found with id '{object_id}'.")


class AuthenticationError(RingsideError):
    """No token, or one that is not valid."""

    default_code = "invalid_api_key"


class PermissionDeniedError(RingsideError):
    """The token is valid but may not do this."""

    default_code = "insufficient_permissions"


class ResponseSchemaValidationFailedError(RingsideError):
    """The model's answer does not meet `response_format` or `tool_choice`, also when asked again."""

    default_code = "response_schema_validation_failed"
    is_retryable_by_client = False

    def __init__(self, message: str, *, content: str, param: str = "response_format") -> None:
        super().__init__(message, param=param)
        self.content = content


class RateLimitExceededError(RingsideError):
    """The caller asks for more than one of its limits lets it have now."""

    default_code = "rate_limit_exceeded"


class CallTooLargeError(RateLimitExceededError):
    """The call needs more tokens than its limit has in a whole minute: waiting does not help."""

    is_retryable_by_client = False


class BillingError(RingsideError):
    """There is no money for the call. Another try costs nothing and brings nothing."""

    is_retryable_by_client = False


class CustomerBudgetExceededError(BillingError):
    """The customer's cap for the month would be passed."""

    default_code = "customer_budget_exceeded"


class WalletExhaustedError(BillingError):
    """The prepaid wallet cannot pay for the call."""

    default_code = "wallet_exhausted"


class CustomerExistsError(RingsideError):
    """There is a customer of this id already."""

    default_code = "customer_exists"
    is_retryable_by_client = False


class ConversationLockedError(RingsideError):
    """The thread already has an active run."""

    default_code = "conversation_locked"
    is_retryable_by_client = False


class ConversationFullError(RingsideError):
    """The thread holds as many messages as it may."""

    default_code = "conversation_full"
    is_retryable_by_client = False


class IdempotencyError(RingsideError):
    """An earlier request with the same Idempotency-Key stands in the way of this one."""


class IdempotencyInProgressError(IdempotencyError):
    """It is still being answered."""

    default_code = "idempotency_in_progress"


class IdempotencyKeyReusedError(IdempotencyError):
    """It was another request."""

    default_code = "idempotency_key_reused"
    is_retryable_by_client = False


class IdempotencyOutcomeUnknownError(IdempotencyError):
    """It had gone to a provider and was cut off: sent again, it might be paid for twice."""

    default_code = "idempotency_outcome_unknown"
    is_retryable_by_client = False


class IdempotencyAnswerNotKeptError(IdempotencyError):
    """It was carried out; its answer was too large to keep, or showed a secret."""

    default_code = "idempotency_answer_not_kept"
    is_retryable_by_client = False


class ManagedByConfigError(RingsideError):
    """The object belongs to the configuration file."""

    default_code = "managed_by_config"
    is_retryable_by_client = False


class RequestTooLargeError(RingsideError):
    """The body is larger than `server.max_body`."""

    default_code = "request_too_large"


class RequestTimeoutError(RingsideError):
    """The body did not arrive in time."""

    default_code = "request_timeout"


class UnavailableError(RingsideError):
    """Not now; later."""


class ClockJumpError(UnavailableError):
    """The machine's clock is far ahead of everything stored: it would open a fresh budget."""

    default_code = "clock_jump"


class OverloadedError(UnavailableError):
    """Too much is waiting already."""

    default_code = "overloaded"


class StorageFullError(UnavailableError):
    """The disk that holds the store is full."""

    default_code = "storage_full"


class ShuttingDownError(UnavailableError):
    """The proxy is on its way down."""

    default_code = "shutting_down"


class ProviderError(RingsideError):
    """A provider failed. `is_retryable` says whether the same call may succeed if sent again."""

    default_code = "provider_error"
    is_retryable_default: ClassVar[bool] = False
    is_retryable_by_client = False

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        is_retryable: bool | None = None,
        was_sent: bool = True,
    ) -> None:
        super().__init__(message, param=param, code=code, retry_after_s=retry_after_s)
        self.provider = provider
        self.is_retryable = self.is_retryable_default if is_retryable is None else is_retryable
        self.may_be_billed = False
        """The provider was at work on the call when it failed: it may ask money for it."""
        self.was_sent = was_sent
        """Whether anything of the call had gone to the provider."""


class ProviderRateLimitedError(ProviderError):
    """The provider asks for fewer calls."""

    default_code = "rate_limit_exceeded"
    is_retryable_default = True


class ProviderQuotaExceededError(ProviderError):
    """The owner's account at the provider is out of credit."""

    default_code = "insufficient_quota"


class ProviderAuthenticationError(ProviderError):
    """The provider refused the owner's key."""

    default_code = "provider_auth_failed"


class ProviderPermissionDeniedError(ProviderError):
    """The owner's key may not do this at the provider."""

    default_code = "provider_permission_denied"


class ProviderRejectedError(ProviderError):
    """The provider refused the request itself: bad field, context too long, content policy."""

    default_code = "invalid_request"


class ProviderUnavailableError(ProviderError):
    """The provider is down, overloaded or unreachable."""

    default_code = "provider_unavailable"
    is_retryable_default = True


class ProviderTimeoutError(ProviderError):
    """The provider did not answer, or stopped answering, in time."""

    default_code = "provider_timeout"
    is_retryable_default = True


class ProviderBadReplyError(ProviderError):
    """The provider's reply cannot be understood, or broke off."""

    default_code = "provider_bad_response"
