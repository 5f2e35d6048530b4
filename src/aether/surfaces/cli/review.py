"""`aether review`."""

from pathlib import Path

import click

from aether.surfaces.cli.edge import explained, say_json


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--fix", is_flag=True, help="Make the safe corrections, and review again.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="How to say it.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--select", multiple=True, metavar="ID", help="Only rules whose id begins so, as in AE4.")
@click.option("--ignore", multiple=True, metavar="ID", help="Not the rules whose id begins so.")
@click.option("--list", "as_list", is_flag=True, help="Every rule, with its reason and source.")
@explained
def review(
    paths: tuple[Path, ...],
    fix: bool,
    form: str,
    as_json: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    as_list: bool,
) -> int:
    """Review training scripts, configurations, serving commands, manifests and requirements for mistakes of model engineering.

    PATHS are files or folders; nothing in them is imported or run. Exit code 5 when there is a finding at or above warning.
    A comment "aether: ignore[ID] reason" on the line or on the one before it silences a finding.
    """
    from aether.counsel.review.engine import Selection
    from aether.counsel.review.engine import review as examine
    from aether.counsel.review.output import serious, text_lines, to_sarif
    from aether.spec.errors import InputError

    form = "json" if as_json else form
    if as_list:
        return _list(form)
    if not paths:
        raise InputError.of("paths", "", "name files or folders, or use --list")
    selection = Selection(select, ignore)
    found = examine(paths, selection)
    fixed = 0
    if fix:
        from aether.counsel.review.fixes import fix_files

        fixed = fix_files(found.findings)
        found = examine(paths, selection)
    if form == "sarif":
        say_json(to_sarif(found))
    elif form == "json":
        findings = [finding.model_dump(mode="json") for finding in found.findings]
        status = "found" if serious(found.findings) else "ok"
        facts = {"files": found.files, "unread": found.unread, "silenced": found.silenced, "fixed": fixed}
        say_json({"status": status, "findings": findings, **facts})
    else:
        click.echo("\n".join([*([f"{fixed} corrected"] if fix else []), *text_lines(found)]))
    return 5 if serious(found.findings) else 0


def _list(form: str) -> int:
    from aether.knowledge.review_rules import rules

    if form == "json":
        say_json({"status": "ok", "rules": [rule.model_dump(mode="json") for rule in rules().values()]})
        return 0
    for rule in rules().values():
        click.echo(f"{rule.name} {rule.severity:8} {rule.title}{' [fixable]' if rule.fixes else ''}")
        click.echo(f"    {rule.why}\n    {rule.kind}: {rule.source}")
    return 0
