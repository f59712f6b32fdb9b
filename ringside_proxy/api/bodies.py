"""Request bodies: the one description of what callers may send.

A struct says which keys exist, their types, defaults and limits; `decode.py` holds bodies to it
and words what is wrong in OpenAI's terms. All bodies are closed but `OpenBody`s.

An explicit null means "not given" for every optional key: real clients send nulls everywhere,
also where the published schema allows none. Only a modification of an assistant tells the two
apart, where null clears a text.

What OpenAI hosted and this proxy does not (code interpreter, file search, files) is described
too, so that `decode_domain.py` can refuse it by name where it is really used.
"""

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from ringside_proxy.api.chat_messages import ChatMessage, Open

TEXT_LENGTH_MAX: Final = 256_000
"""Characters of instructions, and of one text of a message."""
MODEL_LENGTH_MAX: Final = 2_048
"""Characters; the longest names in use are cloud resource names."""
EXPIRES_AFTER_S_MAX: Final = 7 * 24 * 3600

Model: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MODEL_LENGTH_MAX)]
Text: TypeAlias = Annotated[str, Meta(max_length=TEXT_LENGTH_MAX)]
Name: TypeAlias = Annotated[str, Meta(max_length=256)]
Description: TypeAlias = Annotated[str, Meta(max_length=512)]
Identifier: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+\Z")
]
User: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Temperature: TypeAlias = Annotated[float, Meta(ge=0, le=2)]
TopP: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
ReasoningEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Metadata: TypeAlias = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]
ExpiresAfter: TypeAlias = (
    Annotated[int, Meta(ge=1, le=EXPIRES_AFTER_S_MAX)]
    | Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,5}[smh]\Z")]
)
"""Whole seconds, or a duration such as `45s`, `10m`, `2h`."""


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object that may hold the keys named here and no others."""


class Typed(Body, frozen=True, kw_only=True, tag_field="type"):
    """A `Body` that says by its key `type` which one it is."""


class FunctionSpec(Body, frozen=True, kw_only=True):
    """A function as the caller describes it."""

    name: Identifier
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Typed, frozen=True, kw_only=True, tag="function"):
    """A tool that the caller runs."""

    function: FunctionSpec


class CodeInterpreterTool(Typed, frozen=True, kw_only=True, tag="code_interpreter"):
    """A tool that OpenAI ran; understood, so that it can be refused by name."""


class FileSearchTool(Typed, frozen=True, kw_only=True, tag="file_search"):
    """A tool that OpenAI ran; understood, so that it can be refused by name."""

    file_search: dict[str, Any] | None = None


Tool: TypeAlias = CodeInterpreterTool | FunctionTool | FileSearchTool
AssistantTools: TypeAlias = Annotated[list[Tool], Meta(max_length=128)]
RunTools: TypeAlias = Annotated[list[Tool], Meta(max_length=20)]


class CodeInterpreterResources(Body, frozen=True, kw_only=True):
    """Files for the code interpreter."""

    file_ids: Annotated[list[str], Meta(max_length=20)] | None = None


class FileSearchResources(Body, frozen=True, kw_only=True):
    """Vector stores for file search."""

    vector_store_ids: Annotated[list[str], Meta(max_length=1)] | None = None
    vector_stores: Annotated[list[dict[str, Any]], Meta(max_length=1)] | None = None


class ToolResources(Body, frozen=True, kw_only=True):
    """Resources of the hosted tools; clients send it empty."""

    code_interpreter: CodeInterpreterResources | None = None
    file_search: FileSearchResources | None = None


class TextFormat(Typed, frozen=True, kw_only=True, tag="text"):
    """Answers are text."""


class JSONObjectFormat(Typed, frozen=True, kw_only=True, tag="json_object"):
    """Answers are JSON."""


class JSONSchemaSpec(Body, frozen=True, kw_only=True):
    """A schema that answers have to meet. Of `strict`, null and absent are echoed as given."""

    name: Identifier
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | UnsetType | None = UNSET


class JSONSchemaFormat(Typed, frozen=True, kw_only=True, tag="json_schema"):
    """Answers are JSON that meets a schema."""

    json_schema: JSONSchemaSpec


ResponseFormat: TypeAlias = Literal["auto"] | JSONObjectFormat | JSONSchemaFormat | TextFormat


class NamedFunction(Body, frozen=True, kw_only=True):
    """The function that has to be called."""

    name: Identifier


class FunctionChoice(Typed, frozen=True, kw_only=True, tag="function"):
    """A tool choice that names a function."""

    function: NamedFunction


ToolChoice: TypeAlias = (
    Literal["none", "auto", "required"] | CodeInterpreterTool | FunctionChoice | FileSearchTool
)


class TruncationStrategy(Body, frozen=True, kw_only=True):
    """How much of the thread the model is shown."""

    type: Literal["auto", "last_messages"]
    last_messages: Count | None = None


class TextInput(Typed, frozen=True, kw_only=True, tag="text"):
    """Text of a new message: a plain string here, an object in the stored message."""

    text: Text


class ImageUrl(Body, frozen=True, kw_only=True):
    """An image by address, https or data."""

    url: Annotated[str, Meta(min_length=1)]
    detail: Literal["auto", "low", "high"] | None = None


class ImageUrlInput(Typed, frozen=True, kw_only=True, tag="image_url"):
    """An image of a new message."""

    image_url: ImageUrl


class ImageFile(Body, frozen=True, kw_only=True):
    """An image by the id of an uploaded file."""

    file_id: str
    detail: Literal["auto", "low", "high"] | None = None


class ImageFileInput(Typed, frozen=True, kw_only=True, tag="image_file"):
    """An uploaded image; understood, so that it can be refused by name."""

    image_file: ImageFile


class Attachment(Body, frozen=True, kw_only=True):
    """A file for a hosted tool; understood, so that it can be refused by name."""

    file_id: str
    tools: list[CodeInterpreterTool | FileSearchTool] | None = None


class CreateMessage(Body, frozen=True, kw_only=True):
    """POST /v1/threads/{thread_id}/messages, and messages inside other bodies."""

    role: Literal["user", "assistant"]
    content: (
        Annotated[str, Meta(min_length=1, max_length=TEXT_LENGTH_MAX)]
        | Annotated[list[TextInput | ImageUrlInput | ImageFileInput], Meta(min_length=1)]
    )
    attachments: list[Attachment] | None = None
    metadata: Metadata | None = None


class ModifyMessage(Body, frozen=True, kw_only=True):
    """POST /v1/threads/{thread_id}/messages/{message_id}."""

    metadata: Metadata | None = None


class CreateThread(Body, frozen=True, kw_only=True):
    """POST /v1/threads. `user` is the default end-customer of the thread's runs."""

    messages: list[CreateMessage] | None = None
    tool_resources: ToolResources | None = None
    metadata: Metadata | None = None
    user: User | None = None


class ModifyThread(Body, frozen=True, kw_only=True):
    """POST /v1/threads/{thread_id}."""

    metadata: Metadata | None = None
    tool_resources: ToolResources | None = None


class AssistantOptions(Body, frozen=True, kw_only=True):
    """What creating and modifying an assistant share."""

    tools: AssistantTools | None = None
    tool_resources: ToolResources | None = None
    metadata: Metadata | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: ReasoningEffort | None = None


class CreateAssistant(AssistantOptions, frozen=True, kw_only=True):
    """POST /v1/assistants."""

    model: Model
    name: Name | None = None
    description: Description | None = None
    instructions: Text | None = None


class ModifyAssistant(AssistantOptions, frozen=True, kw_only=True):
    """POST /v1/assistants/{assistant_id}: only what is given changes; null clears a text."""

    model: Model | None = None
    name: Name | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    instructions: Text | UnsetType | None = UNSET


class RunOptions(Body, frozen=True, kw_only=True):
    """What both ways to create a run share.

    `user`, `expires_after`, `max_tokens` and `seed` are Ringside's own: who pays, when the run
    expires, the output limit of each model call, and the provider's seed.
    """

    assistant_id: str
    model: Model | None = None
    instructions: Text | None = None
    tools: RunTools | None = None
    metadata: Metadata | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_prompt_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    truncation_strategy: TruncationStrategy | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    user: User | None = None
    expires_after: ExpiresAfter | None = None
    max_tokens: Count | None = None
    seed: int | None = None


class CreateRun(RunOptions, frozen=True, kw_only=True):
    """POST /v1/threads/{thread_id}/runs."""

    reasoning_effort: ReasoningEffort | None = None
    additional_instructions: Text | None = None
    additional_messages: list[CreateMessage] | None = None


class CreateThreadAndRun(RunOptions, frozen=True, kw_only=True):
    """POST /v1/threads/runs."""

    thread: CreateThread | None = None
    tool_resources: ToolResources | None = None


class ModifyRun(Body, frozen=True, kw_only=True):
    """POST /v1/threads/{thread_id}/runs/{run_id}."""

    metadata: Metadata | None = None


class ToolOutput(Body, frozen=True, kw_only=True):
    """What a called function returned; null and absent count as empty."""

    tool_call_id: str
    output: str | None = None


class SubmitToolOutputs(Body, frozen=True, kw_only=True):
    """POST /v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs."""

    tool_outputs: list[ToolOutput]
    stream: bool | None = None


class OpenBody(Struct, frozen=True, kw_only=True):
    """A body that goes on to a provider: keys not named here are the provider's business.

    `apart` names the keys that are not among the call's parameters.
    """

    apart: ClassVar[frozenset[str]]


class StreamOptions(Open, frozen=True, kw_only=True):
    """Whether the last chunk of a stream carries the usage."""

    include_usage: bool | None = None


class ChatFunctionSpec(Open, frozen=True, kw_only=True):
    """A function that the model may call."""

    name: Identifier
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ChatTool(Open, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A tool that the caller runs."""

    function: ChatFunctionSpec


class ChatCustomTool(Open, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A tool that is called with a text; understood, so that it can be refused by name."""


ChatTools: TypeAlias = Annotated[
    list[ChatTool | ChatCustomTool | CodeInterpreterTool | FileSearchTool], Meta(max_length=128)
]


class ChatCompletion(OpenBody, frozen=True, kw_only=True):
    """POST /v1/chat/completions: what is looked into on the way to a provider, and no more."""

    apart = frozenset({"model", "stream", "stream_options", "user"})

    model: Model
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: User | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    n: Count | None = None
    tools: ChatTools | None = None
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: JSONObjectFormat | JSONSchemaFormat | TextFormat | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    logit_bias: dict[str, Any] | None = None
    reasoning_effort: ReasoningEffort | None = None
    thinking: dict[str, Any] | None = None
    thinking_budget: int | None = None
    service_tier: str | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    top_k: float | None = None
    provider: dict[str, Any] | None = None


class Embeddings(OpenBody, frozen=True, kw_only=True):
    """POST /v1/embeddings: what routing and the form of the answer depend on."""

    apart = frozenset({"model", "input", "user"})

    model: Model
    input: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[str | int | list[int]], Meta(min_length=1)]
    )
    user: User | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Count | None = None
