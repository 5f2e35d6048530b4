import json
import re
import tomllib

import click
import pytest

from aether.counsel.clients import CLIENTS, SKILLS, add_to, server_command, skill_names
from aether.spec.errors import InputError
from aether.surfaces.cli.main import main


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("scope", ["project", "user"])
def test_a_client_gets_the_server_and_every_skill_once(tmp_path, name, scope):
    if scope not in CLIENTS[name].settings:
        with pytest.raises(InputError, match="scope"):
            add_to(name, scope, tmp_path)
        return
    assert {c.action for c in add_to(name, scope, tmp_path)} == {"created"}
    settings = tmp_path / CLIENTS[name].settings[scope]
    read = tomllib.loads if settings.suffix == ".toml" else json.loads
    entry = read(settings.read_text(encoding="utf-8"))[CLIENTS[name].key]["aether"]
    assert [entry["command"], *entry["args"]] == server_command()
    for skill in skill_names():
        copy = tmp_path / CLIENTS[name].skills[scope] / skill / "SKILL.md"
        assert copy.read_bytes() == (SKILLS / skill / "SKILL.md").read_bytes()
    assert {c.action for c in add_to(name, scope, tmp_path)} == {"unchanged"}


def test_a_dry_run_writes_nothing(tmp_path):
    assert {c.action for c in add_to("cursor", "project", tmp_path, dry_run=True)} == {"created"}
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_kept(tmp_path):
    (tmp_path / ".mcp.json").write_text(
        '{"mcpServers": {"other": {"command": "x"}, "aether": {"command": "old"}}, "k": 1}'
    )
    add_to("claude-code", "project", tmp_path)
    settings = json.loads((tmp_path / ".mcp.json").read_text())
    assert settings["k"] == 1 and settings["mcpServers"]["other"] == {"command": "x"}
    assert settings["mcpServers"]["aether"]["command"] == server_command()[0]


def test_a_toml_file_keeps_its_comments(tmp_path):
    path = tmp_path / ".codex" / "config.toml"
    path.parent.mkdir()
    before = (
        '# mine\nmodel = "m"\n\n[mcp_servers.aether]\ncommand = "old"\nargs = []\n\n[mcp_servers.b]\ncommand = "y"\n'
    )
    path.write_text(before)
    add_to("codex", "project", tmp_path)
    text = path.read_text()
    assert text.startswith('# mine\nmodel = "m"') and '"old"' not in text
    assert tomllib.loads(text)["mcp_servers"]["b"] == {"command": "y"}


@pytest.mark.parametrize(
    "name, content",
    [
        ("claude-code", "{ // a comment\n}"),
        ("claude-code", "[]"),
        ("codex", "a = = 1"),
        ("codex", "mcp_servers = {aether = {command = 'x'}}"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_as_it_is(tmp_path, name, content):
    path = tmp_path / CLIENTS[name].settings["project"]
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(InputError, match="add this yourself"):
        add_to(name, "project", tmp_path)
    assert path.read_text() == content


def test_an_unknown_client():
    with pytest.raises(InputError, match="claude-code, codex"):
        add_to("emacs", "project", None)


@pytest.mark.parametrize("skill", skill_names())
def test_a_skill_keeps_the_rules_of_skills(skill):
    text = (SKILLS / skill / "SKILL.md").read_text(encoding="utf-8")
    head, body = re.match(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL).groups()
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert fields["name"] == skill and re.fullmatch(r"[a-z][a-z-]{0,63}", skill)
    assert "Use " in fields["description"] and "Not for" in fields["description"] and len(fields["description"]) <= 1024
    assert len(body.splitlines()) < 500


COMMANDS = [
    (skill, line.strip())
    for skill in skill_names()
    for block in re.findall(r"```bash\n(.*?)```", (SKILLS / skill / "SKILL.md").read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


@pytest.mark.parametrize("skill, line", COMMANDS, ids=[line for _, line in COMMANDS])
def test_a_skills_commands_exist(skill, line):
    import shlex

    words = shlex.split(line)
    assert words[0] == "aether"
    command = main.get_command(click.Context(main), words[1])
    assert command is not None, line
    with click.Context(command) as context:
        try:
            command.make_parser(context).parse_args(words[2:])
        except click.UsageError as error:
            pytest.fail(f"{skill}: {line}: {error}")


def test_there_are_five_to_seven():
    assert 5 <= len(skill_names()) <= 7
