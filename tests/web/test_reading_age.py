"""What the pages say is read with ease at eleven: Flesch-Kincaid, for each sentence and each page, in English. See tests/reading.py."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from babel.messages.extract import extract_from_file

from .. import reading

ROOT = Path(__file__).parent.parent.parent
TEMPLATES = ROOT / "fhir_gateway" / "web" / "templates"
FORMS = sorted((ROOT / "profiles").glob("Questionnaire-*.json"))
SIXTH = 7.0  # below it: grade 6, whose pupils are eleven
LABEL = 8  # fewer words are a label, whose grade says more of one long word than of the text
AS_IT_IS = {
    "They have parental responsibility for you, until you are 16": "the law's name for it, which people must recognise",
    "CarePlan Goal Condition Task ServiceRequest CareTeam RelatedPerson QuestionnaireResponse DocumentReference ClinicalImpression RiskAssessment": "names of types, which no page shows as a sentence",
}


def collected() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sentences", ROOT / "scripts" / "sentences.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("word", "count"),
    [(word, count) for count, words in {
        1: "help who looked wheel there page names used more are here said tried whole change shared choice", 2: "people table wanted changes written patient reason daily quiet science",
        3: "somebody hospital medicine family idea period area important remember", 4: "information everybody emergency", 5: "organisation",
    }.items() for word in words.split()],
)  # fmt: skip
def test_syllables_are_counted_as_people_say_them(word: str, count: int) -> None:
    assert reading.syllables(word) == count


def test_the_grade_is_that_of_the_formula() -> None:
    assert reading.grade(["The cat sat on the mat."]) == pytest.approx(0.39 * 6 + 11.8 - 15.59)
    assert reading.grade(["The cat sat. The dog ran."]) == pytest.approx(0.39 * 3 + 11.8 - 15.59)
    assert reading.grade(["Organisational responsibilities necessitate authorisation."]) > 20
    assert reading.sentences("It waits for %(num)s days: see {name}. Then it ends") == [["It", "waits", "for", "it", "days"], ["see", "it"], ["Then", "it", "ends"]]


def test_every_sentence_of_a_page_is_read_with_ease_at_eleven_or_has_a_reason() -> None:
    texts = collected().sentences()
    hard = {t: round(g, 1) for t in texts if sum(map(len, reading.sentences(t))) >= LABEL and (g := reading.grade([t])) >= SIXTH}
    assert len(texts) > 1_500
    assert {t: g for t, g in hard.items() if t not in AS_IT_IS} == {}, "say it in two sentences, or in shorter words"
    assert set(AS_IT_IS) <= set(hard), "what is not hard any more needs no reason"


@pytest.mark.parametrize("form", FORMS, ids=[f.stem for f in FORMS])
def test_what_a_published_form_says_of_itself_is_read_with_ease_too(form: Path) -> None:
    said = json.loads(form.read_text())
    assert reading.grade([said["description"]]) < SIXTH and not re.search("answers become|Observation|[Pp]erson", said["description"]), "what becomes of it is its purpose, which no page shows"


@pytest.mark.parametrize("page", sorted(str(f.relative_to(TEMPLATES)) for f in TEMPLATES.rglob("*.html")))
def test_every_page_as_a_whole_is_read_with_ease_at_eleven(page: str) -> None:
    said = extract_from_file("jinja2.ext:babel_extract", TEMPLATES / page, {"_": None, "ngettext": (1, 2), "gettext": None})
    texts = [t if isinstance(t, str) else t[0] for _line, t, _comments, _context in said]
    if len(re.findall(r"\w+", " ".join(texts))) >= 30:
        assert reading.grade(texts) < SIXTH - 1, page
