"""The command line: `fhir-gateway COMMAND`. Results on stdout, progress and logs on stderr.

Exit 0 done, 1 something was found wrong or an item failed, 2 wrong usage or unreadable input.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from . import __version__

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The FHIR gateway for shared personal care plans.", pretty_exceptions_enable=False)
map_app = typer.Typer(no_args_is_help=True, help="Turn plans into FHIR and back, without storing anything.")
sync_app = typer.Typer(no_args_is_help=True, help="Keep in step with an external FHIR server.")
subscriptions_app = typer.Typer(no_args_is_help=True, help="Systems that asked to be told of changes.")
tell_app = typer.Typer(no_args_is_help=True, help="Telling people that something changed.")
clients_app = typer.Typer(no_args_is_help=True, help="Registered systems and apps.")
people_app = typer.Typer(no_args_is_help=True, help="Who may sign in here, and as what.")
keys_app = typer.Typer(no_args_is_help=True, help="What the built-in issuer signs its tokens with.")
directory_app = typer.Typer(no_args_is_help=True, help="Services that people can be referred to.")
inbox_app = typer.Typer(no_args_is_help=True, help="Pushes that were refused and wait for a person.")
emergencies_app = typer.Typer(no_args_is_help=True, help="Emergency accesses to people's records, and their review.")
app.add_typer(directory_app, name="directory")
app.add_typer(emergencies_app, name="emergencies")
app.add_typer(people_app, name="people")
app.add_typer(map_app, name="map")
app.add_typer(sync_app, name="sync")
app.add_typer(subscriptions_app, name="subscriptions")
app.add_typer(tell_app, name="tell")
app.add_typer(clients_app, name="clients")
app.add_typer(keys_app, name="keys")
patients_app = typer.Typer(no_args_is_help=True, help="What is recorded about a person and decides.")
proxies_app = typer.Typer(no_args_is_help=True, help="Who acts for whom, and by which right.")
consents_app = typer.Typer(no_args_is_help=True, help="Consents that need an operator.")
app.add_typer(patients_app, name="patients")
app.add_typer(proxies_app, name="proxies")
app.add_typer(consents_app, name="consents")
person_app = typer.Typer(no_args_is_help=True, help="The privacy officer's work for one person.")
app.add_typer(person_app, name="person")
retain_app = typer.Typer(no_args_is_help=True, help="How long records are kept, and how they end.")
app.add_typer(retain_app, name="retain")
store_app = typer.Typer(no_args_is_help=True, help="The stores themselves.")
app.add_typer(inbox_app, name="inbox")
app.add_typer(store_app, name="store")
audit_app = typer.Typer(no_args_is_help=True, help="What was written down about who did what: is it whole, and what does it say.")
app.add_typer(audit_app, name="audit")

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Files = Annotated[list[Path], typer.Argument(help="Files to read; - is standard input.")]


class Stop(Exception):
    """Ends the command with this sentence on stderr and this exit code."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


def main() -> None:
    """Entry point: every expected failure is one sentence."""
    from .domain.problem import Problem
    from .settings import Refused
    from .store.base import StoreError

    try:
        app()
    except Stop as stop:
        fail(str(stop), stop.code)
    except Refused as refused:
        fail(str(refused), 2)
    except Problem as problem:
        fail(f"{problem.where}: {problem.text}" if problem.where else problem.text, 1)
    except StoreError as error:
        fail(f"The store refused: {error}", 1)
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def fail(text: str, code: int) -> None:
    print(f"fhir-gateway: {text}", file=sys.stderr)
    sys.exit(code)


def run(doing: Coroutine[Any, Any, Any], loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> Any:
    """What a command does. What goes wrong beside it is logged as everywhere: to stderr, nobody's data in it."""
    from . import logs

    logs.to_stderr("warning")
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(doing)


def out(item: Any) -> None:
    """One JSON object on a line of stdout, at once."""
    from .domain import strict

    sys.stdout.buffer.write(strict.dump(item) + b"\n")
    sys.stdout.buffer.flush()


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


# -- serving ----------------------------------------------------------------------------------------------------------


@app.command()
def serve(demo: Annotated[bool, typer.Option("--demo", help="With demo people and what to try.")] = False) -> None:
    """Serve the gateway (and the worker that syncs and tells, unless GATEWAY_WORKER=false)."""
    from . import serving
    from .settings import load

    settings = load(**({"demo": True} if demo else {}))
    sys.exit(serving.serve(settings))


@app.command()
def worker() -> None:
    """Run the worker, which syncs and tells, apart from the server."""
    from uvicorn.loops.auto import auto_loop_factory

    from . import serving
    from .settings import load

    run(serving.work(load()), auto_loop_factory())  # as quick a loop as the server's


# -- plans ------------------------------------------------------------------------------------------------------------


@app.command("import")
def import_(
    files: Files,
    as_: Annotated[
        str, typer.Option("--as", help="Who brings it in: a registered client, a demo persona, or `operator` for organisations and roles.")
    ] = "hospital",
    mapping: Annotated[Path | None, typer.Option(help="A mapping file for a partner's own format.")] = None,
    json: Json = False,
) -> None:
    """Bring in plans, FHIR Bundles, resources or NDJSON through the gate."""
    from .commands import bringing

    sys.exit(run(bringing.bring_in(files, as_, mapping, json)))


@directory_app.command("import")
def directory_import(
    files: Annotated[list[Path], typer.Argument(help="Files, folders or .zip archives of Open Referral UK (HSDS 3.x), JSON or CSV.")],
    as_: Annotated[str, typer.Option("--as", help="Who brings it in: `operator`, or a registered client, whose entries wait for an operator.")] = "operator",
    mapping: Annotated[Path | None, typer.Option(help="A YAML file: which organisations, areas and categories of theirs are which of ours.")] = None,
    source: Annotated[str, typer.Option(help="What this directory is called, where there are several.")] = "",
    most_go: Annotated[bool, typer.Option("--most-go", help="Set services inactive that are not in these files, also when they are most.")] = False,
    json: Json = False,
) -> None:
    """Bring in a service directory; what it has no more is set inactive."""
    from .commands import directory

    sys.exit(run(directory.bring_in(files, as_, mapping, source, most_go, json)))


@app.command()
def hl7v2(
    files: Annotated[list[Path] | None, typer.Argument(help="Files of HL7 v2 messages: one, several, or batches.")] = None,
    drop: Annotated[Path | None, typer.Option("--drop", help="A folder into which files are dropped: each *.hl7 in order, answered by an .ack beside it.")] = None,
    as_: Annotated[str, typer.Option("--as", help="Which registered system sent them.")] = "hospital",
    json: Json = False,
) -> None:
    """Take in HL7 v2 messages (ADT A01, A03, A08, A11, A13, A40) through the gate, each acknowledged."""
    from .commands import messages

    sys.exit(run(messages.hl7v2(files or [], drop, as_, json)))


@map_app.command("to-fhir")
def to_fhir(
    file: Annotated[Path, typer.Argument()],
    mapping: Annotated[Path | None, typer.Option()] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what lands where, and what has no home.")] = False,
) -> None:
    """Print the transaction Bundle of a plan, of a partner's document (`--mapping`), or of HL7 v2 messages."""
    from .commands import bringing

    sys.exit(bringing.to_fhir(file, mapping, dry_run))


@map_app.command("from-fhir")
def from_fhir(
    file: Annotated[Path, typer.Argument()],
    mapping: Annotated[Path | None, typer.Option()] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what lands where, and what has no home.")] = False,
) -> None:
    """Print the plan of a Bundle."""
    from .commands import bringing

    sys.exit(bringing.from_fhir(file, mapping, dry_run))


@app.command("print")
def print_(
    person: Annotated[str, typer.Argument(help="Patient/id here or where it came from, system|value, or an NHS number.")],
    whom: Annotated[str, typer.Option("--for", help="Who will read it: Patient/…, RelatedPerson/…, Practitioner/…, Organization/…, CareTeam/…, sector:health, role:Organization/… system|code, or a sign-in name here.")],
    to: Annotated[Path | None, typer.Option("--out", help="The file; by default plan-…-version-N.pdf in this folder.")] = None,
    html: Annotated[bool, typer.Option("--html", help="A page that any browser prints, in place of a PDF.")] = False,
    purpose: Annotated[str, typer.Option(help="What it is read for (v3-ActReason).")] = "TREAT",
    json: Json = False,
) -> None:
    """Print a plan as an A5 booklet: what that reader may see and nothing else. The person reads of it in their log."""
    from .commands import printing

    sys.exit(run(printing.print_plan(person, whom, to, html, purpose, json)))


# -- questions --------------------------------------------------------------------------------------------------------


@app.command()
def decide(
    file: Annotated[Path | None, typer.Argument(help="JSON lines; standard input by default.")] = None,
    definitions: Annotated[Path | None, typer.Option(help="A folder of code systems and value sets: what a no by a code covers.")] = None,
) -> None:
    """Answer consent questions, one JSON line each, by the very function the gate runs."""
    from . import definitions as known
    from .domain import cases

    try:
        source = open(file, encoding="utf-8") if file and str(file) != "-" else sys.stdin  # noqa: SIM115
    except OSError as wrong:
        raise Stop(f"{file} cannot be read: {wrong.strerror}.") from None
    bad = False
    with source:
        try:
            descendants = known.descendants(known.read_definitions(definitions))
        except NotADirectoryError as wrong:
            raise Stop(str(wrong)) from None
        for line in source:
            if not line.strip():
                continue
            for answer in cases.run([line], descendants):
                bad = bad or "error" in answer
                out(answer)
    sys.exit(1 if bad else 0)


@app.command()
def explain(
    who: Annotated[str, typer.Option("--who", help="Practitioner/…, Organization/…, CareTeam/…, sector:health, role:Organization/… system|code, or a demo persona.")],
    what: Annotated[str, typer.Option("--what", help="Type/id of a resource here.")],
    purpose: Annotated[str, typer.Option()] = "TREAT",
    action: Annotated[str, typer.Option()] = "access",
    json: Json = False,
) -> None:
    """Say in plain words whether WHO may see WHAT, and why."""
    from .commands import bringing

    sys.exit(run(bringing.explain(who, what, purpose, action, json)))


@app.command()
def relabel(json: Json = False) -> None:
    """Label everything again where the value sets have changed, or labelling had not run. No version is added."""
    from .commands import operating

    sys.exit(run(operating.relabel(json)))


@app.command()
def validate(
    files: Annotated[list[Path] | None, typer.Argument(help="Resources, Bundles or NDJSON.")] = None,
    definitions: Annotated[Path | None, typer.Option(help="A folder of profiles and questionnaires.")] = None,
    json: Json = False,
    lines: Annotated[bool, typer.Option("--lines", help="JSON lines in and out, as HL7's validator peer speaks them.")] = False,
) -> None:
    """Check resources against R4: one OperationOutcome each."""
    from . import validating

    if lines:
        sys.exit(validating.lines(sys.stdin.buffer, sys.stdout.buffer, definitions=definitions))
    if not files:
        raise Stop("validate needs at least one FILE, or --lines.")
    sys.exit(validating.run(files, definitions=definitions, json_lines=json))


@app.command()
def token(
    as_: Annotated[
        list[str],
        typer.Option("--as", help="patient, proxy, gp, social-worker, link-worker, community-nurse, hospital, stranger, paramedic, privacy-officer or registrar; several are a line each."),
    ],
    json: Json = False,
) -> None:
    """Print an access token of a demo persona, to try things with curl. Only where the demo runs."""
    from .commands import operating

    sys.exit(run(operating.token(as_, json)))


# -- sync -------------------------------------------------------------------------------------------------------------


@sync_app.command("status")
def sync_status(json: Json = False) -> None:
    """How far each remote is, and what to do about what waits."""
    from .commands import syncing

    sys.exit(run(syncing.status(json)))


@sync_app.command("run")
def sync_run(
    once: Annotated[bool, typer.Option("--once", help="Until nothing moves any more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, withheld, received, refused and ignored. Nothing is written.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="With --once: go through everything there, for what no feed told of.")] = False,
    json: Json = False,
) -> None:
    """Push and pull now. With --once it ends with 0 only when both sides are in step: nothing waits to go, to be taken back, or for a person."""
    from .commands import syncing

    sys.exit(run(syncing.run(once, dry_run, json, sweep=sweep)))


Content = Annotated[bool, typer.Option("--content", help="With what it says about people; written down as a look at their records.")]
Why = Annotated[str, typer.Option("--reason", help="Why, for the audit.")]


@sync_app.command("waiting")
def sync_waiting(content: Content = False, json: Json = False) -> None:
    """Whatever waits for a person: refused, in conflict, in quarantine, in the inbox; each with its reason and what can be done."""
    from .commands import waiting

    sys.exit(run(waiting.waiting(json, content)))


@sync_app.command("conflicts")
def sync_conflicts(content: Content = False, json: Json = False) -> None:
    """What both sides changed in the same place."""
    from .commands import waiting

    sys.exit(run(waiting.conflicts(json, content)))


@sync_app.command("resolve")
def sync_resolve(
    id: Annotated[str, typer.Argument(help="The conflict's id.")],
    how: Annotated[str, typer.Argument(help="ours, theirs, or merged.")],
    file: Annotated[Path | None, typer.Argument(help="The merged resource; `meta.versionId` says from which version it was made.")] = None,
    version: Annotated[int | None, typer.Option("--version", help="The version you looked at: what was changed again in the same place gives way.")] = None,
    who: Annotated[str, typer.Option("--who", help="Who decided, for the audit.")] = "",
    reason: Why = "",
    json: Json = False,
) -> None:
    """Settle a conflict: only what clashes is set, what was edited since stays; the result is sent on."""
    from .commands import waiting

    sys.exit(run(waiting.resolve(id, how, file, version=version, who=who, reason=reason, as_json=json)))


@sync_app.command("retry")
def sync_retry(
    ids: Annotated[list[str] | None, typer.Argument(help="Which, by `sync waiting`; all that are parked by default.")] = None, json: Json = False
) -> None:
    """Queue what was refused again."""
    from .commands import waiting

    sys.exit(run(waiting.retry(ids or [], json)))


@sync_app.command("skip")
def sync_skip(id: Annotated[str, typer.Argument(help="The entry, by `sync waiting`.")], reason: Why, json: Json = False) -> None:
    """Leave out a change that a partner refuses; `retry` undoes it. Not what is to be taken back."""
    from .commands import waiting

    sys.exit(run(waiting.skip(id, reason, json)))


@sync_app.command("gone")
def sync_gone(id: Annotated[str, typer.Argument(help="The recall, by `sync waiting`.")], reason: Why, json: Json = False) -> None:
    """End a recall that we cannot see to ourselves, because they say there that it is gone. The person reads the reason; `retry` undoes it."""
    from .commands import waiting

    sys.exit(run(waiting.gone(id, reason, json)))


@sync_app.command("replay")
def sync_replay(
    id: Annotated[str, typer.Argument(help="The item in quarantine, by `sync waiting`.")],
    file: Annotated[Path | None, typer.Argument(help="The corrected resource; as it is there now by default.")] = None,
    json: Json = False,
) -> None:
    """Take in again what could not be taken, by the rules for any write of that partner."""
    from .commands import waiting

    sys.exit(run(waiting.replay(id, file, json)))


@sync_app.command("resend")
def sync_resend(
    remote: Annotated[str, typer.Argument(help="The remote's name.")], reason: Why,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, json: Json = False,
) -> None:  # fmt: skip
    """Send a partner again what it has lost, as far as consent lets it go now. Nothing is deleted here; stopped, it goes on where it was."""
    from .commands import syncing

    if not yes:
        typer.confirm(f"Look at all that {remote} is known to have, and send again what it says it has not?", abort=True, err=True)
    sys.exit(run(syncing.resend(remote, reason, json)))


@sync_app.command("recalls")
def sync_recalls(json: Json = False) -> None:
    """What was sent and taken back, and what is still to be taken back."""
    from .commands import syncing

    sys.exit(run(syncing.recalls(json)))


@sync_app.command("key")
def sync_key(
    name: Annotated[str, typer.Argument(help="The remote, by its `name`.")],
    jwks: Annotated[bool, typer.Option("--jwks", help="Its public half as a JWK set: what the partner registers.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Make another one of our own; it signs from the next start on.")] = False,
    json: Json = False,
) -> None:
    """By which key we sign in at a remote (SMART Backend Services)."""
    from .commands import signing_in

    sys.exit(run(signing_in.key(name, jwks, new, json)))


# -- subscriptions ----------------------------------------------------------------------------------------------------


@subscriptions_app.command("list")
def subscriptions_list(json: Json = False) -> None:
    """Who asked to be told of changes, how far they are, and what is wrong. Secrets and whole addresses are not shown."""
    from .commands import subscribing

    sys.exit(run(subscribing.every(json)))


# -- telling people ---------------------------------------------------------------------------------------------------


@tell_app.command("status")
def tell_status(json: Json = False) -> None:
    """How many notices wait, went out, or could not: no names, no addresses."""
    from .commands import telling

    sys.exit(run(telling.status(json)))


@tell_app.command("retry")
def tell_retry(json: Json = False) -> None:
    """Queue notices again that could not be delivered."""
    from .commands import telling

    sys.exit(run(telling.retry(json)))


# -- operators --------------------------------------------------------------------------------------------------------


@person_app.command("export")
def person_export(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="The person: id, NHS number, or system|value.")],
    officer: Annotated[str, typer.Option("--officer", help="The account of the privacy officer for whom this is done.")],
    place: Annotated[Path | None, typer.Option("--out", help="A folder, or the file to make.")] = None,
    json: Json = False,
) -> None:
    """A copy of everything about a person (subject access), with what tells of others marked for review."""
    from .commands import exporting

    sys.exit(run(exporting.export(person, officer, place, json)))


@app.command()
def report(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="coverage, goals, choices, unmet-need or outcomes.")],
    by: Annotated[str, typer.Option("--by", help="locality (postcode district) or practice; without it everybody together.")] = "",
    json: Json = False,
    fhir: Annotated[bool, typer.Option("--fhir", help="As one FHIR MeasureReport.")] = False,
) -> None:
    """Counts over all people: who has a plan, what goals are about, what could not be had, how scores changed. Small counts are not told."""
    from .commands import reporting

    if json and fhir:
        raise typer.BadParameter("a report is printed as --json lines or as --fhir, not both")
    sys.exit(run(reporting.tell(kind, by, json, fhir)))


@retain_app.command("plan")
def retain_plan(json: Json = False) -> None:
    """Whose record is at the end of its retention, by which rule. Changes nothing."""
    from .commands import retaining

    sys.exit(run(retaining.plan(json)))


Officer = Annotated[str, typer.Option("--officer", help="The account of the privacy officer for whom this is done.")]


@retain_app.command("run")
def retain_run(
    plan: Annotated[str, typer.Option("--plan", help="The plan, as `retain plan` names it.")],
    officer: Officer,
    certificates: Annotated[Path, typer.Option("--certificates", help="The folder for certificates of disposal.")],
    include_recent: Annotated[bool, typer.Option("--include-recent", help="Also what was written to after its end by schedule.")] = False,
    json: Json = False,
) -> None:
    """Dispose of what the plan shows as due. There is no way back."""
    from .commands import retaining

    sys.exit(run(retaining.run(plan, officer, certificates, json, include_recent)))


@retain_app.command("hold")
def retain_hold(
    person: Annotated[str, typer.Argument(metavar="PERSON")],
    reason: Annotated[str, typer.Option(help="Why this record must not go: a claim, an inquiry.")],
    officer: Officer,
) -> None:
    """A legal hold: this record stays, whatever the schedule says."""
    from .commands import retaining

    sys.exit(run(retaining.hold(person, reason, officer)))


@retain_app.command("release")
def retain_release(person: Annotated[str, typer.Argument(metavar="PERSON")], officer: Officer) -> None:
    """End a legal hold."""
    from .commands import retaining

    sys.exit(run(retaining.release(person, officer)))


@retain_app.command("holds")
def retain_holds(json: Json = False) -> None:
    """Who is held, since when, and why."""
    from .commands import retaining

    sys.exit(run(retaining.holds(json)))


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="The backup to make; replaced when the new one is whole.")], json: Json = False) -> None:
    """Copy the store while it serves: one file, with its hash."""
    from .commands import keeping

    sys.exit(run(keeping.backup(file, json)))


@app.command()
def restore(
    file: Annotated[Path | None, typer.Argument(help="A backup. None: go on with a store that is sealed.")] = None,
    journal: Annotated[list[Path] | None, typer.Option("--journal", help="Replay this consent journal (several gateways: several).")] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Replay the consent journal where GATEWAY_JOURNAL has it.")] = False,
    accept_gap: Annotated[bool, typer.Option("--accept-gap", help="Open without the journal: what was withdrawn since is open again.")] = False,
    who: Annotated[str, typer.Option(help="Who answers for the gap.")] = "",
    reason: Annotated[str, typer.Option(help="Why it cannot be helped.")] = "",
    expect: Annotated[
        list[int] | None, typer.Option("--expect", min=1, help="The entry which the journal must reach, from the log (several journals: in their order).")
    ] = None,
    seal: Annotated[bool, typer.Option("--seal", help="Seal the store that is there: other tools restored it.")] = False,
) -> None:
    """Put a backup in the place of the store. It stays sealed until the consent journal is replayed, or somebody answers for the gap."""
    from .commands import keeping

    sys.exit(run(keeping.restore(file, journal or [], replay, seal, accept_gap, who, reason, expect or [])))


@store_app.command("copy")
def store_copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="sqlite:PATH or mongodb://HOST/DATABASE?replicaSet=NAME.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Where nothing is yet.")],
    from_key: Annotated[Path | None, typer.Option(help="File with the key that FROM is encrypted by.")] = None,
    to_key: Annotated[Path | None, typer.Option(help="File with the key to encrypt TO by.")] = None,
    json: Json = False,
) -> None:
    """Copy a whole store to the other engine, and compare. Stop every gateway and worker first."""
    from .commands import copying

    sys.exit(run(copying.copy(source, target, json, from_key, to_key)))


@clients_app.command("list")
def clients_list(json: Json = False) -> None:
    """Registered systems and apps."""
    from .commands import registering

    sys.exit(run(registering.clients_list(json)))


Keys = Annotated[Path | None, typer.Option("--keys", help="A JWK set (or one JWK) with its public keys; private keys are refused.")]
KeysAt = Annotated[str, typer.Option("--keys-at", help="Where it publishes its JWK set (https, a host of GATEWAY_CLIENT_KEYS_FROM).")]


@clients_app.command("add")
def clients_add(
    id: Annotated[str, typer.Argument(help="Its client_id: letters, digits, dots and hyphens.")],
    scopes: Annotated[str, typer.Option(help='The most it may ever ask for: "system/*.rs", "openid fhirUser launch/patient patient/*.rs", ...')],
    keys: Keys = None,
    keys_at: KeysAt = "",
    organisation: Annotated[str, typer.Option(help="ODS code or Organization/id that a system acts for; the organisation is here already.")] = "",
    name: Annotated[str, typer.Option(help="What people see; a system's organisation by default.")] = "",
    purpose: Annotated[str, typer.Option(help="What a system acts for (a v3-ActReason code).")] = "TREAT",
    contributor: Annotated[bool, typer.Option("--contributor", help="A system: may add to records without a relationship.")] = False,
    refers: Annotated[bool, typer.Option("--refers", help="A system: its referrals count as relationships.")] = False,
    introspects: Annotated[bool, typer.Option("--introspects", help="A system: may ask about anybody's token.")] = False,
    redirect: Annotated[list[str] | None, typer.Option(help="An app: an address to return to; may be given several times.")] = None,
    origin: Annotated[list[str] | None, typer.Option(help="An app: a web origin that its pages are served from (CORS).")] = None,
    launch: Annotated[str, typer.Option(help="An app: where it is opened on a person (EHR launch).")] = "",
    json: Json = False,
) -> None:
    """Register a system, which signs in with its own key, or (with --redirect) an app, which people use."""
    from .commands import registering

    said = registering.Registration(
        id, scopes, keys, keys_at, organisation, name, purpose, contributor, refers, introspects, tuple(redirect or ()), tuple(origin or ()), launch
    )
    sys.exit(run(registering.clients_add(said, json)))


@clients_app.command("rotate")
def clients_rotate(
    id: Annotated[str, typer.Argument(help="Its client_id.")],
    keys: Keys = None,
    keys_at: KeysAt = "",
    overlap_hours: Annotated[float, typer.Option(min=0, max=24 * 90, help="How long the old keys go on; 0 when they have leaked.")] = 24,
    json: Json = False,
) -> None:
    """New keys for a client; the old ones go on beside them for a while."""
    from .commands import registering

    sys.exit(run(registering.clients_rotate(id, keys, keys_at, timedelta(hours=overlap_hours), json)))


@clients_app.command("remove")
def clients_remove(id: Annotated[str, typer.Argument(help="Its client_id.")], json: Json = False) -> None:
    """Forget a system or an app: its tokens end at once, everywhere."""
    from .commands import registering

    sys.exit(run(registering.clients_remove(id, json)))


@keys_app.command("list")
def keys_list(json: Json = False) -> None:
    """The keys of the built-in issuer: which signs, which still checks, until when."""
    from .commands import registering

    sys.exit(run(registering.keys_list(json)))


@keys_app.command("rotate")
def keys_rotate(
    algorithm: Annotated[str, typer.Option(help="ES256 or ES384.")] = "ES256",
    overlap_hours: Annotated[float, typer.Option(min=0, max=24 * 90, help="How long the old key still checks.")] = 2,
    json: Json = False,
) -> None:
    """A new key signs from now on, in every process; nobody who holds a token notices."""
    from .commands import registering

    sys.exit(run(registering.keys_rotate(algorithm, timedelta(hours=overlap_hours), json)))


@keys_app.command("withdraw")
def keys_withdraw(kid: Annotated[str, typer.Argument(help="The key's name, as `keys list` says it.")], json: Json = False) -> None:
    """Forget a key that has leaked: every token it signed is refused at once."""
    from .commands import registering

    sys.exit(run(registering.keys_withdraw(kid, json)))


@emergencies_app.command("list")
def emergencies_list(
    reviewed: Annotated[bool, typer.Option("--reviewed", help="Those that were reviewed, instead of those that wait.")] = False, json: Json = False
) -> None:
    """Emergency accesses that wait for a review, oldest first: who, when, why, what kinds of things were read."""
    from .commands import reviewing

    sys.exit(run(reviewing.listing(reviewed, json)))


@emergencies_app.command("review")
def emergencies_review(
    id: Annotated[str, typer.Argument(help="The emergency's id.")],
    outcome: Annotated[str, typer.Option(help="justified or not-justified.")],
    words: Annotated[str, typer.Option(help="Why you think so.")],
) -> None:
    """Write down whether an emergency access was justified."""
    from .commands import reviewing

    sys.exit(run(reviewing.review(id, outcome, words)))


@emergencies_app.command("end")
def emergencies_end(id: Annotated[str, typer.Argument(help="The emergency's id.")]) -> None:
    """End somebody's emergency access before its time."""
    from .commands import reviewing

    sys.exit(run(reviewing.end(id)))


@inbox_app.command("list")
def inbox_list(json: Json = False) -> None:
    """Refused pushes, oldest first."""
    from .commands import operating

    sys.exit(run(operating.inbox_list(json)))


@inbox_app.command("replay")
def inbox_replay(
    id: Annotated[str, typer.Argument(help="The item's id.")],
    file: Annotated[Path | None, typer.Argument(help="The corrected message; as it was by default.")] = None,
) -> None:
    """Push an item again as its sender."""
    from .commands import operating

    sys.exit(run(operating.inbox_replay(id, file)))


@inbox_app.command("end")
def inbox_end(id: Annotated[str, typer.Argument(help="The item's id.")], reason: Why) -> None:
    """Take an item out of the inbox that was settled otherwise; nothing of it is written."""
    from .commands import waiting

    sys.exit(run(waiting.inbox_end(id, reason)))


# -- people who sign in -----------------------------------------------------------------------------------------------

Username = Annotated[str, typer.Argument(help="The sign-in name.")]
PasswordFile = Annotated[Path | None, typer.Option("--password-file", help="A file whose first line is the password; - is standard input. Without it you are asked.")]
Organisation = "ODS code of the organisation they sign in for; staff only."
RoleOf = "break-glass, clinician, contributor, declassifier, operator, privacy-officer, refer, registrar or volunteer."


@people_app.command("list")
def people_list(json: Json = False) -> None:
    """Everybody who has an account here. No passwords."""
    from .commands import enrolling

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
    from .commands import enrolling

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
    from .commands import enrolling

    sys.exit(run(enrolling.change(username, give or [], take or [], organisation, name, purpose, assurance, json)))


@people_app.command("password")
def people_password(username: Username, password_file: PasswordFile = None, json: Json = False) -> None:
    """Set another password. They are signed out everywhere."""
    from .commands import enrolling

    sys.exit(run(enrolling.password(username, password_file, json)))


@people_app.command("close")
def people_close(username: Username, json: Json = False) -> None:
    """Close an account: they are signed out everywhere, at once, and their apps are stopped."""
    from .commands import enrolling

    sys.exit(run(enrolling.close(username, json)))


@people_app.command("reopen")
def people_reopen(username: Username, json: Json = False) -> None:
    """Let them sign in again, with the password and the roles they had."""
    from .commands import enrolling

    sys.exit(run(enrolling.reopen(username, json)))


# -- what is recorded about a person ----------------------------------------------------------------------------------

Person = Annotated[str, typer.Argument(metavar="PATIENT", help="The person: id, NHS number, or system|value.")]
Evidence = Annotated[str, typer.Option(help="Who found it out, when and how; kept in the person's own log.")]


@patients_app.command("record")
def patients_record(
    patient: Person,
    fact: Annotated[str, typer.Argument(help="national-data-opt-out, capacity-lost, no-notify or safeguarding-proxy.")],
    evidence: Evidence,
    off: Annotated[bool, typer.Option("--off", help="It holds no more.")] = False,
    who: Annotated[str, typer.Option(help="RelatedPerson/id whose role is suspended (safeguarding-proxy).")] = "",
) -> None:
    """Record a fact that decides who may see a person's record. It holds at once."""
    from .commands import recording

    sys.exit(run(recording.patients_record(patient, fact, not off, evidence, who)))


@patients_app.command("link")
def patients_link(
    one: Person,
    other: Annotated[str, typer.Argument(help="The id of the other record.")],
    evidence: Evidence,
    type_: Annotated[str, typer.Option("--type", help="replaces or replaced-by join the consents of both; seealso or refer carry denies over.")],
) -> None:
    """Say that two records are the same person's."""
    from .commands import recording

    sys.exit(run(recording.patients_link(one, other, type_, evidence)))


@patients_app.command("unlink")
def patients_unlink(one: Person, other: Annotated[str, typer.Argument(help="The id of the other record.")], evidence: Evidence) -> None:
    """Say that two records are not the same person's after all."""
    from .commands import recording

    sys.exit(run(recording.patients_link(one, other, "", evidence)))


OtherRecord = Annotated[str, typer.Argument(metavar="INTO", help="The record that goes on: id, NHS number, or system|value.")]


@patients_app.command("merge")
def patients_merge(one: Person, other: OtherRecord, evidence: Evidence) -> None:
    """Say that two records are one person's: the consents of both hold for both. Nothing is moved; `unmerge` parts them again."""
    from .commands import matching

    sys.exit(run(matching.merge(one, other, evidence)))


@patients_app.command("unmerge")
def patients_unmerge(
    one: Person, other: Annotated[str, typer.Argument(metavar="OTHER", help="The other record.")], evidence: Evidence
) -> None:
    """Say that two merged records are two people's: consents part, and what a partner got by the other's is taken back."""
    from .commands import matching

    sys.exit(run(matching.unmerge(one, other, evidence)))


@patients_app.command("duplicates")
def patients_duplicates(json: Json = False) -> None:
    """Records that may be one person's twice: same birth date and family name, not two NHS numbers. Exit 1 when there are any."""
    from .commands import matching

    sys.exit(run(matching.duplicates(json)))


@patients_app.command("waiting")
def patients_waiting(json: Json = False) -> None:
    """Whose record at a partner is not sure: nothing about them goes there. Exit 1 when there is anybody."""
    from .commands import matching

    sys.exit(run(matching.waiting(json)))


@patients_app.command("settle")
def patients_settle(
    patient: Person,
    remote: Annotated[str, typer.Argument(help="The name of the partner.")],
    same: Annotated[str, typer.Option(metavar="PATIENT/ID", help="Which of several records there is theirs.")] = "",
    evidence: Annotated[str, typer.Option(help="Who found it out, when and how; needed with --same.")] = "",
) -> None:
    """Have somebody who waits looked at again, once what was wrong is corrected."""
    from .commands import matching

    sys.exit(run(matching.settle(patient, remote, same, evidence)))


@proxies_app.command("list")
def proxies_list(patient: Person, json: Json = False) -> None:
    """Everybody who acts, acted or may come to act for a person."""
    from .commands import recording

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
    from .commands import recording

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
    from .commands import recording

    sys.exit(run(recording.proxies_change(patient, consent, status, reason, text)))


@consents_app.command("uncomputable")
def consents_uncomputable(json: Json = False) -> None:
    """Consents that close a record because nobody can compute them; exit 1 when there are any."""
    from .commands import recording

    sys.exit(run(recording.consents_uncomputable(json)))


@consents_app.command("end")
def consents_end(consent: Annotated[str, typer.Argument(help="The id of a consent that came from a partner.")], evidence: Evidence) -> None:
    """End a consent that came from a partner, and the task that it raised."""
    from .commands import recording

    sys.exit(run(recording.consents_end(consent, evidence)))


# -- the audit --------------------------------------------------------------------------------------------------------


@audit_app.command("verify")
def audit_verify(
    heads: Annotated[Path | None, typer.Option(help="Signed heads kept outside, one a line: what was cut off since shows by them.")] = None,
    person: Annotated[str, typer.Option(help="Compare only the segments with rows of this person.")] = "",
    proof: Annotated[Path | None, typer.Option(help="A file of `audit proof`, checked without any store.")] = None,
    keys: Annotated[Path | None, typer.Option(help="The public keys (`audit keys`) for --proof.")] = None,
    json: Json = False,
) -> None:
    """Is the audit all that was written, as it was written? 1 when something was altered, removed, put in or cut off."""
    from .commands import auditing

    sys.exit(auditing.check_proof(proof, keys, heads, json) if proof else run(auditing.verify(heads, person, json)))


@audit_app.command("proof")
def audit_proof(
    person: Annotated[str, typer.Argument(metavar="PATIENT", help="The person: id, NHS number, or system|value.")],
    file: Annotated[Path, typer.Argument(help="Where to write it; - is standard output.")],
    heads: Annotated[Path | None, typer.Option(help="Heads that its reader has: it proves that nothing was changed since them.")] = None,
) -> None:
    """Write one person's rows, and what proves them to anybody with the public keys. Nobody else's rows are in it."""
    from .commands import auditing

    sys.exit(run(auditing.proof(person, file, heads)))


@audit_app.command("keys")
def audit_keys() -> None:
    """Print the public keys that signed heads are checked with (a JWK set)."""
    from .commands import auditing

    sys.exit(run(auditing.keys()))


@audit_app.command("rotate-key")
def audit_rotate_key(algorithm: Annotated[str, typer.Option(help="ES256 or ES384.")] = "ES256", json: Json = False) -> None:
    """Another key signs heads from now on, in every process. Old keys are kept: what they signed still verifies."""
    from .commands import auditing

    sys.exit(run(auditing.rotate_key(algorithm, json)))


@audit_app.command("seal")
def audit_seal(json: Json = False) -> None:
    """Seal now what is not sealed yet, and print the signed heads made by it (`audit heads` prints all)."""
    from .commands import auditing

    sys.exit(run(auditing.seal(json)))


@audit_app.command("heads")
def audit_heads(json: Json = False) -> None:
    """Print the signed heads of all that is sealed, oldest first: what `audit verify --heads` reads."""
    from .commands import auditing

    sys.exit(run(auditing.heads(json)))


@audit_app.command("export")
def audit_export(
    file: Annotated[Path, typer.Argument(help="Where to write NDJSON; - is standard output.")],
    since: Annotated[str, typer.Option("--from", help="First day, or instant (UTC).")] = "",
    until: Annotated[str, typer.Option("--to", help="Last day, or instant (UTC).")] = "",
    person: Annotated[str, typer.Option(help="Only the rows of this person.")] = "",
    json: Json = False,
) -> None:
    """Write the audit as AuditEvents, one a line, newest first."""
    from .commands import auditing

    sys.exit(run(auditing.export(file, since, until, person, json)))


if __name__ == "__main__":
    main()
