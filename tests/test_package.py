"""The package as a whole: what importing it costs and gives."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import pkgutil
import pydoc
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import ollama_openapi
import pytest

import ollama_ext
import ollama_ext.s3

if TYPE_CHECKING:
    from types import ModuleType

#: Those with public names of their own.
PACKAGES = (ollama_ext, ollama_ext.s3)
OPTIONAL = ("pika", "boto3", "botocore", "click", "typer", "rich", "pygments", "yaml")
#: Installed everywhere, and needed by few calls: through a proxy, after a failure, by an asyncio program.
SELDOM = ("httpx", "httpcore", "h11", "tenacity", "asyncio", "certifi", "urllib.request", "http.client")


def python(code: str, *paths: Path) -> str:
    """Run code in a fresh interpreter in which every warning is an error; return what it prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    found = [*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(found)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_that_only_extras_need(tmp_path: Path) -> None:
    for name in OPTIONAL:  # installed, as far as anybody can see
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')")
    loaded = python("import ollama_ext, sys; print(*sys.modules, sep='\\n')", tmp_path).split()
    assert "ollama_ext.client" in loaded
    rooms = {"ollama_ext.testing", "ollama_ext.cli", "ollama_ext.s3", "ollama_openapi.client"}
    assert rooms.isdisjoint(loaded)
    loaded = python("import ollama_ext.s3, sys; print(*sys.modules, sep='\\n')", tmp_path).split()
    assert "ollama_ext.s3.mirror" in loaded


def test_importing_the_package_imports_nothing_that_only_few_calls_need() -> None:
    loaded = python("import ollama_ext, sys; print(*sys.modules, sep='\\n')").split()
    assert set(SELDOM).isdisjoint(loaded)


def test_a_call_that_succeeds_imports_none_of_it_either() -> None:
    code = """
import sys
from ollama_ext import Client
from ollama_ext.testing import FakeOllama
before = set(sys.modules)
with FakeOllama() as server, Client(server.url) as client:
    client.list_models()
    client.chat("smollm2:135m", "hi")
    client.chat_stream("smollm2:135m", "hi").finish()
print(*set(sys.modules) - before, sep="\\n")
"""
    assert set(SELDOM).isdisjoint(python(code).split())


def test_importing_the_package_opens_nothing_and_starts_nothing() -> None:
    code = """
import socket, threading, sys
def refuse(event, args):
    if event.startswith(("socket.", "subprocess.")) and event != "socket.__new__":
        raise SystemExit(event)
sys.addaudithook(refuse)
import ollama_ext
print(threading.active_count())
"""
    assert python(code).strip() == "1"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_public_names_are_sorted_complete_and_there(package: ModuleType) -> None:
    names: list[str] = package.__all__
    constants = [name for name in names if name.isupper()]
    classes = [name for name in names if name[0].isupper() and not name.isupper()]
    rest = [name for name in names if name[0].islower() or name[0] == "_"]
    assert names == [*sorted(constants), *sorted(classes), *sorted(rest)]
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(package, name) is not None
    offered = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and name not in {"annotations", "TYPE_CHECKING"}
    }
    assert offered - {"Any"} <= set(names)
    assert set(names) <= set(dir(package))


def test_every_error_and_event_is_offered_at_the_top() -> None:
    for package, module in (
        (ollama_ext, "errors"),
        (ollama_ext, "events"),
        (ollama_ext, "replies"),
        (ollama_ext.s3, "errors"),
        (ollama_ext.s3, "results"),
    ):
        defined = import_module(f"{package.__name__}.{module}")
        for name, value in vars(defined).items():
            if inspect.isclass(value) and value.__module__ == defined.__name__ and not name.startswith("_"):
                assert getattr(package, name) is value


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = getattr(ollama_ext, "nonsense")  # noqa: B009 - a name that type checkers refuse


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_has_a_docstring(package: ModuleType) -> None:
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name
            for attribute, member in vars(value).items():
                if inspect.isfunction(member) and not attribute.startswith("_"):
                    assert member.__doc__, f"{name}.{attribute}"


def test_every_module_can_be_imported_alone_and_says_what_it_is_for() -> None:
    modules = [each.name for each in pkgutil.iter_modules(ollama_ext.__path__, "ollama_ext.")]
    modules.remove("ollama_ext.__main__")  # importing that one runs the command
    modules += [each.name for each in pkgutil.iter_modules(ollama_ext.s3.__path__, "ollama_ext.s3.")]
    for module in modules:
        assert import_module(module).__doc__
    python("; ".join(f"import {module}" for module in modules))


def test_the_version_has_one_source() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", ollama_ext.__version__)
    try:
        installed = importlib.metadata.version("ollama-ext")
    except importlib.metadata.PackageNotFoundError:  # a tree: the build reads the very same line
        return
    assert installed == ollama_ext.__version__


@pytest.mark.parametrize("package", [ollama_ext, ollama_openapi])
def test_both_packages_are_typed(package: object) -> None:
    assert Path(str(inspect.getfile(package))).with_name("py.typed").is_file()  # type: ignore[arg-type] # a module is fine


HOME = Path(str(ollama_ext.__file__)).parent


def importing(*names: str) -> set[str]:
    """Return the hand-written modules that import one of these, by their paths in the package."""
    statement = re.compile(rf"^\s*(?:import|from) (?:{'|'.join(names)})\b", re.MULTILINE)
    return {
        file.relative_to(HOME).as_posix()
        for file in HOME.rglob("*.py")
        if statement.search(file.read_text("utf-8"))
    }


def test_the_s3_stack_is_named_in_few_modules_of_the_mirror_only() -> None:
    named = importing("boto3", "botocore", "s3transfer", "urllib3")
    assert {file.partition("/")[0] for file in named} == {"s3"}
    assert len(named) <= 2


def test_the_http_stack_is_named_in_the_transport_only() -> None:
    assert importing("httpx") == {"httpx_transport.py", "transport/proxied.py"}
    assert importing("httptools") == {"transport/message.py"}
    assert importing("certifi") == {"transport/tls.py"}
    assert importing("httpcore", "h11") == set()


def test_sockets_are_named_in_the_transport_and_the_scripted_server_only() -> None:
    # The broker's parameters make a TLS context, as they must: pika opens its sockets itself.
    files = importing("socket", "ssl", "select") - {"fleet/broker.py"}
    assert {file.partition("/")[0] for file in files} <= {
        "transport",
        "testing",
        "client.py",
        "httpx_transport.py",
    }


def test_the_amqp_client_is_named_in_few_modules_of_the_fleet_only() -> None:
    assert importing("pika") == {f"fleet/{name}.py" for name in ("broker", "channels", "connection", "loop")}


def test_yaml_is_named_in_one_module_of_the_settings_only() -> None:
    assert importing("yaml") == {"settings/yaml_text.py"}


def test_no_hand_written_module_is_too_long_to_read_at_once() -> None:
    lengths = {
        file.relative_to(HOME).as_posix(): len(file.read_text("utf-8").splitlines())
        for file in HOME.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 420} == {}


def test_help_shows_every_public_class_with_its_arguments() -> None:
    text = pydoc.plain(pydoc.render_doc(ollama_ext))
    classes = [value for name in ollama_ext.__all__ if inspect.isclass(value := getattr(ollama_ext, name))]
    assert len(classes) > 20
    for value in classes:
        assert issubclass(value, Warning) or inspect.signature(value)  # Python's own warnings have none
        assert value.__module__.startswith("ollama_openapi") or f"class {value.__name__}(" in text
