"""Starting, failing to load, and ending of the worker process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from app.core.engine.framing import PREFIX
from app.core.engine.messages import Failed, Generate, Loaded, Ping, Pong, Progress, Shutdown, TextPrompt
from app.core.kernel.generation import Gbnf, Sampling
from tests.support.worker_client import Worker, WorkerEnded, load_command, whole
from tests.support.worker_models import Shape, cut, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("lifecycle") / "model.gguf")


def test_loading_tells_progress_and_then_what_was_loaded(model: Path) -> None:
    with Worker() as worker:
        worker.send(load_command(whole(model)))
        reports = [worker.receive()[0]]
        while not isinstance(reports[-1], Loaded):
            reports.append(worker.receive()[0])
    fractions = [report.fraction for report in reports if isinstance(report, Progress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    info = reports[-1].info
    assert (info.name, info.architecture, info.n_layers, info.n_embd, info.n_vocab) == (
        "tiny",
        "llama",
        4,
        64,
        512,
    )
    assert (info.bos_token, info.eos_token, info.gpu_layers) == ("<s>", "</s>", 0)
    assert info.memory_bytes > info.size_bytes > 700_000
    assert reports[-1].warning is None


@pytest.mark.parametrize("keep", [0, 24, 200_000])
def test_a_truncated_file_is_refused(model: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(model.read_bytes()[:keep])
    with Worker() as worker:
        worker.send(load_command(whole(path)))
        failed = worker.expect(Failed)
        assert (failed.request, failed.code) == (0, "load_failed")
        assert worker.process.wait(10) == 1


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with Worker() as worker:
        worker.send(load_command(whole(tmp_path / "none.gguf")))
        assert worker.expect(Failed).code == "load_failed"


@pytest.mark.slow
def test_a_flipped_header_ends_in_a_refusal_or_in_the_worker_alone(model: Path, tmp_path: Path) -> None:
    raw = bytearray(model.read_bytes())
    for at in (5, 9, 17, 60, 300):
        flipped = bytes(raw[:at]) + bytes([raw[at] ^ 0x80]) + bytes(raw[at + 1 :])
        path = tmp_path / f"{at}.gguf"
        path.write_bytes(flipped)
        with Worker() as worker:
            worker.send(load_command(whole(path)))
            try:
                assert isinstance(worker.expect((Failed, Loaded)), Failed | Loaded)
            except WorkerEnded:
                assert worker.process.wait(10) != 0


def test_a_window_without_the_name_of_its_output_is_refused(model: Path, tmp_path: Path) -> None:
    window = cut(model, tmp_path / "slice.gguf", 1, 3, total=4)
    nameless = msgspec.structs.replace(window, capture=None)
    with Worker() as worker:
        worker.send(load_command(nameless))
        assert worker.expect(Failed).code == "load_failed"


def test_a_context_that_cannot_fit_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    huge = write_model(tmp_path / "huge.gguf", Shape(context=1 << 30))
    with Worker() as worker:
        worker.send(load_command(whole(huge), context_tokens=1 << 29, slots=4))
        assert worker.expect(Failed).code == "out_of_memory"


def test_commands_before_load_are_answered(model: Path) -> None:
    with Worker() as worker:
        worker.send(Ping(request=3))
        assert worker.expect(Pong).request == 3
        worker.send(Generate(request=4, prompt=TextPrompt(text="a"), sampling=Sampling()))
        assert worker.expect(Failed).request == 4
        worker.load(whole(model))
        assert worker.generate("abc").failed is None


def test_shutdown_ends_the_process_even_while_it_decodes(model: Path) -> None:
    with Worker() as worker:
        worker.load(whole(model))
        worker.start("abc", max_tokens=400, ignore_eos=True)
        worker.send(Shutdown())
        assert worker.process.wait(10) == 0


def test_a_frame_that_is_no_command_ends_the_process(model: Path) -> None:
    with Worker() as worker:
        worker.load(whole(model))
        worker.socket.sendall(PREFIX.pack(3, 0) + b"\xc1\xc1\xc1")
        assert worker.process.wait(10) == 0


@pytest.mark.slow
def test_a_grammar_that_llama_cpp_does_not_come_back_from_ends_the_worker_and_is_named(model: Path) -> None:
    with Worker() as worker:
        worker.load(whole(model))
        alike = " | ".join(["[^x] root"] * 2000)
        (answer,) = worker.collect(worker.start("abc", grammar=Gbnf(f"root ::= {alike}"), temperature=1.0))
        assert (answer.failed.code, answer.failed.param) == ("invalid_grammar", "grammar")
        assert worker.process.wait(10) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_the_death_of_the_node_ends_the_worker(model: Path) -> None:
    script = (
        "import sys, time\n"
        "from tests.support.worker_client import Worker, whole\n"
        "worker = Worker()\n"
        f"worker.load(whole({str(model)!r}))\n"
        "worker.start('abc', max_tokens=400, ignore_eos=True)\n"
        "print(worker.process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    node = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    worker = int(node.stdout.readline())
    os.kill(node.pid, signal.SIGKILL)
    node.wait()
    node.stdout.close()
    assert _ended(worker)


def _ended(pid: int) -> bool:

    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
