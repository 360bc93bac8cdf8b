"""Modelfiles: the same commands as Ollama's own parser, and a clear refusal where it has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_ext.errors import InvalidArgument
from ollama_ext.modelfile import Command, Modelfile, parse_modelfile

ORACLE = Path(__file__).parent / "data" / "oracles" / "modelfile.json"

# What Ollama v0.33.0-rc2 makes of texts that its own tests leave out: None where it refuses them.
SEEN_IN_GO: list[tuple[bytes, list[tuple[str, str]] | None]] = [
    # Every command in any case; FROM is called model, and a parameter keeps its name.
    (b"fRoM a\nPARAMETER Num_CTX 1", [("model", "a"), ("Num_CTX", "1")]),
    (b"DRAFT d\nRENDERER r\nFROM a", [("draft", "d"), ("renderer", "r"), ("model", "a")]),
    (b"PARSER p\nREQUIRES 1\nFROM a", [("parser", "p"), ("requires", "1"), ("model", "a")]),
    # One space ends the command; the others belong to the value and go with those at its end.
    (b"FROM  a b \t\n", [("model", "a b")]),
    (b"FROM\ta", [("model", "a")]),
    (b"FROM \n", [("model", "")]),
    (b"FROM ", [("model", "")]),
    (b"FROM\n a", None),
    (b" \t\n  FROM a", [("model", "a")]),
    # Line ends of all three kinds.
    (b"FROM a\rSYSTEM b\r\nLICENSE c", [("model", "a"), ("system", "b"), ("license", "c")]),
    (b'FROM a\nSYSTEM "x\r\ny"', [("model", "a"), ("system", "x\r\ny")]),
    # A comment begins a line, after spaces if need be, and nothing else.
    (b"# SYSTEM x\n  # y\nFROM a # b", [("model", "a # b")]),
    (b"#", None),
    # Quotes are opened by the first character and closed by the last of a line.
    (b'FROM "a b"  \n', [("model", "a b")]),
    (b'FROM a\nSYSTEM "" "', [("model", "a"), ("system", '" ')]),
    (b'FROM a\nSYSTEM "x" y\nz"\n', [("model", "a"), ("system", 'x" y\nz')]),
    (b'FROM a\nSYSTEM "', None),
    (b'FROM a\nSYSTEM "\n"', [("model", "a"), ("system", "\n")]),
    (b'FROM a\nSYSTEM """', None),
    (b'FROM a\nSYSTEM """""', None),
    (b'FROM a\nSYSTEM """"""', [("model", "a"), ("system", "")]),
    (b'FROM a\nSYSTEM """"x"""\n', [("model", "a"), ("system", '"x')]),
    (b'FROM a\nSYSTEM """ x """ y\n"""', [("model", "a"), ("system", ' x """ y\n')]),
    (b'FROM a\nSYSTEM x"\n', [("model", "a"), ("system", 'x"')]),
    (b"FROM a\nSYSTEM 'x\ny'", None),
    (b'FROM a\nMESSAGE user """x\n\ny"""', [("model", "a"), ("message", "user: x\n\ny")]),
    # Roles are in lower case and follow after one space.
    (b"FROM a\nMESSAGE User x", None),
    (b"FROM a\nMESSAGE tool x", None),
    (b"FROM a\nMESSAGE  user x", None),
    (b"FROM a\nMESSAGE user", None),
    (b"FROM a\nMESSAGE user ", [("model", "a"), ("message", "user: ")]),
    # Parameters can have any name, or none, or that of a command.
    (b"FROM a\nPARAMETER  stop x", [("model", "a"), ("", "stop x")]),
    (b"PARAMETER model x", [("model", "x")]),
    (b"PARAMETER from x", None),
    (b"FROM a\nPARAMETER top-p 1", None),
    (b"FROM a\nPARAMETER stop\nx", None),
    (b"FROMa b\nFROM a", None),
    # What cannot be printed is dropped from values, and at the start of a line.
    (
        "FROM a\nSYSTEM \u200b\xa0x\x07\x0b\u200dy\u3000z\u2028\ue000\xad".encode(),
        [("model", "a"), ("system", "xyz")],
    ),
    ("\ufeff\ufeffFROM a".encode(), [("model", "a")]),
    ("\u200b\u200bFROM a".encode(), None),
    ("FR\u200bOM a".encode(), None),
    (b"\x00 FROM a", None),
    ("\u017fYSTEM x\nFROM a".encode(), None),
    (
        "FROM a\nSYSTEM \xe9\U0001f600\U0001fae8\u65e5\u0301".encode(),
        [("model", "a"), ("system", "\xe9\U0001f600\U0001fae8\u65e5\u0301")],
    ),
    # UTF-16 with its mark, both ways round; a lone surrogate, a pair of low ones, half a unit.
    ("\ufeffFROM \xe9\U0001f600".encode("utf-16-le"), [("model", "\xe9\U0001f600")]),
    ("\ufeffFROM \xe9\U0001f600".encode("utf-16-be"), [("model", "\xe9\U0001f600")]),
    (
        "\ufeffFROM ".encode("utf-16-be") + b"\xd8\x00\x00a\xdc\x00\xdc\x00\x00b\xdc\x00\xd8",
        [("model", "\ufffda\ufffdb\ufffd\ufffd")],
    ),
    (b"\xff\xfeF", None),
    (b"F\x00R\x00O\x00M\x00 \x00a\x00", None),
    # Bad UTF-8: one replacement for each bad sequence, or for each byte of it after a mark.
    (b"FROM \xe2\x82x\xff", [("model", "\ufffdx\ufffd")]),
    (b"\xef\xbb\xbfFROM \xe2\x82x\xff\xed\xa0\x80", [("model", "\ufffd\ufffdx\ufffd\ufffd\ufffd\ufffd")]),
]

REFUSED: list[tuple[str | bytes, str, str]] = [
    ("FROM a\nBOGUS x", "Line 2 of the Modelfile has 'BOGUS'", "FROM, LICENSE, TEMPLATE"),
    ("FROM a\r\n\r\nSYSTEM You are\r\nkind\r\n", "Line 4 of the Modelfile has 'kind'", '"""'),
    ("FROM a\rFROM:b x", "Line 2 of the Modelfile has 'FROM:b'", "and a space"),
    ("FROM", "Line 1 of the Modelfile has FROM without a value", "on the same line"),
    ("FROM a\n\nPARAMETER seed\n", "Line 3 of the Modelfile has PARAMETER seed without", "on the same line"),
    ("FROM a\nPARAMETER top-p 1", "Line 2 of the Modelfile has 'top-p'", "letters, digits and '_'"),
    ("FROM a\nMESSAGE tool x", "Line 2 of the Modelfile has 'tool'", "system, user, assistant"),
    (
        '# c\nFROM a\nSYSTEM """x\ny\n',
        "Line 3 of the Modelfile begins a SYSTEM",
        "end it with the same quotes",
    ),
    ("SYSTEM x", "has no FROM", "'FROM llama3.2'"),
    (b"", "has no FROM", "begin it"),
    ("FROM \ud800", "lone surrogate", "pass the file's bytes"),
]

# Texts of which many are nearly Modelfiles, and some are.
PIECES = st.sampled_from(
    [
        *(
            "FROM a\n",
            "FROM ",
            "SYSTEM ",
            "MESSAGE user ",
            "PARAMETER stop ",
            "license ",
            "PARAMETER message ",
        ),
        *(
            '"',
            '"""',
            "\n",
            "\r\n",
            "\r",
            " ",
            "\t",
            "#",
            "x",
            "user: ",
            "\xe9",
            "\x00",
            "\u200b",
            "\U0001fae9",
        ),
    ]
)
TEXTS = st.one_of(
    st.text(),
    st.lists(PIECES, max_size=12).map("".join),
    st.lists(PIECES, max_size=12).map(lambda pieces: "FROM a\n" + "".join(pieces)),
)
# What a value can hold once it was read.
VALUES = st.text(st.sampled_from('ab "\n\r\t\xe9:#'), max_size=12)


def commands_of(content: str | bytes) -> list[tuple[str, str]] | None:
    """Return what was read, or None if it was refused."""
    try:
        return [(command.name, command.args) for command in parse_modelfile(content).commands]
    except InvalidArgument:
        return None


def test_every_case_of_the_oracle_is_read_as_ollama_reads_it() -> None:
    cases = json.loads(ORACLE.read_text(encoding="utf-8"))
    assert len(cases) == 244
    for case in cases:
        wanted = [tuple(pair) for pair in case["commands"]] if "commands" in case else None
        assert (case["input"], commands_of(case["input"])) == (case["input"], wanted)
        assert (case["input"], commands_of(case["input"].encode())) == (case["input"], wanted)


@pytest.mark.parametrize(("content", "commands"), SEEN_IN_GO)
def test_odd_texts_are_read_as_ollama_reads_them(
    content: bytes, commands: list[tuple[str, str]] | None
) -> None:
    assert commands_of(content) == commands


@pytest.mark.parametrize(("content", "fault", "remedy"), REFUSED)
def test_what_is_no_modelfile_is_refused_with_its_line_and_the_remedy(
    content: str | bytes, fault: str, remedy: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_modelfile(content)
    assert caught.value.argument == "modelfile"
    assert fault in caught.value.message
    assert remedy in caught.value.message


def test_a_long_word_makes_a_short_message() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_modelfile("FROM a\n" + "x" * 100_000)
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("content", [None, 3, Path("Modelfile"), bytearray(b"FROM a")])
def test_content_of_another_type_is_refused(content: object) -> None:
    with pytest.raises(InvalidArgument, match=type(content).__name__):
        parse_modelfile(content)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] -- the point


def test_characters_newer_than_ollamas_unicode_are_kept() -> None:
    # Ollama drops U+1FAE9, of Unicode 16: the one difference.
    assert commands_of("FROM a\nSYSTEM \U0001fae9") == [("model", "a"), ("system", "\U0001fae9")]
    assert commands_of("FROM a\nSYSTEM x\ufffe\uffff") == [("model", "a"), ("system", "x")]  # no characters


def test_a_licence_of_megabytes_is_read_in_a_few_passes() -> None:
    text = "all rights are reserved, none is granted\n" * 50_000
    assert commands_of(f'FROM a\nLICENSE """{text}"""\n') == [("model", "a"), ("license", text)]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        # As Ollama writes them.
        (Command("model", "a b"), "FROM a b"),
        (Command("system", "be kind"), "SYSTEM be kind"),
        (Command("system", " x"), 'SYSTEM " x"'),
        (Command("template", "x\ny"), 'TEMPLATE "x\ny"'),
        (Command("license", 'a "b"\nc'), 'LICENSE """a "b"\nc"""'),
        (Command("message", "user: hi: there"), "MESSAGE user hi: there"),
        (Command("message", "assistant: a\nb"), 'MESSAGE assistant "a\nb"'),
        (Command("stop", "<end> "), 'PARAMETER stop "<end> "'),
        (Command("Top_K", "1"), "PARAMETER Top_K 1"),
        # Where Ollama's spelling reads back as something else.
        (Command("model", "a "), 'FROM "a "'),
        (Command("system", '"x"'), 'SYSTEM ""x""'),
        (Command("system", '"'), 'SYSTEM """""""'),
        (Command("stop", "\t"), 'PARAMETER stop "\t"'),
        (Command("message", "x"), "PARAMETER message x"),
    ],
)
def test_a_command_is_written_so_that_it_reads_back(command: Command, text: str) -> None:
    assert str(command) == text
    assert parse_modelfile(f"FROM m\n{text}").commands[1:] == [command]


def test_a_command_that_no_modelfile_can_hold_is_written_as_ollama_writes_it() -> None:
    assert str(Command("system", 'a """\nb')) == 'SYSTEM """a """\nb"""'


def test_a_modelfile_is_written_one_command_a_line() -> None:
    text = 'from a\n\n# c\nPARAMETER stop "b"\nMessage user   """\nhi"""'
    assert str(parse_modelfile(text)) == 'FROM a\nPARAMETER stop b\nMESSAGE user "\nhi"\n'


def test_a_modelfile_is_a_value() -> None:
    modelfile = parse_modelfile("FROM a")
    assert modelfile == Modelfile([Command("model", "a")])
    with pytest.raises(AttributeError):
        modelfile.commands[0].name = "b"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue] -- the point


@given(TEXTS)
@example('FROM a\nSYSTEM """"x"""')
@example('FROM a\nSYSTEM """x " \n"""')
@example("FROM a\nPARAMETER message user")
@example("PARAMETER model \r")
def test_what_was_read_and_written_reads_back_the_same(text: str) -> None:
    try:
        modelfile = parse_modelfile(text)
    except InvalidArgument:
        return
    assert parse_modelfile(str(modelfile)) == modelfile


@given(st.lists(st.tuples(st.sampled_from(["SYSTEM", "LICENSE", "PARAMETER stop", "MESSAGE user"]), VALUES)))
def test_values_that_stand_in_quotes_are_read_as_they_are(pairs: list[tuple[str, str]]) -> None:
    pairs = [(command, value) for command, value in pairs if '"' not in value]
    text = "FROM a\n" + "".join(f'{command} """{value}"""\n' for command, value in pairs)
    read = parse_modelfile(text).commands[1:]
    assert [command.args.removeprefix("user: ") for command in read] == [
        value.removeprefix("user: ") for _, value in pairs
    ]


@given(st.one_of(st.binary(), TEXTS.map(lambda text: text.encode("utf-16", "surrogatepass"))))
def test_any_bytes_are_a_modelfile_or_an_invalid_argument(content: bytes) -> None:
    commands = commands_of(content)
    assert commands is None or any(name == "model" for name, _ in commands)


@given(TEXTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_text_and_its_bytes_in_any_encoding_are_the_same(text: str, encoding: str) -> None:
    plain = text.lstrip("\ufeff")
    assert commands_of(plain.encode(encoding)) == commands_of(plain)
