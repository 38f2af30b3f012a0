"""`people`, `patients`, `proxies` and `consents`: who signs in, and what is recorded about a person."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .base import Json, app, run

people_app = typer.Typer(no_args_is_help=True, help="Who may sign in here, and as what.")
patients_app = typer.Typer(no_args_is_help=True, help="What is recorded about a person and decides.")
proxies_app = typer.Typer(no_args_is_help=True, help="Who acts for whom, and by which right.")
consents_app = typer.Typer(no_args_is_help=True, help="Consents that need an operator.")
app.add_typer(people_app, name="people")
app.add_typer(patients_app, name="patients")
app.add_typer(proxies_app, name="proxies")
app.add_typer(consents_app, name="consents")

Username = Annotated[str, typer.Argument(help="The sign-in name.")]
PasswordFile = Annotated[Path | None, typer.Option("--password-file", help="A file whose first line is the password; - is standard input. Without it you are asked.")]
Organisation = "ODS code of the organisation they sign in for; staff only."
RoleOf = "break-glass, clinician, contributor, declassifier, operator, privacy-officer, refer, registrar or volunteer."
OtherRecord = Annotated[str, typer.Argument(metavar="INTO", help="The record that goes on: id, NHS number, or system|value.")]

Person = Annotated[str, typer.Argument(metavar="PATIENT", help="The person: id, NHS number, or system|value.")]

Evidence = Annotated[str, typer.Option(help="Who found it out, when and how; kept in the person's own log.")]


@people_app.command("list")
def people_list(json: Json = False) -> None:
    """Everybody who has an account here. No passwords."""
    from ..commands import enrolling

    sys.exit(run(enrolling.listing(json)))


@people_app.command("add")
def people_add(
    username: Username,
    who: Annotated[str, typer.Option("--who", help="Practitioner/…, PractitionerRole/…, Patient/… or RelatedPerson/… that is here already, by its id here or where it came from; or system|value.")],
    organisation: Annotated[str, typer.Option(help=Organisation)] = "",
    role: Annotated[list[str] | None, typer.Option("--role", help=f"May be given more than once: {RoleOf}")] = None,
    name: Annotated[str, typer.Option(help="What they are called; the name in their resource by default.")] = "",
    purpose: Annotated[str, typer.Option(help="What they sign in for (a v3-ActReason code). Default: TREAT, and HOPERAT for a privacy officer.")] = "",
    assurance: Annotated[str, typer.Option(help="How surely you know who they are: P0, P5, P9, AAL2, ...")] = "",
    password_file: PasswordFile = None,
    json: Json = False,
) -> None:
    """Open an account for somebody who is in the store."""
    from ..commands import enrolling

    sys.exit(run(enrolling.add(username, who, organisation, role or [], name, purpose, assurance, password_file, json)))


@people_app.command("change")
def people_change(
    username: Username,
    give: Annotated[list[str] | None, typer.Option("--give", help=f"A role they get: {RoleOf}")] = None,
    take: Annotated[list[str] | None, typer.Option("--take", help="A role they lose.")] = None,
    organisation: Annotated[str | None, typer.Option(help=Organisation)] = None,
    name: Annotated[str | None, typer.Option(help="What they are called.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What they sign in for (a v3-ActReason code).")] = None,
    assurance: Annotated[str | None, typer.Option(help="How surely you know who they are.")] = None,
    json: Json = False,
) -> None:
    """Give or take roles, or change the place, purpose or level. It holds at once: they are signed out everywhere."""
    from ..commands import enrolling

    sys.exit(run(enrolling.change(username, give or [], take or [], organisation, name, purpose, assurance, json)))


@people_app.command("password")
def people_password(username: Username, password_file: PasswordFile = None, json: Json = False) -> None:
    """Set another password. They are signed out everywhere."""
    from ..commands import enrolling

    sys.exit(run(enrolling.password(username, password_file, json)))


@people_app.command("close")
def people_close(username: Username, json: Json = False) -> None:
    """Close an account: they are signed out everywhere, at once, and their apps are stopped."""
    from ..commands import enrolling

    sys.exit(run(enrolling.close(username, json)))


@people_app.command("reopen")
def people_reopen(username: Username, json: Json = False) -> None:
    """Let them sign in again, with the password and the roles they had."""
    from ..commands import enrolling

    sys.exit(run(enrolling.reopen(username, json)))


@patients_app.command("record")
def patients_record(
    patient: Person,
    fact: Annotated[str, typer.Argument(help="national-data-opt-out, capacity-lost, no-notify or safeguarding-proxy.")],
    evidence: Evidence,
    off: Annotated[bool, typer.Option("--off", help="It holds no more.")] = False,
    who: Annotated[str, typer.Option(help="RelatedPerson/id whose role is suspended (safeguarding-proxy).")] = "",
) -> None:
    """Record a fact that decides who may see a person's record. It holds at once."""
    from ..commands import recording

    sys.exit(run(recording.patients_record(patient, fact, not off, evidence, who)))


@patients_app.command("link")
def patients_link(
    one: Person,
    other: Annotated[str, typer.Argument(help="The id of the other record.")],
    evidence: Evidence,
    type_: Annotated[str, typer.Option("--type", help="replaces or replaced-by join the consents of both; seealso or refer carry denies over.")],
) -> None:
    """Say that two records are the same person's."""
    from ..commands import recording

    sys.exit(run(recording.patients_link(one, other, type_, evidence)))


@patients_app.command("unlink")
def patients_unlink(one: Person, other: Annotated[str, typer.Argument(help="The id of the other record.")], evidence: Evidence) -> None:
    """Say that two records are not the same person's after all."""
    from ..commands import recording

    sys.exit(run(recording.patients_link(one, other, "", evidence)))


@patients_app.command("merge")
def patients_merge(one: Person, other: OtherRecord, evidence: Evidence) -> None:
    """Say that two records are one person's: the consents of both hold for both. Nothing is moved; `unmerge` parts them again."""
    from ..commands import matching

    sys.exit(run(matching.merge(one, other, evidence)))


@patients_app.command("unmerge")
def patients_unmerge(
    one: Person, other: Annotated[str, typer.Argument(metavar="OTHER", help="The other record.")], evidence: Evidence
) -> None:
    """Say that two merged records are two people's: consents part, and what a partner got by the other's is taken back."""
    from ..commands import matching

    sys.exit(run(matching.unmerge(one, other, evidence)))


@patients_app.command("duplicates")
def patients_duplicates(json: Json = False) -> None:
    """Records that may be one person's twice: same birth date and family name, not two NHS numbers. Exit 1 when there are any."""
    from ..commands import matching

    sys.exit(run(matching.duplicates(json)))


@patients_app.command("waiting")
def patients_waiting(json: Json = False) -> None:
    """Whose record at a partner is not sure: nothing about them goes there. Exit 1 when there is anybody."""
    from ..commands import matching

    sys.exit(run(matching.waiting(json)))


@patients_app.command("settle")
def patients_settle(
    patient: Person,
    remote: Annotated[str, typer.Argument(help="The name of the partner.")],
    same: Annotated[str, typer.Option(metavar="PATIENT/ID", help="Which of several records there is theirs.")] = "",
    evidence: Annotated[str, typer.Option(help="Who found it out, when and how; needed with --same.")] = "",
) -> None:
    """Have somebody who waits looked at again, once what was wrong is corrected."""
    from ..commands import matching

    sys.exit(run(matching.settle(patient, remote, same, evidence)))


@proxies_app.command("list")
def proxies_list(patient: Person, json: Json = False) -> None:
    """Everybody who acts, acted or may come to act for a person."""
    from ..commands import recording

    sys.exit(run(recording.proxies_list(patient, json)))


@proxies_app.command("add")
def proxies_add(
    patient: Person,
    proxy: Annotated[str, typer.Argument(help="RelatedPerson/id of this person.")],
    basis: Annotated[str, typer.Option(help="A code of England-NHSProxyLegalBasis: consent, best-interest, parental-responsibility, ...")],
    grantor: Annotated[str, typer.Option(help="ODS code of the organisation that answers for it.")],
    evidence: Evidence,
    present: Annotated[str, typer.Option(help="Who was there when it was checked: Type/id, or in words.")] = "",
    status: Annotated[str, typer.Option(help="active or proposed.")] = "active",
    start: Annotated[str, typer.Option(help="First day; today by default.")] = "",
    end: Annotated[str, typer.Option(help="Last day, if there is one.")] = "",
) -> None:
    """Register somebody who acts for a person."""
    from ..commands import recording

    sys.exit(run(recording.proxies_add(patient, proxy, basis, grantor, evidence, present, status, start, end)))


@proxies_app.command("change")
def proxies_change(
    patient: Person,
    consent: Annotated[str, typer.Argument(help="The role, as `proxies list` names it.")],
    status: Annotated[str, typer.Argument(help="active, inactive, rejected or entered-in-error.")],
    reason: Annotated[str, typer.Option(help="A code of England-ConsentStatusReason, such as ROLE_DEACTIVATED_SAFEGUARDING.")],
    text: Annotated[str, typer.Option(help="Words of its own, which OTHER needs.")] = "",
) -> None:
    """Move a role to another status. It holds at once."""
    from ..commands import recording

    sys.exit(run(recording.proxies_change(patient, consent, status, reason, text)))


@consents_app.command("uncomputable")
def consents_uncomputable(json: Json = False) -> None:
    """Consents that close a record because nobody can compute them; exit 1 when there are any."""
    from ..commands import recording

    sys.exit(run(recording.consents_uncomputable(json)))


@consents_app.command("end")
def consents_end(consent: Annotated[str, typer.Argument(help="The id of a consent that came from a partner.")], evidence: Evidence) -> None:
    """End a consent that came from a partner, and the task that it raised."""
    from ..commands import recording

    sys.exit(run(recording.consents_end(consent, evidence)))
