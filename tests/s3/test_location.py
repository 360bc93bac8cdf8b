"""Which model directory is meant: the one that an Ollama of this user has, or a question."""

from __future__ import annotations

from pathlib import Path

import pytest

from ollama_ext.s3 import LocalStore, StoreRefused, default_store
from ollama_ext.s3.location import SERVICE_STORE


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("/models", "/models"),
        ("  /models\t", "/models"),
        ("\u2003/models\u00a0", "/models"),
        ('"/models"', "/models"),
        ("' /models'", " /models"),  # Ollama strips white space first, and quotes then
        ("'\"/models\"'", "/models"),
        ("~/models", "~/models"),  # Ollama expands nothing
        ("models", "models"),
    ],
)
def test_the_environment_names_it_as_it_does_for_ollama(value: str, path: str) -> None:
    assert default_store({"OLLAMA_MODELS": value, "HOME": "/home/u"}, root=True) == Path(path)


@pytest.mark.parametrize("value", ["", " ", '""', " '' "])
def test_an_empty_variable_is_as_good_as_none(value: str) -> None:
    assert default_store({"OLLAMA_MODELS": value, "HOME": "/u"}, root=False) == Path("/u/.ollama/models")


def test_without_a_word_it_is_in_the_home_directory() -> None:
    assert default_store({"HOME": "/home/u"}, root=False) == Path("/home/u/.ollama/models")


def test_without_a_home_directory_there_is_none() -> None:
    with pytest.raises(StoreRefused, match=r"neither \$OLLAMA_MODELS nor \$HOME: .* store= \(--store\)"):
        default_store({}, root=False)


def test_root_beside_the_service_must_say_which(tmp_path: Path) -> None:
    service, home = tmp_path / "service", tmp_path / "root"
    service.mkdir()
    own = home / ".ollama" / "models"
    with pytest.raises(StoreRefused) as caught:
        default_store({"HOME": str(home)}, service=service, root=True)
    assert str(service) in str(caught.value)
    assert str(own) in str(caught.value)
    assert f"OLLAMA_MODELS={service}" in str(caught.value)
    own.mkdir(parents=True)
    assert default_store({"HOME": str(home)}, service=service, root=True) == own


def test_the_service_is_no_question_for_others_nor_where_there_is_none(tmp_path: Path) -> None:
    own = tmp_path / ".ollama" / "models"
    assert default_store({"HOME": str(tmp_path)}, service=tmp_path, root=False) == own
    assert default_store({"HOME": str(tmp_path)}, service=tmp_path / "none", root=True) == own
    (tmp_path / "file").touch()
    assert default_store({"HOME": str(tmp_path)}, service=tmp_path / "file", root=True) == own
    assert str(SERVICE_STORE) == "/usr/share/ollama/.ollama/models"


def test_a_store_without_a_path_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", "/somewhere")
    assert LocalStore().path == Path("/somewhere")
    assert repr(LocalStore()) == "LocalStore('/somewhere')"
    assert LocalStore("elsewhere").path == Path("elsewhere")
    assert LocalStore(Path("elsewhere")).path == Path("elsewhere")
