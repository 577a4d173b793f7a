import sys

from app.core.engine.process import MAX_LINE, TAIL_LINES, Process, worker_environment


def test_workers_see_nothing_of_the_nodes_options_and_spin_within_bounds() -> None:
    seen = worker_environment({"PATH": "/bin", "SWARMLLM_VAULT_PASSPHRASE": "secret", "GOMP_SPINCOUNT": "7"})
    assert "secret" not in seen.values()
    assert (seen["PATH"], seen["GOMP_SPINCOUNT"]) == ("/bin", "7")
    assert (
        not {"HF_TOKEN", "CREDENTIALS_DIRECTORY"}
        & worker_environment({"HF_TOKEN": "hf_secret", "CREDENTIALS_DIRECTORY": "/run/credentials"}).keys()
    )
    assert worker_environment({})["GOMP_SPINCOUNT"] == "10000"


async def test_the_last_lines_of_stderr_are_kept_in_bounds() -> None:
    script = (
        "import sys\nfor n in range(2000): sys.stderr.write(f'line {n}\\n')\nsys.stderr.write('x' * 100000)"
    )
    process = Process(name="noisy", command=[sys.executable, "-c", script])
    (await process.start()).close()
    assert process.pid > 0
    assert await process.ended(10) == 0
    assert len(process.last_lines) == TAIL_LINES
    assert {len(line) for line in process.last_lines} == {MAX_LINE}


async def test_one_that_does_not_end_is_killed() -> None:
    process = Process(name="stubborn", command=[sys.executable, "-c", "import time; time.sleep(60)"])
    (await process.start()).close()
    assert await process.ended(0.05) == -9
