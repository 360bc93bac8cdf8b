"""The package as something to import: each part by itself, and only when it is asked for."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import ollama_openapi
import pytest
from ollama_openapi import api, models
from ollama_openapi.api import inference
from operations import OPERATIONS
from schema_values import SCHEMAS

PACKAGES = ["", ".models", ".api", *sorted({f".api.{each.tag}" for each in OPERATIONS})]
HOME = Path(str(ollama_openapi.__file__)).parent
MODULES = sorted(
    "ollama_openapi." + path.relative_to(HOME).with_suffix("").as_posix().replace("/", ".")
    for path in HOME.rglob("*.py")
    if path.name != "__init__.py"
)


def run(code: str) -> str:
    """Run code in a fresh interpreter, in which nothing is imported yet; return what it prints."""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(HOME.parent)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_models_and_operations_need_no_http_stack() -> None:
    assert run(
        """
        import sys
        from ollama_openapi.api.inference import chat
        from ollama_openapi.models import ChatRequest
        chat.build_request(body=ChatRequest(model="m"))
        print("httpx" in sys.modules)
        from ollama_openapi import Client
        print("httpx" in sys.modules)
        """
    ).split() == ["False", "True"]


def test_only_what_is_used_is_imported() -> None:
    loaded = run(
        """
        import sys
        from ollama_openapi import api, models
        models.VersionResponse
        api.server.server_version
        print(*(name for name in sys.modules if name.startswith("ollama_openapi.")))
        """
    )
    inside = ("ollama_openapi.models.", "ollama_openapi.api.")
    assert sorted(name for name in loaded.split() if name.startswith(inside)) == [
        "ollama_openapi.api.server",
        "ollama_openapi.api.server.server_version",
        "ollama_openapi.models.error_response",
        "ollama_openapi.models.version_response",
    ]


def test_every_module_can_be_the_first_to_be_imported() -> None:
    assert len(MODULES) > 80
    code = """
        import importlib, sys
        for name in {modules!r}:
            for loaded in [each for each in sys.modules if each.startswith("ollama_openapi")]:
                del sys.modules[loaded]
            importlib.import_module(name)
        """
    run(code.format(modules=MODULES))


def test_every_module_says_what_it_is() -> None:
    for name in MODULES:
        assert import_module(name).__doc__, name


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_lists_and_gives_what_it_offers(name: str) -> None:
    package = import_module(f"ollama_openapi{name}")
    assert package.__all__
    assert set(package.__all__) <= set(dir(package))
    assert dir(package) == sorted(dir(package))
    for offered in package.__all__:
        assert getattr(package, offered) is getattr(package, offered)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_nothing_else(name: str) -> None:
    package = import_module(f"ollama_openapi{name}")
    assert not hasattr(package, "nothing")
    with pytest.raises(AttributeError, match=f"module 'ollama_openapi{name}' has no attribute 'Nothing'"):
        _ = package.Nothing


@pytest.mark.parametrize("name", PACKAGES)
def test_everything_can_be_listed_before_and_imported_at_once(name: str) -> None:
    code = f"""
        import ollama_openapi{name} as package
        print(set(package.__all__) <= set(dir(package)))
        from ollama_openapi{name} import *
        print(all(each in globals() for each in package.__all__))
        """
    assert run(code).split() == ["True", "True"]


def test_what_was_asked_for_once_is_simply_there() -> None:
    _ = models.Tensor, inference.embed_legacy
    assert "Tensor" in vars(models)
    assert "embed_legacy" in vars(inference)


def test_the_models_are_the_schemas_of_the_spec() -> None:
    compiled = {name for name, schema in SCHEMAS.items() if "properties" in schema or "enum" in schema}
    assert set(models.__all__) == compiled


def test_the_operations_are_those_of_the_spec() -> None:
    assert set(api.__all__) == {each.tag for each in OPERATIONS}
    for tag in api.__all__:
        assert set(getattr(api, tag).__all__) == {each.name for each in OPERATIONS if each.tag == tag}


def test_a_pickle_opens_in_a_process_that_has_imported_nothing() -> None:
    request = models.ChatRequest(
        model="m", messages=[models.Message(role="user")], additional_properties={"a": 1}
    )
    shown = run(f"import pickle; print(pickle.loads({pickle.dumps(request)!r}))")
    assert shown == repr(request)


def test_an_operation_is_a_module_with_its_functions() -> None:
    assert inference.chat is import_module("ollama_openapi.api.inference.chat")
    for each in OPERATIONS:
        for function in ("build_request", "parse", "sync", "sync_detailed"):
            assert callable(getattr(each.module, function))
        assert not [name for name in vars(each.module) if "async" in name]
