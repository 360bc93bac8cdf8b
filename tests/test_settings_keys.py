"""The table of the keys: whole, and the same in docs/settings.md, the code and the mirror."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ollama_ext.settings import Settings, SettingsError, Subscription
from ollama_ext.settings.keys import PATHS, SECTIONS, SUBSCRIPTION, TOP
from ollama_ext.settings.table import table_of_keys

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"


def test_the_page_has_the_table_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith("\n\n" + table_of_keys())


def test_the_table_is_printed_by_the_module() -> None:
    command = [sys.executable, "-m", "ollama_ext.settings"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own module
    assert printed.stdout == table_of_keys()


def test_every_field_of_a_section_is_a_key_and_every_key_is_told_of() -> None:
    for section, (keys, made) in SECTIONS.items():
        names = [key.name for key in keys if f"{section}.{key.name}" != "amqp.url"]
        assert names == list(made.__struct_fields__)
    assert [key.name for key in SUBSCRIPTION] == list(Subscription.__struct_fields__)
    sections = {*SECTIONS, *(key.name for key in TOP)}
    assert sections == set(Settings.__struct_fields__) - {"origins"}
    rows = table_of_keys().splitlines()[2:]
    assert len(rows) == len(PATHS) + len(SUBSCRIPTION)
    assert all(all(cell.strip() for cell in row.strip("|").split(" | ")) for row in rows)


def test_a_bucket_has_the_keys_that_the_mirror_takes() -> None:
    from ollama_ext.s3 import Mirror  # noqa: PLC0415 - not everyone's

    credentials = {"access_key_id", "secret_access_key", "secret_access_key_file", "session_token"}
    ours = {key.name for key in SECTIONS["s3"][0]}
    assert ours - credentials == set(inspect.signature(Mirror).parameters) - {"credentials"}


def test_a_default_is_a_value_that_its_key_takes() -> None:
    for section, (keys, made) in SECTIONS.items():
        defaults = {field.name: field.default for field in msgspec.structs.fields(made)}
        given = {key.name: defaults.get(key.name) for key in keys if key.name not in {"urls", "drain_limit"}}
        values = {name: value for name, value in given.items() if value not in {None, msgspec.NODEFAULT}}
        more = {"bucket": "b"} if section == "s3" else {}
        read = getattr(Settings.from_mapping({section: {**values, **more}}, environ={}), section)
        assert {name: getattr(read, name) for name in values} == values


@pytest.mark.parametrize(
    "block", re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
)
def test_an_example_of_the_page_is_good(block: str, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(block, encoding="utf-8")
    assert Settings.load(file, environ={}).subscriptions


def test_the_message_that_the_page_shows_is_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fleet.yaml").write_text("worker:" + "\n" * 11 + " slots: two", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        Settings.load("fleet.yaml", environ={})
    assert f"`{caught.value}`" in " ".join(PAGE.read_text(encoding="utf-8").split())
