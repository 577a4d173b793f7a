"""The tests' own hub is one: Hugging Face's client works with it, downloads, tokens and all."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hub_server import TOKEN, HubServer, Repo

SCRIPT = """
import json, sys
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, EntryNotFoundError
folder, token = sys.argv[1:]
api = HfApi()
answer = {
    "found": [model.id for model in api.list_models(search="tiny", filter="gguf", sort="downloads")],
    "files": sorted(api.list_repo_files("owner/tiny-gguf")),
    "sizes": {
        entry.path: [entry.size, entry.lfs.sha256 if entry.lfs else None]
        for entry in api.list_repo_tree("owner/tiny-gguf", recursive=True)
        if hasattr(entry, "size")
    },
    "path": hf_hub_download("owner/tiny-gguf", "sub/tiny.Q8_0.gguf", cache_dir=folder),
    "gated": hf_hub_download("owner/tiny-gated", "tiny.gguf", cache_dir=folder, token=token),
}
for name, repo, file in (("gate", "owner/tiny-gated", "tiny.gguf"), ("gone", "owner/none", "tiny.gguf"),
                         ("missing", "owner/tiny-gguf", "none.gguf")):
    try:
        hf_hub_download(repo, file, cache_dir=folder + "/other", token=False)
    except (GatedRepoError, RepositoryNotFoundError, EntryNotFoundError) as error:
        answer[name] = type(error).__name__
print(json.dumps(answer))
"""


def read(path: str) -> bytes:
    return Path(path).read_bytes()


@pytest.mark.slow
async def test_hugging_faces_own_client_works_with_the_server(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    repos = {
        "owner/tiny-gguf": Repo(files={"README.md": b"hi", "sub/tiny.Q8_0.gguf": content}),
        "owner/tiny-gated": Repo(files={"tiny.gguf": content[:1000]}, gated=True),
        "owner/other": Repo(files={"x.bin": b"x"}, tags=("pytorch",)),
    }
    async with HubServer(repos) as hub:
        environ = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", SCRIPT, str(tmp_path / "cache"), TOKEN],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        answer = json.loads(done.stdout.splitlines()[-1])
        assert answer["found"] == ["owner/tiny-gguf", "owner/tiny-gated"]
        assert answer["files"] == ["README.md", "sub/tiny.Q8_0.gguf"]
        assert answer["sizes"]["sub/tiny.Q8_0.gguf"][0] == 300_000
        assert [read(answer["path"]), read(answer["gated"])] == [content, content[:1000]]
        assert (answer["gate"], answer["gone"]) == ("GatedRepoError", "RepositoryNotFoundError")
        assert answer["missing"].endswith("EntryNotFoundError")
