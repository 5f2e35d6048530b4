"""`aether explain`."""

import click

from aether.surfaces.cli.edge import explained, json_option, say_json


@click.command()
@click.argument("topic", nargs=-1)
@click.option("--list", "as_list", is_flag=True, help="The topics by group, as without a topic.")
@json_option
@explained
def explain(topic: tuple[str, ...], as_list: bool, as_json: bool) -> int:
    """What TOPIC is and why it works, its trade-offs, published numbers with their sources, and how it fails.

    Without a topic: the topics by group. Facts that are older than they are trusted for say so.
    """
    from datetime import date

    from aether.counsel.explain import explain as page_about
    from aether.counsel.explain import listing

    if as_list or not topic:
        found = listing()
        if as_json:
            say_json({"status": "ok", "groups": found})
            return 0
        width = max(map(len, found), default=0)
        for group, names in found.items():
            click.echo(click.wrap_text(", ".join(names), 100, f"{group:{width}}  ", " " * (width + 2)))
        click.echo("\naether explain TOPIC opens one.")
        return 0
    page = page_about(" ".join(topic), date.today())
    if as_json:
        say_json({"status": "ok", "page": page.model_dump(mode="json")})
        return 0
    from aether.surfaces.cli.pages import print_page

    print_page(page)
    return 0
