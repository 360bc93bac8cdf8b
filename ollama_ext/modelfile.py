"""Modelfiles, read as Ollama's own client reads them: text in, a list of commands out.

`parse_modelfile` agrees with Go's ``parser.ParseFile`` (``parser/parser.go`` of Ollama) on what is a
Modelfile and on what it says, however odd. There is one difference on purpose: of characters that cannot
be printed Ollama drops those that its version of Unicode has not assigned yet, and with them the newest
emoji; they are kept here. Values only; what the commands mean is decided in `ollama_ext.creation`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unicodedata import category

import msgspec

from .errors import InvalidArgument

if TYPE_CHECKING:
    from typing import NoReturn

_COMMANDS = (
    *("from", "license", "template", "system", "adapter", "draft"),
    *("renderer", "parser", "parameter", "message", "requires"),
)
_QUOTED = frozenset({"license", "template", "system", "adapter", "renderer", "parser", "requires", "draft"})
_ROLES = ("system", "user", "assistant")

_BLANK = " \t"
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*+)*+")
_COMMAND = re.compile(r"[^ \t\r\n][A-Za-z]*")  # the first character may be one that is dropped
_PARAMETER = re.compile(r"[A-Za-z0-9_]*")
_ROLE = re.compile(r"[A-Za-z]*")
_WORD = re.compile(r"[^ \t\r\n]*")
_NEWLINE = re.compile(r"[\r\n]")
_LINE_END = re.compile(r"\r\n|\r|\n")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# How Go decodes UTF-16: of two low surrogates in a row it makes one replacement character.
_UNPAIRED = re.compile(r"[\udc00-\udfff]{1,2}|[\ud800-\udbff]")
_REPLACEMENT = "\ufffd"
_LONGEST_SHOWN = 80


class Command(msgspec.Struct, frozen=True):
    """One command of a Modelfile.

    Attributes:
        name: What it sets, as Ollama names it: ``model`` for FROM, the parameter's own name for PARAMETER
            (case kept), else the command in lower case. (``PARAMETER system x`` is thus the same as
            ``SYSTEM x``.)
        args: The value without the quotes around it. That of a MESSAGE is ``role: text``.
    """

    name: str
    args: str

    def __str__(self) -> str:
        """Write the command as Ollama does (``Command.String``), or in quotes that read back the same.

        Ollama's own spelling loses quotes at the start and spaces at the end of some values. Every
        command that was parsed reads back from this text; one made by hand need not, as not every text
        can be written in a Modelfile.
        """
        if self.name == "model":
            return f"FROM {_written(self.args, self.args)}"
        if self.name in _QUOTED:
            return f"{self.name.upper()} {_written(self.args, _go_quoted(self.args))}"
        if self.name == "message":
            role, separator, text = self.args.partition(": ")
            if separator and role in _ROLES:
                return f"MESSAGE {role} {_written(text, _go_quoted(text))}"
        return f"PARAMETER {self.name} {_written(self.args, _go_quoted(self.args))}"


class Modelfile(msgspec.Struct, frozen=True):
    """A Modelfile that was read; ``str()`` of it is a Modelfile with the same commands, without comments.

    Attributes:
        commands: The commands in their order; at least one is a ``model``.
    """

    commands: list[Command]

    def __str__(self) -> str:
        """Write one command after the other, each with a line end."""
        return "".join(f"{command}\n" for command in self.commands)


def parse_modelfile(content: bytes | str) -> Modelfile:
    r"""Read a Modelfile as Ollama reads it.

    A line is a command, a space, and a value: ``FROM llama3.2``. Commands may be in any case. A value that
    begins with ``"`` or ``\"\"\"`` goes on to the line that ends with the same, and only so can it hold line
    ends. Empty lines and lines that begin with ``#`` mean nothing. Characters that cannot be printed are
    dropped from values, other than spaces, tabs and line ends.

    Args:
        content: The text, or the bytes of a file: UTF-8, or UTF-16 with a byte order mark. Bytes that are
            neither become U+FFFD.

    Raises:
        InvalidArgument: It is no Modelfile; the message says what is wrong, in which line (as an editor
            counts them) where that is known, and what to write.
    """
    text = _decoded(content)
    commands: list[Command] = []
    position = _after(_BETWEEN, text, 0)
    while position < len(text):
        command, position = _command(text, position)
        commands.append(command)
        position = _after(_BETWEEN, text, position)
    if not any(command.name == "model" for command in commands):
        raise InvalidArgument(
            "The Modelfile has no FROM: begin it with the model to start from, "
            "such as 'FROM llama3.2' or 'FROM ./model.gguf'.",
            argument="modelfile",
        )
    return Modelfile(commands)


def _command(text: str, start: int) -> tuple[Command, int]:
    """Read the command at a position; return it and the position after its value."""
    end = _after(_COMMAND, text, start)
    name = _printable(text[start:end]).lower()
    if name not in _COMMANDS or not _is_gap(text, end):
        _refuse(
            text,
            start,
            f"has {_word(text, start)}, which is no command",
            f"write one of {', '.join(_COMMANDS).upper()} and a space; "
            'a value of several lines stands between """ and """',
        )
    shown, prefix = name.upper(), ""
    begin = _value_start(text, start, end, shown)
    if name == "from":
        name = "model"
    elif name == "parameter":
        end = _after(_PARAMETER, text, begin)
        name = text[begin:end]
        if not _is_gap(text, end):
            fault = f"has {_word(text, begin)} for the name of a parameter"
            _refuse(text, start, fault, "write letters, digits and '_', then a space and the value")
        begin = _value_start(text, start, end, f"{shown} {name}")
    elif name == "message":
        end = _after(_ROLE, text, begin)
        role = text[begin:end]
        if role not in _ROLES or not _is_gap(text, end):
            fault = f"has {_word(text, begin)} for the role of a MESSAGE"
            _refuse(text, start, fault, f"write one space, one of {', '.join(_ROLES)}, a space and the text")
        begin = _value_start(text, start, end, f"{shown} {role}")
        prefix = f"{role}: "
    value = _value(text, begin)
    if value is None:
        fault = f"begins a {shown} whose quotes are not closed"
        _refuse(text, start, fault, "end it with the same quotes, at the end of a line")
    return Command(name, prefix + value[0]), value[1]


def _is_gap(text: str, position: int) -> bool:
    """Tell whether a word ends here, well or too early."""
    return text[position : position + 1] in {"", " ", "\t", "\r", "\n"}


def _value_start(text: str, start: int, end: int, command: str) -> int:
    if text[end : end + 1] not in {" ", "\t"}:
        _refuse(text, start, f"has {command} without a value", "write a space and the value on the same line")
    return end + 1


def _value(text: str, start: int) -> tuple[str, int] | None:
    """Read the value at a position; return it and where it ends, or None if its quotes are not closed.

    Only its first line says which quotes it is in, and only at the end of a line are they closed.
    """
    pieces: list[str] = []
    quotes = ""
    begin = start
    while True:
        newline = _NEWLINE.search(text, begin)
        end = newline.start() if newline else len(text)
        pieces.append(_printable(text[begin:end]))
        line = pieces[-1].strip(_BLANK)
        shortest = len(quotes)
        if not shortest:
            quotes = '"""' if line.startswith('"""') else '"' if line.startswith('"') else ""
            shortest = 2 * len(quotes)
        if line.endswith(quotes) and len(line) >= shortest:
            value = "".join(pieces).strip(" \t\r\n")
            return value[len(quotes) : len(value) - len(quotes)], end
        if newline is None:
            return None
        pieces.append(newline[0])
        begin = newline.end()


def _printable(text: str) -> str:
    """Drop what Go's ``strconv.IsPrint`` calls unprintable, but for tabs and unassigned characters."""
    if text.isprintable():
        return text
    return "".join(char for char in text if char.isprintable() or char == "\t" or _is_unassigned(char))


def _is_unassigned(char: str) -> bool:
    """Tell whether a later Unicode may assign the character; the last two of each plane it never will."""
    return category(char) == "Cn" and ord(char) & 0xFFFE != 0xFFFE  # noqa: PLR2004 -- a mask


def _decoded(content: bytes | str) -> str:
    if isinstance(content, str):
        if _SURROGATE.search(content):
            raise InvalidArgument(
                "The Modelfile holds a lone surrogate, which is no text: pass the file's bytes instead.",
                argument="modelfile",
            )
        return content.removeprefix("\ufeff")
    if not isinstance(content, bytes):
        raise InvalidArgument(
            f"The Modelfile must be its text or its bytes, not {type(content).__name__}.",
            argument="modelfile",
        )
    if content.startswith(b"\xff\xfe"):
        return _from_utf16(content[2:], "utf-16-le")
    if content.startswith(b"\xfe\xff"):
        return _from_utf16(content[2:], "utf-16-be")
    if content.startswith(b"\xef\xbb\xbf"):
        # After the mark Go replaces each bad byte, without it each bad sequence.
        return _SURROGATE.sub(_REPLACEMENT, content[3:].decode("utf-8", "surrogateescape"))
    return content.decode("utf-8", "replace")


def _from_utf16(content: bytes, encoding: str) -> str:
    even = len(content) // 2 * 2
    text = _UNPAIRED.sub(_REPLACEMENT, content[:even].decode(encoding, "surrogatepass"))
    return text + _REPLACEMENT * (len(content) - even)


def _written(value: str, preferred: str) -> str:
    for written in (preferred, value, f'"{value}"', f'"""{value}"""'):
        if _value(f"{written}\n", 0) == (value, len(written)):
            return written
    return preferred


def _go_quoted(value: str) -> str:
    """Write a value as Go's ``quote`` does."""
    if "\n" not in value and not value.startswith(" ") and not value.endswith(" "):
        return value
    return f'"""{value}"""' if '"' in value else f'"{value}"'


def _after(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


def _word(text: str, start: int) -> str:
    word = text[start : _after(_WORD, text, start)]
    return repr(word if len(word) <= _LONGEST_SHOWN else word[:_LONGEST_SHOWN] + "...")


def _refuse(text: str, position: int, fault: str, remedy: str) -> NoReturn:
    line = len(_LINE_END.findall(text, 0, position)) + 1
    raise InvalidArgument(f"Line {line} of the Modelfile {fault}: {remedy}.", argument="modelfile")
