"""Imports of a generated package that cannot work: of what is not there, or in a circle.

They are found by reading, so that nothing has to be installed to find them.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def import_problems(package: Path) -> list[str]:
    """Return one sentence for each import inside a package that fails when it is made."""
    trees = {
        _module_of(path.relative_to(package)): ast.parse(path.read_bytes())
        for path in sorted(package.rglob("*.py"))
    }
    problems: list[str] = []
    needs: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for module, tree in trees.items():
        is_package = _path_of(module, package).name == "__init__.py"
        needs[module] = []
        for statement in _run_on_import(tree.body):
            for target, name in _relative(statement, module, is_package=is_package):
                if (*target, name) in trees:
                    needs[module].append((*target, name))
                elif target in trees and name in _defined(trees[target]):
                    needs[module].append(target)
                else:
                    what = ".".join([*target, name])
                    problems.append(f"{_shown(module, package)} imports {what}, which is not there")
    for circle in _circles(needs):
        way = " -> ".join(_shown(module, package) for module in circle)
        problems.append(f"these modules import each other: {way}")
    return problems


def _module_of(path: Path) -> tuple[str, ...]:
    parts = path.with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def _path_of(module: tuple[str, ...], package: Path) -> Path:
    inside = package.joinpath(*module)
    return inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")


def _shown(module: tuple[str, ...], package: Path) -> str:
    return _path_of(module, package).relative_to(package).as_posix()


def _run_on_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield what runs when a module is imported, without what only type checkers see."""
    for statement in body:
        if isinstance(statement, ast.If):
            only_types = isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"
            yield from _run_on_import(statement.orelse if only_types else statement.body + statement.orelse)
        else:
            yield statement


def _relative(
    statement: ast.stmt, module: tuple[str, ...], *, is_package: bool
) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(statement, ast.ImportFrom) and statement.level:
        up = statement.level - 1 if is_package else statement.level
        base = module[: len(module) - up]
        target = (*base, *(statement.module.split(".") if statement.module else ()))
        for alias in statement.names:
            yield target, alias.name


def _defined(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for statement in tree.body:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case _:
                pass
    return names


def _circles(needs: dict[tuple[str, ...], list[tuple[str, ...]]]) -> Iterator[list[tuple[str, ...]]]:
    """Yield one way around each circle that a walk along the imports comes upon."""
    done: set[tuple[str, ...]] = set()

    def walk(module: tuple[str, ...], way: list[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
        if module in way:
            yield [*way[way.index(module) :], module]
        elif module not in done:
            for needed in needs[module]:
                yield from walk(needed, [*way, module])
            done.add(module)

    for module in needs:
        yield from walk(module, [])
