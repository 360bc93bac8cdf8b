"""YAML text as values with their lines.

It is read from the events of PyYAML's parser, not through its constructors: so nothing is built but text,
mappings and lists, every value knows its line, repeated keys are seen, and aliases cannot multiply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from .given import MOST_LEVELS, MOST_VALUES, Given, Origin, Problem, SettingsError, Unfit, shown_text
from .plain import meaning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: A settings file of a thousand subscriptions has a tenth of this.
_MOST_CHARACTERS: Final = 1 << 20
_TEXT_TAGS: Final = frozenset({None, "!", "tag:yaml.org,2002:str"})
_QUOTE: Final = "put quotes around text that begins with it"


def parse_yaml(text: str, name: str) -> tuple[Given, list[Problem]]:
    """Read one YAML document.

    Args:
        text: The document.
        name: Of its file, for messages.

    Returns:
        What it holds (an empty mapping if it is empty), and the keys that are there twice, as problems.

    Raises:
        SettingsError: PyYAML is not installed, or this is no YAML.
    """
    if len(text) > _MOST_CHARACTERS:
        raise SettingsError(
            f"{name}: has {len(text):,} characters; settings have {_MOST_CHARACTERS:,} at most"
        )
    try:
        import yaml  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise SettingsError(
            f"{name}: reading YAML needs PyYAML, which is not installed: pip install 'ollama-ext[fleet]'"
        ) from None
    reader = _Reader(yaml, text, name)
    try:
        return reader.document(), reader.problems
    except Unfit as unfit:
        raise SettingsError.of([*reader.problems, *unfit.problems]) from None
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        origin = Origin("file", name, mark.line + 1 if mark else 0)
        raise SettingsError(f"{origin}: is not YAML: {_problem(error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SettingsError(f"{name}:{line}: has a character that YAML does not allow") from None
    except (ValueError, OverflowError):  # PyYAML's own, of "\UFFFFFFFF" and of versions with many digits
        raise SettingsError(
            f"{name}: is not YAML: it names a character or a version that there is none of"
        ) from None


class _Reader:
    def __init__(self, yaml: ModuleType, text: str, name: str) -> None:
        self._yaml = yaml
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._name = name
        self._anchors: dict[str, tuple[Given, int, int]] = {}
        self._count = 0
        self.problems: list[Problem] = []

    def document(self) -> Given:
        """Read all of it."""
        yaml = self._yaml
        tree = Given({}, Origin("file", self._name))
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise Unfit("a second document begins here; settings are one", self._at(event))
                read, _ = self._value(next(self._events), 0, "")
                tree = tree if read.value is None else read
        return tree

    def _at(self, event: Any) -> Origin:
        return Origin("file", self._name, event.start_mark.line + 1)

    def _value(self, event: Any, level: int, path: str) -> tuple[Given, int]:
        """Return the value that begins with an event, and how many levels are below it."""
        yaml = self._yaml
        origin = self._at(event)
        if level > MOST_LEVELS:
            raise Unfit(f"more than {MOST_LEVELS} levels of nesting", origin)
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event, level)
        before = self._spend(1, origin)
        if isinstance(event, yaml.ScalarEvent):
            read, depth = _scalar(event, origin), 0
        elif event.tag is not None:
            raise Unfit("tags, which begin with !, are not read: leave it out", origin)
        elif isinstance(event, yaml.SequenceStartEvent):
            read, depth = self._sequence(origin, level, path)
        else:
            read, depth = self._mapping(origin, level, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (read, self._count - before, depth)
        return read, depth

    def _spend(self, count: int, origin: Origin) -> int:
        """Count values, those of aliases as often as they are used; return how many there were before."""
        before = self._count
        self._count += count
        if self._count > MOST_VALUES:
            raise Unfit(f"more than {MOST_VALUES:,} values, each alias counted with all it holds", origin)
        return before

    def _aliased(self, event: Any, level: int) -> tuple[Given, int]:
        origin = self._at(event)
        # One that holds itself is not there yet, and so is not found either.
        known = self._anchors.get(event.anchor)
        if known is None:
            raise Unfit(
                f"an alias, which begins with *, for which there is no anchor above it: {_QUOTE}", origin
            )
        read, count, depth = known
        self._spend(count, origin)
        if level + depth > MOST_LEVELS:
            raise Unfit(f"more than {MOST_LEVELS} levels of nesting", origin)
        return read, depth

    def _sequence(self, origin: Origin, level: int, path: str) -> tuple[Given, int]:
        items: list[Given] = []
        deepest = 0
        while not isinstance(event := next(self._events), self._yaml.SequenceEndEvent):
            item, depth = self._value(event, level + 1, f"{path}[{len(items)}]")
            # An alias is told of where it is used, not where its anchor is.
            items.append(msgspec.structs.replace(item, origin=self._at(event)))
            deepest = max(deepest, depth + 1)
        return Given(items, origin), deepest

    def _mapping(self, origin: Origin, level: int, path: str) -> tuple[Given, int]:
        entries: dict[str, Given] = {}
        deepest = 0
        while not isinstance(event := next(self._events), self._yaml.MappingEndEvent):
            place = self._at(event)
            if not isinstance(event, self._yaml.ScalarEvent) or event.tag not in _TEXT_TAGS:
                raise Unfit(f"a key that is no word: {_QUOTE}, and write key: value", place)
            key: str = event.value
            self._spend(1, place)
            inner = f"{path}.{shown_text(key)}" if path else shown_text(key)
            value, depth = self._value(next(self._events), level + 1, inner)
            deepest = max(deepest, depth + 1)
            if key == "<<":
                raise Unfit("merge keys (<<) are not read: write the keys out, or alias a whole value", place)
            if key in entries:
                first = entries[key].origin.line
                self.problems.append(Problem(place, f"{inner} is there twice, first in line {first}"))
            # The line of the key, as that is what one looks for; a value may begin further down.
            entries[key] = msgspec.structs.replace(value, origin=place)
        return Given(entries, origin), deepest


def _scalar(event: Any, origin: Origin) -> Given:
    if event.tag not in _TEXT_TAGS:
        # The tag stays out of the message: it may be a password that begins with "!".
        raise Unfit(f"tags, which begin with !, are not read: {_QUOTE}", origin)
    if event.tag is None and event.style in {None, ""}:
        return Given(meaning(event.value), origin, text=event.value)
    return Given(event.value, origin)


def _problem(error: Any) -> str:
    """Return what PyYAML says, with a remedy where it is known. No text of the file: it may be a password."""
    problem, context = str(error.problem or ""), str(error.context or "")
    if "tag" in problem or "tag" in context or "directive" in context:
        return f"a ! or a % begins something that is not read here: {_QUOTE}"
    if "alias" in context or "anchor" in context:
        return f'a * or & begins an alias or an anchor without a name: {_QUOTE}, as in model: "*"'
    if "cannot start any token" in problem:
        return f"{problem}: {_QUOTE}" + (" (and indent with spaces)" if "\\t" in problem else "")
    if "mapping values are not allowed" in problem:
        return "a colon with a space after it in a value, or wrong indentation: put quotes around the value"
    return problem or context or "it cannot be read"
