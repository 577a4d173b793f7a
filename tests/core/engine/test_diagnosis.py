import pytest

from app.core.engine.diagnosis import died_at_work, died_while_loading
from app.core.kernel.errors import LoadFailed, OutOfMemory


@pytest.mark.parametrize(
    ("status", "lines", "kind", "words"),
    [
        (-6, ["loading", "GGML_ASSERT(x) failed", ""], LoadFailed, "crashed (SIGABRT)"),
        (-6, ["loading", "GGML_ASSERT(x) failed"], LoadFailed, "llama.cpp said: GGML_ASSERT(x) failed."),
        (-11, [], LoadFailed, "crashed (SIGSEGV)"),
        (-9, [], OutOfMemory, "not enough memory"),
        (1, ["MemoryError"], OutOfMemory, "not enough memory"),
        (-6, ["ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer"], OutOfMemory, "memory"),
        (1, ["ModuleNotFoundError: No module named 'llama_cpp'"], LoadFailed, "No module named 'llama_cpp'."),
        (3, ["x"], LoadFailed, "ended with status 3"),
        (None, [], LoadFailed, "closed its connection"),
        (-250, [], LoadFailed, "signal 250"),
    ],
)
def test_the_end_of_a_loading_worker_is_explained(
    status: int | None, lines: list[str], kind: type[Exception], words: str
) -> None:
    error = died_while_loading("m", status, lines)
    assert type(error) is kind
    assert words in error.message
    assert error.message.endswith(".")


def test_what_llama_said_is_quoted_in_bounds() -> None:
    assert len(died_while_loading("m", -6, ["error " + "x" * 5000]).message) < 500


def test_folders_are_nobodys_business() -> None:
    message = died_while_loading(
        "m", -6, ["/tmp/build/src/llama-vocab.cpp:2544: GGML_ASSERT(a/b == c) failed"]
    ).message
    assert message.endswith("llama.cpp said: llama-vocab.cpp:2544: GGML_ASSERT(a/b == c) failed.")


def test_the_end_of_a_working_worker_asks_to_try_again() -> None:
    assert "was killed (SIGKILL)" in died_at_work("m", -9).message
    assert "send the request again" in died_at_work("m", 1).message
