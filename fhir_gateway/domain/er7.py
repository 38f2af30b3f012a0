"""HL7 v2 messages as hospitals send them, in ER7 (`|^~\\&`): bytes in, plain lists out, and the acknowledgement back. Pure.

Structure is read by the `hl7` library; charsets, escapes, framing and batches are read here, since the library stops at those.
HL7 v2.5.1, chapter 2; errors by tables 0357 (condition) and 0516 (severity).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import hl7

from .problem import KINDS, Issue, Problem

MOST: Final = 64 * 1024  # bytes of one message: an ADT has some hundreds, one with every optional segment some thousands
MOST_MESSAGES: Final = 5_000  # of one file
LONGEST_NAME: Final = 180  # characters of MSH-10; the standard gives it 20 to 199
CHARSETS: Final = {  # table 0211, and how people write it
    "": "utf-8", "ASCII": "utf-8", "UNICODE UTF-8": "utf-8", "UTF-8": "utf-8", "UTF8": "utf-8", "UNICODE": "utf-8",
    "8859/1": "cp1252", "ISO-8859-1": "cp1252", "ISO8859-1": "cp1252", "8859/15": "iso8859-15", "ISO-8859-15": "iso8859-15", "WINDOWS-1252": "cp1252", "CP1252": "cp1252",
}  # fmt: skip
_FRAMES: Final = bytes.maketrans(b"\x0b\x1c", b"\r\r")  # MLLP begins with VT and ends with FS CR
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
MARKS: Final = "|^~\\&"  # separators of fields, components, repetitions; escape; separator of subcomponents

Field = list[list[list[str]]]  # repetitions of components of subcomponents, escapes still in them


def wrong(text: str, where: str, condition: str = "102", kind: str = "invalid") -> Problem:
    """A Problem with the condition (table 0357) that an ERR segment names. `where`: `PID^1^7`."""
    return Problem(kind, text, where, issues=[Issue("error", KINDS[kind].code, where, text, condition)])


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Fields are asked for by their numbers in the standard; what is not there is "", and so is HL7's null `""`."""

    segments: tuple[tuple[str, tuple[Field, ...]], ...]
    charset: str = "utf-8"
    marks: str = MARKS
    source: str = ""  # as it came, its lines ended as the standard has it
    nth: int = 1  # which PID and MRG of the whole they are, where this is one group of it

    def has(self, name: str) -> bool:
        return any(n == name for n, _ in self.segments)

    def count(self, name: str) -> int:
        return sum(n == name for n, _ in self.segments)

    def repetitions(self, segment: str, field: int) -> int:
        return len(self._field(segment, field))

    def text(self, segment: str, field: int, component: int = 1, *, repetition: int = 1, sub: int = 1) -> str:
        """One piece of text, unescaped and without what FHIR does not take in a string; "" when it is not there."""
        found = self._field(segment, field)
        try:
            raw = found[repetition - 1][component - 1][sub - 1]
        except IndexError:
            return ""
        return "" if raw == '""' else _CONTROL.sub("", unescaped(raw, self.marks, self.charset)).strip()

    def _field(self, segment: str, field: int) -> Field:
        fields = next((f for n, f in self.segments if n == segment), ())
        return fields[field] if field < len(fields) else []

    @property
    def name(self) -> str:
        """MSH-10, by which its sender knows it."""
        return self.text("MSH", 10)

    @property
    def event(self) -> str:
        """`ADT^A01`, from MSH-9, or EVN-1 where that says the type alone."""
        kind, trigger = self.text("MSH", 9), self.text("MSH", 9, 2) or self.text("EVN", 1)
        return f"{kind}^{trigger}" if trigger else kind

    @property
    def sender(self) -> tuple[str, str]:
        """Sending application and facility."""
        return self.text("MSH", 3), self.text("MSH", 4)


# -- in ---------------------------------------------------------------------------------------------------------------


def split(raw: bytes) -> list[bytes]:
    """The messages of a file: one, several after each other, or batches (FHS, BHS), without their framing. Problem too-large."""
    text = raw.removeprefix(b"\xef\xbb\xbf").translate(_FRAMES).replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    found: list[list[bytes]] = []
    for line in text.split(b"\r"):
        if not line.strip() or line[:3] in (b"FHS", b"BHS", b"BTS", b"FTS"):
            continue
        if line.startswith(b"MSH") or not found:
            found.append([])
        found[-1].append(line)
        if len(found) > MOST_MESSAGES:
            raise Problem("too-large", f"A file may hold {MOST_MESSAGES} messages.")
    return [b"\r".join(lines) for lines in found]


def is_batch(raw: bytes) -> bool:
    """Does it begin with a header of a file or of a batch."""
    return raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\x0b\r\n ")[:3] in (b"FHS", b"BHS")


def is_er7(raw: bytes) -> bool:
    """Does it begin as messages do: with a header of one, of a batch or of a file."""
    return is_batch(raw) or raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\x0b\r\n ")[:3] == b"MSH"


def read(raw: bytes, charset: str = "") -> Message:
    """One message. `charset`: what the transport says, where MSH-18 does not. Problem malformed, too-large: nothing of it can be used."""
    if len(raw) > MOST:
        raise Problem("too-large", f"A message may have {MOST} bytes.")
    parts = split(raw)
    if len(parts) != 1:
        raise wrong(f"One message at a time is read here, not {len(parts)}.", "MSH", "100", "malformed")
    text, coding = _decoded(parts[0], charset)
    lines = _lines(text)
    marks = _separators(lines[0])
    try:
        parsed = hl7.parse("\r".join(lines))
    except Exception:  # the library says in many ways that it cannot
        raise wrong("This cannot be read as an HL7 v2 message.", "MSH^1", "102", "malformed") from None
    return Message(tuple((_name(s), tuple(_plain(f) for f in s)) for s in parsed), coding, marks, text)


def _decoded(raw: bytes, charset: str) -> tuple[str, str]:
    if not raw.startswith(b"MSH") or len(raw.split(b"\r", 1)[0]) < 8:
        raise wrong("An HL7 v2 message begins with MSH.", "MSH^1", "100", "malformed")
    head = [*raw.split(b"\r", 1)[0].split(raw[3:4]), b""]
    said = (head[17] if len(head) > 17 else b"").decode("latin-1")
    for separator in head[1][1:2].decode("latin-1"):  # MSH-18 may say several: the first is the one that is used
        said = said.split(separator)[0]
    coding = CHARSETS.get((said.strip() or charset.strip()).upper())
    if coding is None:
        raise wrong(f"The character set `{said[:40] or charset[:40]}` is not read here: send UNICODE UTF-8 or 8859/1.", "MSH^1^18", "103", "malformed")
    try:
        return raw.decode(coding), coding
    except UnicodeDecodeError:
        if coding == "cp1252":  # the five bytes that Windows gives no letter
            return raw.decode("latin-1"), "latin-1"
        raise wrong(f"The bytes are not of the character set that MSH-18 says (`{said[:40] or 'none'}`, read as {coding}).", "MSH^1^18", "102", "malformed") from None


def _lines(text: str) -> list[str]:
    """Its segments. A line that begins none is the rest of the one before: people type line ends into fields."""
    out: list[str] = []
    for line in text.split("\r"):
        separator = out[0][3] if out else line[3:4]
        if out and not re.match(rf"[A-Z][A-Z0-9]{{2}}(?:{re.escape(separator)}|$)", line):
            out[-1] += f" {line.strip()}"
        else:
            out.append(line)
    return out


def _separators(header: str) -> str:
    """The message's own five marks, those it leaves out as the standard has them."""
    found = header[3] + header[4:].split(header[3], 1)[0]
    if not 4 <= len(found) <= 6 or len(set(found)) < len(found) or not found.isascii() or any(c.isalnum() or c.isspace() for c in found):
        raise wrong("MSH-1 and MSH-2 must say four or five different separators, such as |^~\\&.", "MSH^1^2", "102", "malformed")
    return (found + MARKS[len(found) :])[:5]


def _name(segment: Any) -> str:
    return str(segment[0])


def _plain(field: Any) -> Field:
    """A field of the library as repetitions of components of subcomponents, however little of that it has."""
    out: Field = []
    for repetition in field:
        if isinstance(repetition, str):
            out.append([[repetition]])
        elif isinstance(repetition, hl7.Component):
            out.append([[str(s) for s in repetition]])
        else:
            out.append([[c] if isinstance(c, str) else [str(s) for s in c] for c in repetition])
    return out


def unescaped(text: str, marks: str = MARKS, charset: str = "utf-8") -> str:
    """With HL7's escapes read (2.7): separators, hexadecimal bytes, line ends; what we do not know is left out, as formatting is."""
    mark = marks[3]
    if mark not in text:
        return text
    plain = {"F": marks[0], "S": marks[1], "R": marks[2], "E": mark, "T": marks[4]}
    first, *rest = text.split(mark)
    out, inside = [first], True  # every second piece stands between two escape characters
    for piece in rest[:-1]:
        out.append(_meant(piece, plain, charset) if inside else piece)
        inside = not inside
    return "".join([*out, f"{mark if inside else ''}{rest[-1]}"])  # one that is not closed is itself


def _meant(escape: str, plain: Mapping[str, str], charset: str) -> str:
    if escape in plain:
        return plain[escape]
    if escape.startswith("X"):
        try:
            return bytes.fromhex(escape[1:]).decode(charset, "replace")
        except ValueError:
            return ""
    return "\n" if escape.startswith((".br", ".sp")) else ""


# -- out --------------------------------------------------------------------------------------------------------------


def escaped(text: str) -> str:
    """Text as it may stand in a field of ours."""
    plain = _CONTROL.sub(" ", text.replace("\r", " ").replace("\n", " "))
    return "".join(_ESCAPES.get(c, c) for c in plain)


_ESCAPES: Final = {"|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\", "\\": "\\E\\"}


def ack(of: Message | None, code: str, issues: Iterable[Issue], at: datetime, name: str) -> bytes:
    """The acknowledgement of a message (None: it could not be read) in UTF-8. `code`: AA, AE or AR; `name`: its own MSH-10.

    An ERR segment for each issue: where (`PID^1^7`), the condition in its `key`, the severity, and the sentence.
    """
    application, facility = of.sender if of is not None else ("", "")
    trigger = of.text("MSH", 9, 2) if of is not None else ""
    version = (of.text("MSH", 12) if of is not None else "") or "2.5.1"
    kind = f"ACK^{escaped(trigger)}^ACK" if trigger else "ACK"
    stamp = at.strftime("%Y%m%d%H%M%S") + "+0000"
    msh = ["MSH", "^~\\&", "FHIR-GATEWAY", "", escaped(application), escaped(facility), stamp, "", kind, escaped(name), "P", escaped(version), "", "", "", "", "", "UNICODE UTF-8"]
    out = ["|".join(msh), "|".join(["MSA", code, escaped(of.name[:LONGEST_NAME]) if of is not None else ""])]
    return "".join(f"{line}\r" for line in [*out, *(_err(i) for i in issues)]).encode()


def _err(issue: Issue) -> str:
    place = [escaped(p) for p in issue.where.split("^")] if _PLACE.fullmatch(issue.where) else []
    severity = {"error": "E", "fatal": "E", "warning": "W"}.get(issue.severity, "I")
    condition = issue.key if issue.key in CONDITIONS else "207"
    return "|".join(["ERR", "", "^".join(place), f"{condition}^{CONDITIONS[condition]}^HL70357", severity, "", "", "", escaped(issue.text)])


_PLACE: Final = re.compile(r"[A-Z][A-Z0-9]{2}(\^\d{1,3}){0,5}")
CONDITIONS: Final = {
    "0": "Message accepted", "100": "Segment sequence error", "101": "Required field missing", "102": "Data type error", "103": "Table value not found",
    "200": "Unsupported message type", "201": "Unsupported event code", "202": "Unsupported processing id", "203": "Unsupported version id",
    "204": "Unknown key identifier", "205": "Duplicate key identifier", "206": "Application record locked", "207": "Application internal error",
}  # fmt: skip


def batched(answers: Sequence[bytes], at: datetime) -> bytes:
    """Acknowledgements as one batch."""
    stamp = at.strftime("%Y%m%d%H%M%S") + "+0000"
    return b"".join([f"BHS|^~\\&|FHIR-GATEWAY||||{stamp}\r".encode(), *answers, f"BTS|{len(answers)}\r".encode()])
