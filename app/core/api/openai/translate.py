"""From OpenAI's requests to the node's own. Pure; raises InvalidRequest with the field to blame."""

from collections.abc import Iterable
from typing import Final

import msgspec

from app.core.api.openai import schema
from app.core.kernel.errors import InvalidRequest, Unsupported
from app.core.kernel.generation import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Gbnf,
    Grammar,
    JsonObject,
    JsonSchema,
    Message,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
)

DEFAULT_MAX_TOKENS: Final = 2048
MAX_MAX_TOKENS: Final = 32_768
SEEDS: Final = (1 << 32) - 1
NO_PARAMETERS: Final = '{"type": "object", "properties": {}}'


def chat_request(body: schema.ChatBody) -> ChatRequest:
    """The conversation that `body` asks to continue."""
    if body.functions is not None:
        raise Unsupported("'functions' was replaced by 'tools'; use 'tools'.", param="functions")
    if body.modalities is not None and "audio" in body.modalities:
        raise Unsupported("This node answers with text only.", param="modalities")
    tools = tuple(_tool(tool) for tool in body.tools or ())
    return ChatRequest(
        model=body.model,
        messages=tuple(_message(message, index) for index, message in enumerate(body.messages)),
        sampling=_sampling(
            body,
            max_tokens=body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
            logprobs=_chat_logprobs(body),
            grammar=_grammar(body.response_format, body.grammar),
        ),
        tools=tools,
        tool_choice=_tool_choice(body.tool_choice, tools),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        n=body.n or 1,
        session_id=body.session_id,
        template_options=_template_options(body),
    )


def completion_requests(body: schema.CompletionBody) -> tuple[CompletionRequest, ...]:
    """One request for each prompt of `body`."""
    if body.suffix:
        raise Unsupported("Text between a prompt and a suffix cannot be generated.", param="suffix")
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise Unsupported("'best_of' is not supported; use 'n' and choose.", param="best_of")
    sampling = _sampling(
        body, max_tokens=body.max_tokens, logprobs=body.logprobs, grammar=_grammar(None, body.grammar)
    )
    return tuple(
        CompletionRequest(
            model=body.model, prompt=text, sampling=sampling, n=body.n or 1, echo=body.echo is True
        )
        for text in _texts(body.prompt)
    )


def embedding_request(body: schema.EmbeddingBody) -> EmbeddingRequest:
    inputs = _texts(body.input)
    if any(not text for text in inputs):
        raise InvalidRequest("'input' cannot be an empty string.", param="input")
    return EmbeddingRequest(model=body.model, inputs=inputs)


def _texts(value: str | list[int] | list[str] | list[list[int]]) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(value, str):
        return (value,)
    numbers = [item for item in value if isinstance(item, int)]
    if numbers:
        return (tuple(numbers),)
    return tuple(
        item if isinstance(item, str) else tuple(item) for item in value if not isinstance(item, int)
    )


def _sampling(
    body: schema.SamplingBody, *, max_tokens: int | None, logprobs: int | None, grammar: Grammar | None
) -> Sampling:
    """Options that were not given keep the kernel's neutral values."""
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    names = (
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "typical_p",
        "repeat_penalty",
        "repeat_last_n",
        "frequency_penalty",
        "presence_penalty",
        "ignore_eos",
    )
    given = {name: value for name in names if (value := getattr(body, name)) is not None}
    return Sampling(
        **given,
        seed=None if body.seed is None else body.seed % SEEDS,
        logit_bias={int(token): bias for token, bias in (body.logit_bias or {}).items()},
        stop=stop,
        max_tokens=_clamp(DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens),
        logprobs=logprobs,
        grammar=grammar,
    )


def _clamp(max_tokens: int) -> int:
    return max(1, min(max_tokens, MAX_MAX_TOKENS))


def _chat_logprobs(body: schema.ChatBody) -> int | None:
    if not body.logprobs:
        if body.top_logprobs:
            raise InvalidRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
        return None
    return body.top_logprobs or 0


def _grammar(response_format: schema.ResponseFormat | None, gbnf: str | None) -> Grammar | None:
    kind = response_format.type if response_format else "text"
    if gbnf is not None:
        if kind != "text":
            raise InvalidRequest("Give either 'grammar' or 'response_format', not both.", param="grammar")
        return Gbnf(gbnf)
    if kind == "json_object":
        return JsonObject()
    if response_format is None or kind == "text":
        return None
    if response_format.json_schema is None:
        raise InvalidRequest(
            "Missing required parameter: 'response_format.json_schema'.", param="response_format.json_schema"
        )
    return JsonSchema(_json(response_format.json_schema.schema_ or {}))


def _template_options(body: schema.ChatBody) -> dict[str, bool | int | float | str]:
    options: dict[str, bool | int | float | str] = {}
    if body.reasoning_effort is not None:
        options["reasoning_effort"] = body.reasoning_effort
        options["enable_thinking"] = body.reasoning_effort != "none"
    return options | (body.chat_template_kwargs or {})


def _tool(tool: schema.Tool) -> Tool:
    function = tool.function
    parameters = NO_PARAMETERS if function.parameters is None else _json(function.parameters)
    return Tool(name=function.name, description=function.description or "", parameters=parameters)


def _tool_choice(choice: str | schema.NamedToolChoice | None, tools: Iterable[Tool]) -> ToolChoice:
    match choice:
        case None | "auto":
            return ToolChoice()
        case "none":
            return ToolChoice(mode="none")
        case "required":
            if not tuple(tools):
                raise InvalidRequest(
                    "'tool_choice' is only allowed together with 'tools'.", param="tool_choice"
                )
            return ToolChoice(mode="required")
        case schema.NamedToolChoice(function=function):
            if all(tool.name != function.name for tool in tools):
                raise InvalidRequest(
                    "'tool_choice' names a function that is not among 'tools'.", param="tool_choice"
                )
            return ToolChoice(mode="named", name=function.name)
        case _:
            raise InvalidRequest("'tool_choice' is not one that this node knows.", param="tool_choice")


def _message(message: schema.Message, index: int) -> Message:
    content = _text(message.content, f"messages[{index}].content")
    if message.content is None and message.role != "assistant":
        raise InvalidRequest(
            f"Missing required parameter: 'messages[{index}].content'.", param=f"messages[{index}].content"
        )
    if message.role == "tool" and message.tool_call_id is None:
        raise InvalidRequest(
            f"Missing required parameter: 'messages[{index}].tool_call_id'.",
            param=f"messages[{index}].tool_call_id",
        )
    return Message(
        role="system" if message.role == "developer" else message.role,
        content=content,
        reasoning=message.reasoning_content,
        tool_calls=tuple(
            ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
            for call in message.tool_calls or ()
        ),
        tool_call_id=message.tool_call_id,
        name=message.name,
    )


def _text(content: schema.Content | None, param: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(_part(part, f"{param}[{index}]") for index, part in enumerate(content))


def _part(part: schema.ContentPart, param: str) -> str:
    if part.type not in ("text", "refusal"):
        raise Unsupported(
            f"Parts of type '{part.type}' are unsupported: this node reads text only.", param=param
        )
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise InvalidRequest(
            f"Missing required parameter: '{param}.{part.type}'.", param=f"{param}.{part.type}"
        )
    return text


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
