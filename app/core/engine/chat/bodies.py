"""Calls inside of a marker and its closer, in the notations that are not JSON objects."""

import ast
import json
import re
import warnings
from collections.abc import Sequence
from typing import Any, Final

from app.core.engine.chat.jsonscan import arguments_text, calls_in
from app.core.kernel.generation import Tool

GEMMA_CALL: Final = re.compile(r"\s*call:([\w.\-]+)\s*(\{.*\})\s*\Z", re.DOTALL)
GEMMA_TOKEN: Final = re.compile(
    r'<\|"\|>(?P<marked>.*?)<\|"\|>|"(?:\\.|[^"\\])*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])'
    r"|(?P<word>[^\s{}\[\],:\"<]+)|[{}\[\],:]|\s+|.",
    re.DOTALL,
)
INVOKE: Final = re.compile(r"<\S{0,32}?invoke name=\"([^\"]{1,256})\">")
INVOKE_END: Final = re.compile(r"</\S{0,32}?invoke>")
INVOKE_PARAMETER: Final = re.compile(r"<\S{0,32}?parameter name=\"([^\"]{1,256})\"[^>]{0,256}>")
INVOKE_PARAMETER_END: Final = re.compile(r"</\S{0,32}?parameter>")
CONSTANTS: Final = {
    "true": "true",
    "false": "false",
    "null": "null",
    "True": "true",
    "False": "false",
    "None": "null",
}
MAX_CODE: Final = 1 << 16
INTERPRETERS: Final = ("python", "ipython", "code_interpreter")
BUILT_IN: Final = re.compile(r"\s*(\w+)\.call\((.*)\)\s*\Z", re.DOTALL)
FUNCTION: Final = re.compile(r"\s*(?:<function=)?([\w.\-]+)>?")
PARAMETER: Final = re.compile(r"<parameter=([^>\s]{1,256})>\n?")
PARAMETER_END: Final = re.compile(r"\n?</parameter>")
ARGUMENT: Final = re.compile(r"<arg_key>\s*([^<]{1,256}?)\s*</arg_key>\s*<arg_value>\n?")
ARGUMENT_END: Final = re.compile(r"\n?</arg_value>")


def markup_calls(body: str, tools: Sequence[Tool]) -> list[tuple[str, str]]:
    """Calls written as `<function=f><parameter=p>v</parameter></function>` (Qwen3 Coder), as
    `<function=f>{...}</function>` (Functionary), as `f<arg_key>p</arg_key><arg_value>v</arg_value>` (GLM) or
    as `<invoke name="f"><parameter name="p">v</parameter></invoke>` (MiniMax, DeepSeek from V3.2 on), as
    `[f(p="v")]` (LFM2), as `call:f{p:<|"|>v<|"|>}` (Gemma 4); values without a type of their own get their
    parameter's.
    """
    if gemma := GEMMA_CALL.match(body):
        return gemma_call(*gemma.groups())
    if invoked := _enclosed(body, INVOKE, INVOKE_END):
        return [
            (name, _arguments(name, _enclosed(inside, INVOKE_PARAMETER, INVOKE_PARAMETER_END), tools))
            for name, inside in invoked
        ]
    if body.lstrip().startswith("["):
        return calls_in(body, None) or listed_calls(body)
    found = FUNCTION.match(body)
    if not found:
        return calls_in(body, None) or []
    name, inside = found.group(1), body[found.end() :].strip().removesuffix("</function>").strip()
    known = {tool.name for tool in tools}
    if inside.startswith("{"):
        arguments_given = arguments_text(inside)
        return [(name, arguments_given)] if arguments_given else []
    pairs = _enclosed(inside, PARAMETER, PARAMETER_END) or _enclosed(inside, ARGUMENT, ARGUMENT_END)
    if not pairs and (inside or not (body.lstrip().startswith("<function=") or name in known)):
        return []
    return [(name, _arguments(name, pairs, tools))]


def _enclosed(text: str, opener: re.Pattern[str], closer: re.Pattern[str]) -> list[tuple[str, str]]:
    """The opener's group and what is between it and the next closer, for each of them; in linear time."""
    found: list[tuple[str, str]] = []
    at = 0
    while begin := opener.search(text, at):
        end = closer.search(text, begin.end())
        if end is None:
            break
        found.append((begin.group(1), text[begin.end() : end.start()]))
        at = end.end()
    return found


def _arguments(name: str, pairs: Sequence[tuple[str, str]], tools: Sequence[Tool]) -> str:
    types = _types(name, tools)
    return json.dumps({key: _typed(text, types.get(key)) for key, text in pairs}, ensure_ascii=False)


def python_calls(body: str, tools: Sequence[Tool]) -> list[tuple[str, str]]:
    """Calls as Llama 3 writes those of its built-in tools: `name.call(key="value")`, or plain code for
    the tool that runs Python.
    """
    found = BUILT_IN.match(body)
    if found:
        return listed_calls(f"[{found.group(1)}({found.group(2)})]")
    interpreter = next((tool.name for tool in tools if tool.name in INTERPRETERS), None)
    return [(interpreter, json.dumps({"code": body}, ensure_ascii=False))] if interpreter else []


def listed_calls(body: str) -> list[tuple[str, str]]:
    """Calls written as a Python list `[f(a=1), g()]`, all of their arguments being named constants."""
    if len(body) > MAX_CODE:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            listed = ast.parse(body.strip(), mode="eval").body
        return [_python_call(each) for each in listed.elts] if isinstance(listed, ast.List) else []
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return []


def _python_call(node: ast.expr) -> tuple[str, str]:
    if not isinstance(node, ast.Call) or node.args:
        raise TypeError("not a call with named arguments")
    arguments = {str(each.arg): ast.literal_eval(each.value) for each in node.keywords}
    return ast.unparse(node.func), json.dumps(arguments, ensure_ascii=False)


def gemma_call(name: str, arguments: str) -> list[tuple[str, str]]:
    """Gemma 4's notation is JSON with bare keys, marked strings and Python's constants."""
    parts = [_as_json(found) for found in GEMMA_TOKEN.finditer(arguments)]
    text = arguments_text("".join(parts))
    return [(name, text)] if text is not None else []


def _as_json(found: re.Match[str]) -> str:
    if found.group("marked") is not None:
        return json.dumps(found.group("marked"), ensure_ascii=False)
    if found.group("word") is not None:
        return CONSTANTS.get(found.group("word")) or json.dumps(found.group("word"), ensure_ascii=False)
    return found.group()


def _types(name: str, tools: Sequence[Tool]) -> dict[str, Any]:
    for tool in tools:
        if tool.name == name:
            try:
                properties = json.loads(tool.parameters).get("properties", {})
                return {key: schema.get("type") for key, schema in properties.items()}
            except (ValueError, AttributeError):
                return {}
    return {}


def _typed(text: str, kind: Any) -> Any:
    if kind == "string":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
