"""What is uploaded to the Hugging Face Hub, and what is told if that fails. A local port stands for the Hub."""

import base64
import json
from http.server import BaseHTTPRequestHandler

import pytest
from huggingface_hub import constants

from grpo_jax.commands import export
from grpo_jax.config import ConfigError
from grpo_jax.hub import check_name, check_new, upload
from tests.loopback import served

NAME = "ada/two-grpo"
TOKEN = "hf_of_a_test"


class FakeHub:
    """Has no repositories at first, and takes all that is uploaded. `refuses` are statuses by the end of a path."""

    def __init__(self):
        self.refuses: dict[str, int] = {f"/api/models/{NAME}": 404}
        self.made: list[dict[str, object]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str] = set()

    def answer(self, path: str, body: bytes) -> dict[str, object]:
        if path.endswith("/repos/create"):
            self.made.append(json.loads(body))
            return {"url": f"https://huggingface.co/{NAME}"}
        if "/preupload/" in path:
            files = [file["path"] for file in json.loads(body)["files"]]
            return {"files": [{"path": file, "uploadMode": "regular", "shouldIgnore": False} for file in files]}
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return {"commitUrl": f"https://huggingface.co/{NAME}/commit/0", "commitOid": "0" * 40, "success": True}
        return {"id": NAME}


def handler_of(hub):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            path = self.path.partition("?")[0]
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if NAME in path:  # the library also asks for things that need no token
                hub.tokens.add(self.headers["Authorization"])
            status = next((status for end, status in hub.refuses.items() if path.endswith(end)), 200)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(hub.answer(path, body) if status == 200 else {"error": "no"}).encode())

        do_GET = do_POST  # noqa: N815 - the names that the server looks for

        def log_message(self, *arguments):
            pass

    return Handler


@pytest.fixture
def hub(monkeypatch):
    hub = FakeHub()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with served(handler_of(hub)) as address:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://{address}")
        yield hub


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / "exported models"
    directory.mkdir()
    (directory / "README.md").write_text("---\nlicense: unknown\n---\n# Title\n")
    (directory / "model.safetensors").write_bytes(bytes(range(256)))
    return directory


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize(("public", "visibility"), [(False, "private"), (True, "public")])
def test_a_whole_directory_goes_to_a_new_repository(hub, directory, public, visibility):
    before = contents(directory)
    check_new(NAME)
    assert hub.made == []  # a check makes nothing
    assert upload(directory, NAME, public=public, message="The policy of step 4").endswith(f"/{NAME}")
    assert hub.made == [{"name": "two-grpo", "organization": "ada", "visibility": visibility}]
    assert hub.files == before == contents(directory)
    assert hub.tokens == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("name", ["two-grpo", "ada/two/grpo", "ada/two grpo", "", "/", "ada/", "https://hub/ada/x"])
def test_a_name_of_another_form_is_refused(name):
    with pytest.raises(ConfigError, match="is not the name of a repository; write owner/name"):
        check_name(name)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (200, "a repository of this name exists already; name another."),
        (401, "the Hub does not accept the token; make another at https://huggingface.co/settings/tokens."),
        (403, "the token may not write there; name an owner for whom it may, or use another token."),
        (418, r"the Hub refuses it \(.*418.*\)\."),
    ],
)
def test_what_the_hub_says_against_it_is_reported_before_anything_is_computed(hub, status, sentence):
    hub.refuses[f"/api/models/{NAME}"] = status
    with pytest.raises(ConfigError, match=rf"^{NAME}: {sentence}$"):
        check_new(NAME)


def test_without_a_token_or_a_network_it_is_reported(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=rf"^{NAME}: the Hub cannot be reached \(.*Connection refused\); connect, or"):
        check_new(NAME)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=rf"^{NAME}: there is no token; set HF_TOKEN to one that may write, or run"):
        check_new(NAME)


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/repos/create", 403, "the token may not write there; name an owner for whom it may, or use another token"),
        ("/repos/create", 409, "a repository of this name exists already; name another"),
        ("/validate-yaml", 400, "the upload has failed (Invalid metadata in README.md"),
        ("/commit/main", 418, "the Hub refuses it ("),
    ],
)
def test_an_export_outlives_a_failed_upload(hub, directory, path, status, sentence, capsys):
    hub.refuses[path] = status
    before = contents(directory)
    assert export._push(directory, NAME, public=False, step=4) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: --push={NAME}: {sentence}")
    assert error.endswith(f"{directory} is complete, and `hf upload {NAME} '{directory}' . --private` uploads it.")
    assert contents(directory) == before
