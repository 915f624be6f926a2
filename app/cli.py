"""The command line: run the service, and operate a running one.

Each command imports what it is about: an engine that starts again after a crash, or a command that
asks a running service, does not wait for FastAPI and boto3.
"""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app.approvals.api_keys import api_key_entry, new_api_key
from app.engine_command import CONTEXT, Functions, engine
from app.errors import SignoffError
from app.secret_files import new_secret_key
from app.settings import Settings, load_settings
from app.strict_json import Json, NotJson, dumps, loads

if TYPE_CHECKING:
    from app.client import Client

#: without a terminal there is no width to keep to, and whoever reads wants whole lines
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 240)
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes cut off long options
    help="One-time approve and reject links for paused workflows.",
)
keys = typer.Typer(no_args_is_help=True, help="Make API keys and secret keys.")
table = typer.Typer(no_args_is_help=True, help="Make the DynamoDB table of approvals.")
audit = typer.Typer(no_args_is_help=True, help="Read and verify the audit.")
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")
app.add_typer(table, name="table")

ApprovalId = Annotated[str, typer.Argument(help="The approval's id.")]
ApiKey = Annotated[
    str | None,
    typer.Option(envvar="SIGNOFF_API_KEY", help="Default: the key in the data directory."),
]
Url = Annotated[str | None, typer.Option(help="The service's address. Default: SIGNOFF_BASE_URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def main() -> None:
    """Run the command line; errors of ours are one sentence and exit status 2."""
    try:
        app()
    except SignoffError as exc:
        print(f"signoff: {exc.message}", file=sys.stderr)  # noqa: T201  # the user's answer
        sys.exit(2)


@app.command()
def demo(function: Functions = None) -> None:
    """Start service, engine, mailbox and the example workflow in one process."""
    from app.demo import run_demo
    from app.server import run

    sys.exit(run(run_demo(load_settings(), function or ())))


@app.command()
def serve(function: Functions = None) -> None:
    """Start the service; with SIGNOFF_TARGET=embedded (the default) the engine too."""
    from app.main import service
    from app.run import run_process
    from app.server import run

    sys.exit(run(run_process(service, load_settings(), function or ())))


app.command(context_settings=CONTEXT)(engine)


@app.command()
def mint(
    file: Annotated[Path, typer.Argument(help="The request as JSON; - reads standard input.")],
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Store an approval and mail its links."""
    try:
        body = loads(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    except OSError as exc:
        raise SignoffError(f"The file {file} cannot be read ({exc.strerror}).") from exc
    except NotJson as exc:
        raise SignoffError(f"The file {file} cannot be used: {exc.message}") from exc
    _print_json(_client(url, api_key).post("/approvals", body))


@app.command("list")
def list_approvals(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(help="How many, at most 100.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List approvals, newest first."""
    page = _client(url, api_key).get("/approvals", state=state, limit=limit, cursor=cursor)
    if as_json:
        _print_json(page)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("ID", "STATE", "TITLE", "DECIDED BY", "CREATED"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("ID", "STATE"))
    for approval in page["approvals"]:
        decision = approval["decision"] or {"by": ""}
        row = (approval["id"], approval["state"], approval["title"], decision["by"])
        table.add_row(*map(_plain, row), approval["created_at"])
    out.print(table)
    if page["next_cursor"]:
        out.print(f"More: signoff list --cursor {page['next_cursor']}")


@app.command()
def show(approval_id: ApprovalId, url: Url = None, api_key: ApiKey = None) -> None:
    """Show one approval."""
    _print_json(_client(url, api_key).get(f"/approvals/{approval_id}"))


@app.command()
def revoke(approval_id: ApprovalId, url: Url = None, api_key: ApiKey = None) -> None:
    """Withdraw an approval that nobody decided yet."""
    _print_json(_client(url, api_key).post(f"/approvals/{approval_id}/revoke"))


@app.command()
def resend(approval_id: ApprovalId, url: Url = None, api_key: ApiKey = None) -> None:
    """Send the mails of a pending approval again."""
    _print_json(_client(url, api_key).post(f"/approvals/{approval_id}/resend"))


@keys.command("new")
def keys_new() -> None:
    """Print a new API key and the entry for SIGNOFF_API_KEYS."""
    key = new_api_key()
    out.print(f"key    {key}")
    out.print(f"entry  {api_key_entry(key)}")
    out.print("Give the key to its user; add the entry to SIGNOFF_API_KEYS (comma-separated).")


@keys.command("secret")
def keys_secret() -> None:
    """Print a new secret key for SIGNOFF_SECRET_KEYS."""
    out.print(new_secret_key())


@audit.command("show")
def audit_show(approval_id: ApprovalId, url: Url = None, api_key: ApiKey = None) -> None:
    """Show the audit entries of one approval."""
    _print_json(_client(url, api_key).get(f"/approvals/{approval_id}/audit"))


@audit.command("verify")
def audit_verify() -> None:
    """Check every audit chain and digest in the data directory; works without a service."""
    from app.main import verify_audit

    report = asyncio.run(verify_audit(load_settings()))
    if report.fault is not None:
        where = f" (approval {report.fault.approval_id})" if report.fault.approval_id else ""
        out.print(f"[red]The audit does not hold:[/] {_plain(report.fault.sentence)}{where}.")
        raise typer.Exit(1)
    out.print(
        f"The audit holds: approvals {report.approvals}, entries {report.entries}, "
        f"signed digests {report.digests}, entries under them {report.signed_entries}."
    )
    for note in report.notes:
        out.print(_plain(note))


@table.command("create")
def table_create() -> None:
    """Make the DynamoDB table that SIGNOFF_STORE names, with TTL and point-in-time recovery."""
    from app.approvals.store.dynamodb.setup import create_table
    from app.aws_json import AwsRefused, AwsSilent
    from app.doctor_aws import dynamodb_client

    name = load_settings().table
    if name is None:
        raise SignoffError("SIGNOFF_STORE names no table: set it to dynamodb:TABLE.")
    client = dynamodb_client()
    try:
        new = create_table(client, name)
    except AwsRefused as exc:
        raise SignoffError(f"DynamoDB refuses to make the table {name} ({exc.code}).") from exc
    except AwsSilent as exc:
        raise SignoffError(f"DynamoDB does not answer ({exc.reason}).") from exc
    out.print(f"The table {_plain(name)} {'is made' if new else 'was there'}; it is ready.")


@app.command()
def backup(
    directory: Annotated[Path, typer.Argument(help="Where to; made if it is not there.")],
) -> None:
    """Copy the databases of the data directory; a running service is not in the way.

    Keys are not copied: keep SIGNOFF_SECRET_KEYS elsewhere, task tokens are sealed with them.
    """
    from app.backup import back_up

    for path in back_up(load_settings().data_dir, directory):
        out.print(f"Copied {_plain(path)}: {path.stat().st_size:,} bytes.")


@app.command()
def doctor() -> None:
    """Check settings, store, mail server, target and base URL; say how to mend each."""
    from app.doctor import examine

    findings = asyncio.run(examine())
    for finding in findings:
        mark = "[green]ok[/]  " if finding.ok else "[red]bad[/] "
        out.print(f"{mark} {finding.subject}: {_plain(finding.sentence)}")
        if finding.mend:
            out.print(f"     {_plain(finding.mend)}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def _client(url: str | None, api_key: str | None) -> "Client":
    from app.client import Client, find_api_key

    settings: Settings = load_settings()
    return Client(url or settings.public_url, find_api_key(settings.data_dir, api_key))


def _print_json(value: Json) -> None:
    if sys.stdout.isatty():
        out.print_json(dumps(value).decode())
    else:
        print(dumps(value).decode())  # noqa: T201  # one line, for other programs


def _plain(text: Any) -> str:
    # Workflow text is not markup, and must not steer the terminal.
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    return printable.replace("[", "\\[")


if __name__ == "__main__":
    main()
