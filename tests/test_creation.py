"""Creating models: the files and fields that Ollama's own client would send, and clear refusals."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ollama_ext import OllamaWarning
from ollama_ext.creation import Creation, checked_files, creation_from_modelfile, model_files
from ollama_ext.errors import InvalidArgument
from ollama_ext.model_directory import upload_names

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What lies where: bytes are a file, text is a link to there, None is a directory.
Layout = dict[str, bytes | str | None]

BINARY = b"\x10\x00\x00\x00\x00\x00\x00\x00{}"
JSON = b"{}\n"
TEXT = b"some text\n"
ZIP = b"PK\x03\x04..."
GGUF = b"GGUF\x03\x00\x00\x00"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
DIGEST = "sha256:" + "0f" * 32

# Directories, and what Ollama v0.33.0-rc2 makes of them: the files with their names, or that it refuses.
# The names are as sent; where they are not the place of the file, a pair says both.
SEEN_IN_GO: dict[str, tuple[Layout, list[str | tuple[str, str]] | None]] = {
    "safetensors with everything": (
        {
            "model-00001-of-00002.safetensors": BINARY,
            "model-00002-of-00002.safetensors": BINARY,
            "model.safetensors.index.json": JSON,
            "config.json": JSON,
            ".hidden.json": JSON,
            "chat_template.jinja": TEXT,
            "tokenizer.model": BINARY,
            "README.md": TEXT,
            "model.py": TEXT,
            "Config.JSON": JSON,
            "pytorch_model.bin": ZIP,
            "model.gguf": GGUF,
        },
        [
            *(f"model-0000{n}-of-00002.safetensors" for n in (1, 2)),
            *("model.safetensors.index.json", "config.json", ".hidden.json", "chat_template.jinja"),
            "tokenizer.model",
        ],
    ),
    "safetensors may be any content": ({"model.safetensors": POINTER}, ["model.safetensors"]),
    "a name between prefix and suffix": ({"modelsafetensors": BINARY, "amodel.safetensors": BINARY}, None),
    "nested files, one directory deep": (
        {
            "model.safetensors": BINARY,
            "config.json": JSON,
            "1_Pooling/config.json": JSON,
            "2_Dense/model.safetensors": BINARY,
            "2_Dense/consolidated.safetensors": BINARY,
            ".cache/x.json": JSON,
            "deep/er/config.json": JSON,
            "deep/er/model.safetensors": BINARY,
        },
        [
            *("model.safetensors", "config.json", "1_Pooling/config.json", "2_Dense/model.safetensors"),
            ".cache/x.json",
        ],
    ),
    "nested safetensors alone": ({"sub/model.safetensors": BINARY}, None),
    "consolidated": (
        {"consolidated.safetensors": BINARY, "sub/consolidated.safetensors": BINARY, "params.json": JSON},
        ["consolidated.safetensors", "params.json"],
    ),
    "model wins over consolidated": (
        {"consolidated.safetensors": BINARY, "model.safetensors": BINARY},
        ["model.safetensors"],
    ),
    "pytorch": (
        {"pytorch_model-1.bin": ZIP, "pytorch_model-2.bin": ZIP, "x.bin": BINARY},
        ["pytorch_model-1.bin", "pytorch_model-2.bin"],
    ),
    "pytorch that is no archive is taken as bin": ({"pytorch_model.bin": BINARY}, ["pytorch_model.bin"]),
    "one unfit file takes its kind with it": (
        {"pytorch_model-1.bin": ZIP, "pytorch_model-2.bin": POINTER, "a.gguf": GGUF},
        ["a.gguf"],
    ),
    "pth": ({"consolidated.00.pth": ZIP, "params.json": JSON}, ["consolidated.00.pth", "params.json"]),
    "gguf": ({"a.gguf": GGUF, "mmproj.gguf": GGUF, "b.GGUF": GGUF}, ["a.gguf", "mmproj.gguf"]),
    "gguf that is text": ({"a.gguf": POINTER}, None),
    "gguf before bin": ({"a.gguf": GGUF, "b.bin": GGUF}, ["a.gguf"]),
    "bin": ({"adapter.bin": GGUF}, ["adapter.bin"]),
    "bin that is an archive": ({"adapter.bin": ZIP}, None),
    "nothing": ({}, None),
    "configuration only": ({"config.json": JSON, "tokenizer.model": BINARY}, None),
    "json with a byte order mark": (
        {"model.safetensors": BINARY, "a.json": b"\xef\xbb\xbf{}"},
        ["model.safetensors", "a.json"],
    ),
    "empty json": ({"model.safetensors": b"", "a.json": b""}, ["model.safetensors", "a.json"]),
    "binary json": ({"model.safetensors": BINARY, "a.json": BINARY}, None),
    "binary json past the first 512 bytes": (
        {"model.safetensors": BINARY, "a.json": b"{" + b" " * 511 + b"\x00"},
        ["model.safetensors", "a.json"],
    ),
    "html for json": ({"model.safetensors": BINARY, "sub/a.json": b" <html> "}, None),
    "binary chat template": ({"model.safetensors": BINARY, "chat_template.jinja": BINARY}, None),
    "nested chat template": (
        {"model.safetensors": BINARY, "s/chat_template.jinja": TEXT},
        ["model.safetensors"],
    ),
    "tokenizer that is text": (
        {"model.safetensors": BINARY, "tokenizer.model": TEXT, "original/tokenizer.model": TEXT},
        ["model.safetensors", "original/tokenizer.model"],
    ),
    "nested tokenizer that is binary": (
        {"model.safetensors": BINARY, "original/tokenizer.model": BINARY},
        ["model.safetensors"],
    ),
    "two tokenizers": (
        {"model.safetensors": BINARY, "tokenizer.model": BINARY, "original/tokenizer.model": TEXT},
        ["model.safetensors", "tokenizer.model"],
    ),
    "lora adapter": ({"adapter_model.safetensors": BINARY, "adapter_config.json": JSON}, None),
    # Links have the name and the place of what they lead to.
    "a link inside": ({"w.bin": BINARY, "model.safetensors": "w.bin"}, ["w.bin"]),
    "two links to one file": (
        {"w": BINARY, "model-1.safetensors": "w", "model-2.safetensors": "w", "a.json": JSON},
        ["w", "a.json"],
    ),
    "everything below one directory": (
        {"s/w": BINARY, "s/a.json": JSON, "model.safetensors": "s/w"},
        [("w", "s/w"), ("a.json", "s/a.json")],
    ),
    "a link out": ({"model.safetensors": "../outside/w"}, None),
    "a link out, of a configuration": (
        {"model.safetensors": BINARY, "config.json": "../outside/a.json"},
        None,
    ),
    "a directory that is a link out": ({"model.safetensors": BINARY, "sub": "../outside"}, None),
    "a directory that is a link inside": (
        {"model.safetensors": BINARY, "s/a.json": JSON, "t": "s"},
        ["model.safetensors", "s/a.json"],
    ),
    "a link to nothing, of weights": ({"model.safetensors": "nothing", "a.gguf": GGUF}, ["a.gguf"]),
    "a link to itself": ({"model.safetensors": "model.safetensors", "a.gguf": GGUF}, ["a.gguf"]),
    "a link to itself, of a configuration": ({"a.gguf": GGUF, "a.json": "a.json"}, None),
    "a link to nothing, of a tokenizer": ({"a.gguf": GGUF, "tokenizer.model": "nothing"}, ["a.gguf"]),
    # Directories with the names of files.
    "weights that are a directory": ({"model.safetensors": None, "a.gguf": GGUF}, ["a.gguf"]),
    "nested weights that are a directory": ({"model.safetensors": BINARY, "s/model.safetensors": None}, None),
    "json that is a directory": ({"model.safetensors": BINARY, "a.json": None}, None),
}

# Modelfiles in a directory with `PLACE`, and what Ollama v0.33.0-rc2 would send for them: fields, files,
# adapters and draft files, or that it refuses.
PLACE: Layout = {
    "llama3": None,
    "a.gguf": GGUF,
    "link.gguf": "a.gguf",
    "sub/b.gguf": GGUF,
    "st/model.safetensors": BINARY,
    "st/config.json": JSON,
    "lora.gguf": GGUF,
}
Files = list[str | tuple[str, str]]
MODELFILES: list[tuple[str, tuple[dict[str, Any], Files, Files, Files] | None]] = [
    ("FROM llama3.2:1b", ({"from": "llama3.2:1b"}, [], [], [])),
    ("FROM hf.co/user/model:Q4", ({"from": "hf.co/user/model:Q4"}, [], [], [])),
    ("FROM a.gguf", ({}, ["a.gguf"], [], [])),
    ("FROM ./sub/../a.gguf/", ({}, ["a.gguf"], [], [])),
    ("FROM link.gguf", ({}, ["link.gguf"], [], [])),
    ("FROM sub/b.gguf", ({}, [("b.gguf", "sub/b.gguf")], [], [])),
    ("FROM st", ({}, [(name, f"st/{name}") for name in ("model.safetensors", "config.json")], [], [])),
    ("FROM a.gguf\nFROM sub/b.gguf", ({}, ["a.gguf", "sub/b.gguf"], [], [])),
    ("FROM llama3:8b\nFROM a.gguf", ({"from": "llama3:8b"}, ["a.gguf"], [], [])),
    ("FROM a\nFROM b", ({"from": "b"}, [], [], [])),
    ("FROM llama3", None),  # the directory, which holds no model
    ("FROM a.gguf/x", None),
    (
        'FROM ""',
        ({}, ["a.gguf", "lora.gguf", "st/config.json"], [], []),
    ),  # this directory; a link leads to a.gguf
    ("FROM a\nADAPTER lora.gguf", ({"from": "a"}, [], ["lora.gguf"], [])),
    ("FROM a\nADAPTER a.gguf\nADAPTER lora.gguf", ({"from": "a"}, [], ["lora.gguf"], [])),
    ("FROM a\nADAPTER nothing", None),
    ("FROM a\nDRAFT a.gguf\nDRAFT sub/b.gguf", ({"from": "a"}, [], [], ["a.gguf", "sub/b.gguf"])),
    ("FROM a.gguf\nDRAFT sub/b.gguf", ({}, ["a.gguf"], [], [("b.gguf", "sub/b.gguf")])),
    ("FROM a.gguf\nDRAFT link.gguf", None),
    ("DRAFT ./a.gguf\nFROM a.gguf", None),
    ("FROM a\nDRAFT a", None),
    (
        'FROM a\nSYSTEM "b\nc"\nTEMPLATE {{ .Prompt }}\nRENDERER d\nPARSER e\nREQUIRES v0.14.0',
        (
            {"from": "a", "system": "b\nc", "template": "{{ .Prompt }}"}
            | {"renderer": "d", "parser": "e", "requires": "0.14.0"},
            *([], [], []),
        ),
    ),
    ('FROM a\nSYSTEM b\nSYSTEM ""', ({"from": "a"}, [], [], [])),
    ("FROM a\nLICENSE b\nLICENSE ", ({"from": "a", "license": ["b", ""]}, [], [], [])),
    (
        "FROM a\nMESSAGE user b: c\nMESSAGE assistant ",
        (
            {"from": "a"}
            | {"messages": [{"role": "user", "content": "b: c"}, {"role": "assistant", "content": ""}]},
            *([], [], []),
        ),
    ),
    (
        'FROM a\nPARAMETER stop b\nPARAMETER seed 1\nPARAMETER stop " c"\nPARAMETER seed 2',
        ({"from": "a", "parameters": {"stop": ["b", " c"], "seed": 2}}, [], [], []),
    ),
    ("FROM a\nPARAMETER seed 1.5", None),
    ("FROM a\nPARAMETER numa true", None),
    ("FROM a\nPARAMETER  stop x", None),
    ("FROM a\nREQUIRES newest", None),
    ("FROM a\nREQUIRES 01.2", None),
    ("FROM a\nREQUIRES 1.2.3-rc.1+b.02", ({"from": "a", "requires": "1.2.3-rc.1+b.02"}, [], [], [])),
]


def lay(root: Path, layout: Mapping[str, bytes | str | None]) -> Path:
    """Make a directory with what a layout says."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in layout.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    return root


def places(root: Path, files: Files) -> dict[str, Path]:
    """Return the names of files with the files themselves."""
    pairs = [(file, file) if isinstance(file, str) else file for file in files]
    return {name: root / place for name, place in pairs}


def refusal(*, argument: str) -> Any:
    """Expect an error about an argument."""
    return pytest.raises(InvalidArgument, match=rf"\A{argument}: (?s:.)*[.?]\Z")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return lay(tmp_path.resolve() / "place", PLACE)


@pytest.mark.parametrize("name", SEEN_IN_GO)
def test_of_a_directory_those_files_are_taken_that_ollama_takes(name: str, tmp_path: Path) -> None:
    layout, files = SEEN_IN_GO[name]
    tmp_path = tmp_path.resolve()
    lay(tmp_path / "outside", {"w": BINARY, "a.json": JSON})
    root = lay(tmp_path / "model", layout)
    if files is None:
        with refusal(argument="source") as caught:
            model_files(root)
        assert caught.value.argument == "source"
        assert str(root) in caught.value.message
    else:
        assert model_files(root) == places(root, files)


@pytest.mark.parametrize(("text", "outcome"), MODELFILES)
def test_a_modelfile_gives_the_request_that_ollama_sends(
    text: str, outcome: tuple[dict[str, Any], Files, Files, Files] | None, place: Path
) -> None:
    (place / "Modelfile").write_text(text, encoding="utf-8")
    if outcome is None:
        with refusal(argument="modelfile") as caught:
            creation_from_modelfile(place / "Modelfile")
        assert caught.value.argument == "modelfile"
        return
    fields, *files = outcome
    creation = creation_from_modelfile(place / "Modelfile")
    expected: list[Any] = [dict(places(place, names)) for names in files]
    assert creation == Creation(fields, *expected)


def test_paths_of_a_text_start_at_the_current_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "sub")
    assert creation_from_modelfile("FROM b.gguf").files == {"b.gguf": place / "sub" / "b.gguf"}
    assert creation_from_modelfile("FROM ./b.gguf").files == {"b.gguf": place / "sub" / "b.gguf"}
    assert creation_from_modelfile("FROM ../a.gguf").files == {"a.gguf": place / "a.gguf"}
    assert creation_from_modelfile(f"FROM /{place}/a.gguf").files == {"a.gguf": place / "a.gguf"}


def test_paths_of_a_file_start_at_its_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "sub" / "Modelfile").write_bytes("\ufeffFROM b.gguf\r\n".encode("utf-16-le"))
    monkeypatch.chdir(place)
    assert creation_from_modelfile(Path("sub/Modelfile")).files == {"b.gguf": place / "sub" / "b.gguf"}


def test_a_tilde_is_the_home_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place))
    assert creation_from_modelfile("FROM ~/a.gguf").files == {"a.gguf": place / "a.gguf"}
    assert creation_from_modelfile("FROM ~//sub/b.gguf").files == {"b.gguf": place / "sub" / "b.gguf"}
    assert creation_from_modelfile("FROM a\nADAPTER ~/lora.gguf").adapters == {
        "lora.gguf": place / "lora.gguf"
    }
    with refusal(argument="modelfile") as caught:
        creation_from_modelfile("FROM ~no-such-user-here/a.gguf")
    assert "'~no-such-user-here'" in caught.value.message


@pytest.mark.parametrize("name", ["./a.gguf", "../b/a", "/no/such/file", "~/no-such-file", "."])
def test_a_from_that_can_only_be_a_path_is_refused_where_nothing_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ollama's client would ask the server for a model of that name.
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with refusal(argument="modelfile") as caught:
        creation_from_modelfile(f"FROM {name}")
    assert f"FROM {name}" in caught.value.message or str(tmp_path) in caught.value.message


def test_a_missing_adapter_is_told_with_where_it_was_looked_for(place: Path) -> None:
    (place / "Modelfile").write_text("FROM a\nADAPTER lora", encoding="utf-8")
    with refusal(argument="modelfile") as caught:
        creation_from_modelfile(place / "Modelfile")
    for part in ("ADAPTER lora", str(place / "lora"), "relative paths start at", "digest"):
        assert part in caught.value.message


def test_parameters_that_no_server_uses_are_left_out_with_a_warning() -> None:
    with pytest.warns(OllamaWarning, match="mirostat_tau, which Ollama does not use") as warned:
        creation = creation_from_modelfile("FROM a\nPARAMETER mirostat_tau 1\nPARAMETER seed 1")
    assert creation.fields == {"from": "a", "parameters": {"seed": 1}}
    assert [warning.filename for warning in warned] == [__file__]


def test_a_modelfile_without_such_parameters_warns_of_nothing() -> None:
    with warnings.catch_warnings(record=True) as caught:
        creation_from_modelfile("FROM a\nPARAMETER seed 1")
    assert caught == []


def test_a_broken_modelfile_is_told_with_its_line() -> None:
    with pytest.raises(InvalidArgument, match="Line 2 of the Modelfile has 'BOGUS'"):
        creation_from_modelfile("FROM a\nBOGUS b")


def test_a_file_name_for_a_text_is_told_apart() -> None:
    with pytest.raises(InvalidArgument, match=r"pass pathlib.Path\('Modelfile'\)"):
        creation_from_modelfile("Modelfile")


def test_a_modelfile_that_is_missing_or_a_directory_is_told(tmp_path: Path) -> None:
    with refusal(argument="modelfile") as caught:
        creation_from_modelfile(tmp_path / "Modelfile")
    assert str(tmp_path / "Modelfile") in caught.value.message
    with refusal(argument="modelfile") as caught:
        creation_from_modelfile(tmp_path)
    assert "is a directory" in caught.value.message


@pytest.mark.parametrize("value", [None, 3, b"FROM a", ["FROM a"]])
def test_a_modelfile_of_another_type_is_refused(value: object) -> None:
    with refusal(argument="modelfile") as caught:
        creation_from_modelfile(value)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] -- the point
    assert type(value).__name__ in caught.value.message


def test_a_file_is_taken_as_it_is_under_its_own_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert model_files(Path("sub/b.gguf")) == {"b.gguf": place / "sub" / "b.gguf"}
    assert model_files(place / "link.gguf") == {"link.gguf": place / "link.gguf"}
    assert model_files(place / "st" / "config.json") == {"config.json": place / "st" / "config.json"}


def test_a_directory_may_be_a_link_and_have_wildcards_in_its_name(tmp_path: Path) -> None:
    # Ollama's client takes a link for an escape, and the name for a pattern.
    root = lay(tmp_path.resolve() / "a[b]*c", {"model.safetensors": BINARY, "config.json": JSON})
    (tmp_path / "link").symlink_to(root)
    assert (
        model_files(root)
        == model_files(tmp_path / "link")
        == places(root, ["model.safetensors", "config.json"])
    )


def test_a_directory_of_links_into_the_cache_of_hugging_face_is_refused_with_the_remedy(
    tmp_path: Path,
) -> None:
    lay(tmp_path / "blobs", {"00": BINARY})
    root = lay(tmp_path / "snapshots" / "main", {"model.safetensors": "../../blobs/00"})
    with refusal(argument="source") as caught:
        model_files(root)
    assert "hf download MODEL --local-dir" in caught.value.message
    assert str(root / "model.safetensors") in caught.value.message


def test_weights_that_were_passed_over_are_told(tmp_path: Path) -> None:
    root = lay(tmp_path, {"pytorch_model.bin": POINTER, "a.gguf": POINTER, "model.safetensors": None})
    with refusal(argument="source") as caught:
        model_files(root)
    for part in (
        "model*.safetensors, consolidated",
        "'git lfs pull'",
        "application/zip",
        "not a regular file",
    ):
        assert part in caught.value.message
    assert caught.value.message.count("pytorch_model.bin'") == 1


def test_a_link_to_nothing_is_told_though_ollama_takes_the_directory_for_a_name(tmp_path: Path) -> None:
    root = lay(tmp_path / "m", {"model.safetensors": BINARY, "config.json": "nothing"})
    with refusal(argument="source") as caught:
        model_files(root)
    assert f"{str(root / 'config.json')!r} is a link to nothing" in caught.value.message


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with refusal(argument="source") as caught:
        model_files(tmp_path / "pipe.gguf")
    assert "not a regular file" in caught.value.message


@pytest.mark.parametrize("step", ["iterdir", "open", "read_bytes"])
def test_what_may_not_be_read_is_told(step: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # Taking the permission away from the file would not stop root.
    monkeypatch.setattr(Path, step, refuse)
    source = {"iterdir": place / "st", "open": place / "a.gguf", "read_bytes": place / "lora.gguf"}[step]
    with pytest.raises(InvalidArgument) as caught:
        _ = creation_from_modelfile(source) if step == "read_bytes" else model_files(source)
    assert f"{str(source)!r} cannot be read (Permission denied)" in caught.value.message


def test_a_name_that_is_not_utf8_cannot_be_sent() -> None:
    with refusal(argument="source") as caught:
        upload_names([Path("/m/\udcff.gguf")], "source")
    assert "not UTF-8" in caught.value.message


@pytest.mark.parametrize(
    ("source", "part"),
    [
        (Path("/no/such/file.gguf"), "nothing at '/no/such/file.gguf'"),
        (Path("~/no-such-file.gguf"), "expanduser()"),
        (Path(__file__, "x"), "cannot be read (Not a directory)"),
        (Path("a\x00b"), "cannot be read"),
        ("a.gguf", "must be a pathlib.Path, not str ('a.gguf')"),
        (None, "not NoneType"),
    ],
)
def test_a_source_that_cannot_be_is_refused(source: Any, part: str) -> None:
    with refusal(argument="source") as caught:
        model_files(source)
    assert part in caught.value.message


@pytest.mark.parametrize("argument", ["files", "adapters", "draft_files"])
def test_a_path_for_files_means_its_model_files(argument: str, place: Path) -> None:
    assert checked_files(place / "st", argument) == model_files(place / "st")
    with refusal(argument=argument) as caught:
        checked_files(place / "llama3", argument)
    assert caught.value.argument == argument


@pytest.mark.parametrize("weights", ["adapters.safetensors", "adapter_model.safetensors"])
def test_the_directory_of_an_adapter_is_found(weights: str, tmp_path: Path) -> None:
    # As Ollama's documentation says; its newer clients do not find them.
    tmp_path = tmp_path.resolve()
    lay(tmp_path, {weights: BINARY, "adapter_config.json": JSON})
    wanted = places(tmp_path, [weights, "adapter_config.json"])
    assert checked_files(tmp_path, "adapters") == wanted
    (tmp_path / "Modelfile").write_text("FROM a\nADAPTER .", encoding="utf-8")
    assert creation_from_modelfile(tmp_path / "Modelfile").adapters == wanted
    with refusal(argument="files"):
        checked_files(tmp_path, "files")


def test_a_mapping_names_files_and_digests(place: Path) -> None:
    files: dict[str, Path | str] = {
        "a/b.gguf": place / "a.gguf",
        "c \\ \xe9": place / "link.gguf",
        "...": DIGEST,
        ".": DIGEST,
    }
    assert checked_files(files, "files") == files
    assert checked_files({}, "adapters") == {}


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "a/.", "/", "a\udcff", 3, None]
)
def test_a_name_that_the_server_would_refuse_is_refused(name: Any) -> None:
    with refusal(argument="files") as caught:
        checked_files({name: DIGEST}, "files")
    assert repr(name) in caught.value.message


@pytest.mark.parametrize(
    ("file", "part"),
    [
        (DIGEST.upper(), "64 hexadecimal digits in lower case"),
        (DIGEST.replace(":", "-"), "is not the digest"),
        (DIGEST[:-1], "is not the digest"),
        (DIGEST + "\n", "is not the digest"),
        ("model.gguf", "a file is passed as a pathlib.Path"),
        (b"GGUF", "not bytes"),
        (None, "not NoneType"),
        (Path("/no/such/file"), "nothing at '/no/such/file'"),
        (Path("/"), "is a directory"),
    ],
)
def test_what_is_neither_a_file_nor_a_digest_is_refused(file: Any, part: str) -> None:
    with refusal(argument="draft_files") as caught:
        checked_files({"model.gguf": file}, "draft_files")
    assert part in caught.value.message


@pytest.mark.parametrize("value", ["model.gguf", DIGEST, b"GGUF", [Path("a")], None])
def test_files_of_another_type_are_refused_with_the_remedy(value: Any) -> None:
    with refusal(argument="files") as caught:
        checked_files(value, "files")
    assert "must be a pathlib.Path, or a mapping from names" in caught.value.message


def test_a_huge_value_makes_a_short_message() -> None:
    values: list[Any] = [{"x": "y" * 100_000}, {"/" * 100_000: DIGEST}, "z" * 100_000]
    for value in values:
        with refusal(argument="files") as caught:
            checked_files(value, "files")
        assert len(caught.value.message) < 700
    with pytest.raises(InvalidArgument) as refused:
        creation_from_modelfile("FROM a\nADAPTER ./" + "z" * 100_000)
    assert len(refused.value.message) < 700
