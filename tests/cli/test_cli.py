"""The command ``ollama-ext``: each verb in a pipe, as JSON and on a terminal, and how it ends."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext import __version__
from ollama_ext.cli.output import moment, printable, size
from ollama_ext.testing import FakeOllama, Json, Lines, Recording

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Command, OnTerminal

CHAT = "/api/chat"
CREATED = Lines({"status": "writing manifest"}, {"status": "success"})


def body(server: FakeOllama, index: int = -1) -> Any:
    """Return the JSON of a request."""
    return server.requests[index].json()


# -- in a pipe, and as JSON


@pytest.mark.parametrize("verb", ["list", "ls"])
def test_list_is_a_line_for_each_model(command: Command, verb: str) -> None:
    done = command(verb)
    lines = done.out.splitlines()
    assert lines[0].split("\t") == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert any(line.startswith("smollm2:135m\t") for line in lines)
    assert done.code == 0


def test_ps_tells_what_is_loaded(server: FakeOllama, command: Command) -> None:
    server.on("GET", "/api/ps", Recording("ps-loaded"))
    assert command("ps").out.startswith("NAME\tID\tSIZE\tPROCESSOR\tCONTEXT\tUNTIL\n")
    assert "% CPU" in command("ps").out


def test_show_has_sections(command: Command) -> None:
    shown = command("show", "smollm2:135m").out
    assert "  Model\n    architecture        llama\n" in shown
    assert "  Capabilities\n    completion\n" in shown


@pytest.mark.parametrize("part", ["modelfile", "parameters", "template", "license", "system"])
def test_show_prints_one_part_only(server: FakeOllama, command: Command, part: str) -> None:
    server.on(
        "POST", "/api/show", Json({"details": {}, "model_info": {}, "modified_at": "", part: "the text"})
    )
    server.on(
        "POST",
        "/api/show",
        Json(
            {
                "details": {
                    "parent_model": "",
                    "format": "gguf",
                    "family": "llama",
                    "families": None,
                    "parameter_size": "",
                    "quantization_level": "",
                },
                "model_info": {},
                "modified_at": "",
                part: "the text",
            }
        ),
    )
    assert command("show", "m", f"--{part}").out == "the text\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("ps",),
        ("show", "smollm2:135m"),
        ("chat", "llama3.2", "Hello"),
        ("embed", "all-minilm", "red"),
        ("doctor",),
        ("load", "llama3.2"),
        ("stop", "llama3.2"),
    ],
)
def test_json_is_one_document_and_nothing_else(command: Command, arguments: tuple[str, ...]) -> None:
    done = command(*arguments, "--json")
    json.loads(done.out)
    assert (done.code, done.err) == (0, "")


def test_chat_writes_the_answer_and_nothing_of_the_thinking(server: FakeOllama, command: Command) -> None:
    recorded = Recording("chat-stream-thinking")
    server.on("POST", CHAT, recorded)
    done = command("chat", "smol-think", "Why", "so?", "--think")
    assert "<think>" not in done.out
    assert done.out.strip()
    assert body(server)["messages"] == [{"role": "user", "content": "Why so?"}]
    assert body(server)["think"] is True


def test_what_is_piped_in_is_asked_after_the_prompt(server: FakeOllama, command: Command) -> None:
    command("chat", "llama3.2", "Summarise:", stdin="a long text\n")
    assert body(server)["messages"][0]["content"] == "Summarise:\n\na long text\n"
    command("chat", "llama3.2", stdin="only this")
    assert body(server)["messages"][0]["content"] == "only this"


def test_options_and_the_rest_reach_the_server(server: FakeOllama, command: Command, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}', encoding="utf-8")
    image = tmp_path / "picture.png"
    image.write_bytes(b"png")
    server.on("POST", CHAT, Recording("chat-stream"))
    command(
        *("chat", "llama3.2", "Hi", "-o", "temperature=0.5", "-o", "stop=END", "-o", "seed=1"),
        *("--system", "Be brief.", "--format", str(schema), "--keep-alive", "60", "--no-think"),
        *("--image", str(image)),
    )
    sent = body(server)
    assert sent["options"] == {"temperature": 0.5, "stop": ["END"], "seed": 1}
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi", "images": ["cG5n"]},
    ]
    assert (sent["format"], sent["keep_alive"], sent["think"]) == ({"type": "object"}, 60, False)


def test_a_tool_call_is_a_line_of_json(server: FakeOllama, command: Command) -> None:
    server.on("POST", CHAT, Recording("chat-stream-tools"))
    first = command("chat", "smol-tools", "Weather?").out.splitlines()[0]
    assert json.loads(first)["function"]["name"] == "get_weather"


def test_stats_go_to_the_standard_error(command: Command) -> None:
    done = command("chat", "llama3.2", "Hi", "--stats")
    assert "tokens in" in done.err
    assert "tokens in" not in done.out


def test_embed_is_a_vector_for_each_line(command: Command) -> None:
    vectors = [
        json.loads(line) for line in command("embed", "all-minilm", stdin="red\ngreen\n").out.splitlines()
    ]
    assert [len(vector) for vector in vectors] == [384, 384]


@pytest.mark.parametrize("verb", ["pull", "push"])
def test_a_transfer_tells_each_step_once(server: FakeOllama, command: Command, verb: str) -> None:
    server.on("POST", f"/api/{verb}", Recording(f"{verb}-registry-stream"))
    done = command(verb, "m", "--insecure")
    lines = done.out.splitlines()
    assert lines[-1] == "success"
    statuses = [line.split(" of ")[0] for line in lines]
    assert len(statuses) == len(set(statuses))
    assert body(server)["insecure"] is True


def test_a_transfer_as_json_is_a_line_for_each_step(server: FakeOllama, command: Command) -> None:
    server.on("POST", "/api/pull", Recording("pull-registry-progress"))
    steps = [json.loads(line) for line in command("pull", "m", "--json").out.splitlines()]
    assert steps[-1]["status"] == "success"
    assert steps[-1]["overall"]["fraction"] == 1.0


def test_create_takes_the_modelfile_that_is_there(
    server: FakeOllama, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("POST", "/api/create", CREATED)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Modelfile").write_text("FROM llama3.2\nSYSTEM Be brief.\n", encoding="utf-8")
    assert command("create", "mine").code == 0
    assert body(server)["from"] == "llama3.2"
    assert body(server)["system"] == "Be brief."


def test_create_without_anything_to_create_from_says_what_to_pass(
    server: FakeOllama, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("create", "mine")
    assert (done.code, server.requests) == (2, [])
    assert "--from" in done.err


def test_create_uploads_weights(server: FakeOllama, command: Command, tmp_path: Path) -> None:
    server.on("POST", "/api/create", CREATED)
    weights = tmp_path / "tiny.gguf"
    weights.write_bytes(b"GGUF" + bytes(100))
    assert command("create", "mine", "--files", str(weights), "--quantize", "q4_K_M").code == 0
    assert [request.method for request in server.requests] == ["HEAD", "POST", "POST"]
    assert body(server)["quantize"] == "q4_K_M"
    assert list(body(server)["files"]) == ["tiny.gguf"]


def test_several_models_are_deleted_until_one_is_not_there(server: FakeOllama, command: Command) -> None:
    server.on("DELETE", "/api/delete", Recording("delete"), Recording("delete-missing"))
    done = command("rm", "a", "b", "c")
    assert done.out == "deleted 'a'\n"
    assert done.code == 4
    assert len(server.requests) == 2


def test_load_cp_and_stop_say_what_they_did(server: FakeOllama, command: Command) -> None:
    server.on("POST", "/api/copy", Recording("copy"))
    assert command("load", "llama3.2", "--keep-alive", "5m").out == "loaded 'llama3.2'\n"
    assert body(server)["keep_alive"] == "5m"
    assert command("cp", "a", "b").out == "copied 'a' to 'b'\n"
    assert command("stop", "llama3.2").out == "stopped 'llama3.2'\n"
    assert body(server)["keep_alive"] == 0


# -- doctor


def test_doctor_finds_a_healthy_server(server: FakeOllama, command: Command) -> None:
    done = command("doctor", "--model", "llama3.2")
    assert done.code == 0
    assert f"{server.url} (from OLLAMA_HOST)" in done.out
    assert "ok   first token" in done.out


def test_doctor_loads_nothing_unasked(server: FakeOllama, command: Command) -> None:
    server.on("GET", "/api/ps", Recording("ps-empty"))
    assert "not measured" in command("doctor").out
    assert not [request for request in server.requests if request.path in {CHAT, "/api/generate"}]


def test_doctor_tells_of_fields_that_nobody_knows_and_of_old_servers(
    server: FakeOllama, command: Command
) -> None:
    listed = json.loads(Recording("tags").body)
    listed["models"][0]["brand_new"] = 1
    server.on("GET", "/api/tags", Json(listed))
    server.on("GET", "/api/version", Json({"version": "0.5.1"}))
    told = command("doctor").out
    assert "warn drift       fields that this version does not know: brand_new" in told
    assert "warn server      Ollama 0.5.1" in told


def test_doctor_says_why_there_is_no_server_and_fails(command: Command) -> None:
    done = command("doctor", "--host", "127.0.0.1:1", "--no-retry")
    assert done.code == 1
    assert "fail server      cannot connect to http://127.0.0.1:1" in done.out


def test_doctor_never_shows_the_key(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "very-secret")
    told = command("doctor").out
    assert "OLLAMA_API_KEY is set and not sent to this host" in told
    assert "very-secret" not in told


# -- how it ends


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("list", "--host", "127.0.0.1:1", "--no-retry"), 3, "error: cannot connect to http://127.0.0.1:1"),
        (("show", "no-such-model"), 4, "error: HTTP status 404: model 'no-such-model"),
        (("chat", "no-such-model", "Hi"), 4, "not found"),
        (("chat", "llama3.2", "Hi", "-o", "temperature"), 2, "NAME=VALUE"),
        (("chat", "llama3.2"), 2, "nothing is asked"),
        (("chat", "llama3.2", "Hi", "--format", "/no/such/file"), 2, "JSON Schema"),
        (("load", "llama3.2", "--keep-alive", "1d"), 2, "keep_alive"),
        (("embed", "all-minilm"), 2, "nothing to embed"),
        (("list", "--nonsense"), 2, "--nonsense"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_an_error_is_one_message_and_an_exit_code(
    command: Command, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = command(*arguments)
    assert done.code == code
    assert words in done.err
    assert "Traceback" not in done.err


def test_a_server_that_fails_is_exit_code_one(server: FakeOllama, command: Command) -> None:
    server.on("GET", "/api/tags", Json({"error": "boom"}, 500))
    done = command("list", "--no-retry")
    assert (done.code, done.err) == (1, "error: HTTP status 500: boom\n")


def test_a_time_out_is_exit_code_three(server: FakeOllama, command: Command) -> None:
    server.on("GET", "/api/tags", Recording("tags").delay(math.inf))
    assert command("list", "--timeout", "0.1").code == 3


def test_verbose_tells_of_retries(server: FakeOllama) -> None:
    busy = Json({"error": "server busy, please try again.  maximum pending requests exceeded"}, 503)
    server.on("GET", "/api/tags", busy, Recording("tags"))
    done = subprocess.run(
        [sys.executable, "-m", "ollama_ext", "list", "--verbose"],
        env={**os.environ, "OLLAMA_HOST": server.url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "try 1 of 4 failed" in done.stderr


def test_a_reader_that_leaves_ends_it_quietly(server: FakeOllama) -> None:
    server.on("POST", CHAT, Recording("chat-stream"))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "ollama_ext", "chat", "llama3.2", "Hi"],
        env={**os.environ, "OLLAMA_HOST": server.url},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_version_is_that_of_the_package(command: Command) -> None:
    assert command("--version").out == f"{__version__}\n"


def test_help_names_the_exit_codes(command: Command) -> None:
    assert "130 ended by Ctrl-C" in " ".join(command("--help").out.split())


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import ollama_ext.cli; ollama_ext.cli.main()"
    done = subprocess.run(  # noqa: S603 - our own line
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: ollama-ext needs the extra [cli]: pip install 'ollama-ext[cli]'\n"


def test_the_shell_completes_names_of_models(server: FakeOllama) -> None:
    asked = {"_OLLAMA_EXT_COMPLETE": "complete_bash", "COMP_WORDS": "ollama-ext show smol", "COMP_CWORD": "2"}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'ollama-ext'; from ollama_ext.cli import main; main()",
        ],
        env={**os.environ, "OLLAMA_HOST": server.url, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "smollm2:135m" in done.stdout.split()


# -- on a terminal


def test_a_terminal_gets_a_table(on_terminal: OnTerminal) -> None:
    terminal = on_terminal("list")
    assert terminal.end() == 0
    assert "\t" not in terminal.seen
    assert "smollm2:135m" in terminal.seen


def test_a_terminal_gets_bars(server: FakeOllama, on_terminal: OnTerminal) -> None:
    server.on("POST", "/api/pull", Recording("pull-registry-progress"))
    terminal = on_terminal("pull", "m")
    assert terminal.end() == 0
    assert "in all" in terminal.seen
    assert "success" in terminal.seen


def test_a_conversation_keeps_its_history_until_bye(server: FakeOllama, on_terminal: OnTerminal) -> None:
    terminal = on_terminal("chat", "llama3.2")
    terminal.wait_for(">>> ")
    terminal.type("Hello\n")
    server.wait_for_request(2)  # the model was loaded first
    terminal.seen = ""
    terminal.wait_for(">>> ")
    terminal.type("Again\n")
    terminal.seen = ""
    terminal.wait_for(">>> ")
    terminal.type("/bye\n")
    assert terminal.end() == 0
    asked = [request.json() for request in server.requests if request.path == CHAT]
    assert [message["role"] for message in asked[-1]["messages"]] == ["user", "assistant", "user"]


def test_ctrl_c_stops_the_reply_and_not_the_conversation(server: FakeOllama, on_terminal: OnTerminal) -> None:
    server.on("POST", CHAT, Recording("chat-stream").stall(math.inf, at=600))
    terminal = on_terminal("chat", "llama3.2")
    terminal.wait_for(">>> ")
    terminal.type("Hello\n")
    terminal.wait_for("The")
    terminal.seen = ""
    terminal.type("\x03")
    server.wait_for_disconnect()
    terminal.wait_for(">>> ")
    terminal.type("\x04")
    assert terminal.end() == 0


def test_ctrl_c_in_a_pull_says_that_it_goes_on_where_it_was(
    server: FakeOllama, on_terminal: OnTerminal
) -> None:
    server.on("POST", "/api/pull", Recording("pull-registry-progress").stall(math.inf, at=600))
    terminal = on_terminal("pull", "m")
    terminal.wait_for("pulling manifest")
    terminal.type("\x03")
    server.wait_for_disconnect()
    assert terminal.end() == 130
    assert "goes on with what is there" in terminal.seen


def test_nothing_that_a_server_says_steers_the_terminal(server: FakeOllama, on_terminal: OnTerminal) -> None:
    listed = json.loads(Recording("tags").body)
    listed["models"][0]["name"] = "evil\x1b]0;title\x07[bold]x"
    server.on("GET", "/api/tags", Json(listed))
    terminal = on_terminal("list")
    assert terminal.end() == 0
    assert "evil\\x1b]0;title\\x07[bold]x" in terminal.seen


@given(st.text())
def test_printable_text_holds_no_control_characters(text: str) -> None:
    shown = printable(text)
    assert all(
        character in "\n\t" or (ord(character) >= 32 and not 127 <= ord(character) < 160)
        for character in shown
    )
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (45_949_364, "46 MB"), (4_700_000_000, "4.7 GB")],
)
def test_sizes_are_told_as_ollama_tells_them(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("time", "text"),
    [("2000-01-01T00:00:00Z", "ago"), ("2318-01-01T00:00:00Z", "Forever"), ("yesterday", "yesterday")],
)
def test_times_are_told_as_distances(time: str, text: str) -> None:
    assert text in moment(time)
