"""Chat formats: from a conversation to a prompt, and from an answer's text back to its parts. Pure."""

from app.core.engine.chat.families import detect_family
from app.core.engine.chat.grammar import ToolGrammar, grammar
from app.core.engine.chat.parser import AnswerParser, random_call_id
from app.core.engine.chat.prompt import PreparedPrompt, prepare

__all__ = [
    "AnswerParser",
    "PreparedPrompt",
    "ToolGrammar",
    "detect_family",
    "grammar",
    "prepare",
    "random_call_id",
]
