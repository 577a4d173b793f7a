"""`swarmllm chat`: one question, or a conversation."""

import argparse
import asyncio
import sys

from app.cli import exits
from app.cli.chat.conversation import Conversation
from app.cli.chat.lines import LineInput
from app.cli.chat.session import ChatSession
from app.cli.host import Host
from app.cli.parser import flags_of
from app.cli.terminal import note

STDIN = "-"
MAX_STDIN = 1 << 22


def run(arguments: argparse.Namespace, host: Host) -> int:
    flags = flags_of(arguments)
    connection = host.connection(flags)
    with asyncio.Runner() as runner:
        session = ChatSession(
            connection=connection,
            conversation=Conversation.opened(arguments.history, system=arguments.system),
            model=arguments.model_name,
            max_tokens=arguments.max_tokens,
            temperature=arguments.temperature,
            run=runner.run,
        )
        question = _question(arguments.message)
        if question is not None:
            return session.answer_once(question)
        note("Ask away. /help lists the commands, Ctrl-C stops an answer, Ctrl-D ends the chat.")
        with LineInput(host.data_dir(flags) / "chat_input") as lines:
            session.talk(lines)
    return exits.OK


def _question(message: str | None) -> str | None:
    """What to ask without a conversation; None where a person sits at the terminal."""
    if message == STDIN or (message is None and not sys.stdin.isatty()):
        return sys.stdin.read(MAX_STDIN)
    return message
