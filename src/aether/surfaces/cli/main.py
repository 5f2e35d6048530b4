"""`aether`: the table of commands. Each is imported when it is called, so that help answers at once."""

import importlib

import click

import aether

COMMANDS: dict[str, tuple[str, str]] = {
    "ask": ("aether.surfaces.cli.ask:ask", "Answer a question in your own words: decision, options, recipe, files."),
    "build": ("aether.surfaces.cli.build:build", "Build the model that a brief asks for, and judge every target."),
    "plan": ("aether.surfaces.cli.build:plan", "Predict what a brief will take, decide, and stop before the main run."),
    "estimate": ("aether.surfaces.cli.estimate:estimate", "Answer one question about a model on devices, in one line."),
    "simulate": (
        "aether.surfaces.cli.simulate:simulate",
        "Run traffic or a trace through a deployment, request by request.",
    ),
    "ablate": (
        "aether.surfaces.cli.ablate:ablate",
        "Train variants of a recipe at equal compute, and say which differences are more than noise.",
    ),
    "scaling": (
        "aether.surfaces.cli.ladder:scaling",
        "Train a ladder of sizes, fit a scaling law, and check it on a larger training.",
    ),
    "fit-scaling": ("aether.surfaces.cli.scaling:fit_scaling", "Fit a scaling law to a CSV of trained models."),
    "resume": ("aether.surfaces.cli.build:resume", "Go on with a run that was stopped."),
    "reproduce": ("aether.surfaces.cli.again:reproduce", "Carry out a run's record again and compare every number."),
    "runs": ("aether.surfaces.cli.look:runs", "List the runs in a folder."),
    "show": ("aether.surfaces.cli.look:show", "Show a run: verdicts, and every number with its source."),
    "evaluate": (
        "aether.surfaces.cli.evaluate:evaluate",
        "Run a suite of tasks on a model or an endpoint, item by item, with intervals.",
    ),
    "redteam": (
        "aether.surfaces.cli.redteam:redteam",
        "Try known attacks on a model or an endpoint; attack success and over-refusal in one report.",
    ),
    "surgery": (
        "aether.surfaces.cli.surgery:surgery",
        "Change a model's vocabulary, depth, heads or width; held-out texts before and after.",
    ),
    "guard": ("aether.surfaces.cli.guard:guard", "Train a classifier that keeps harmful requests from a server."),
    "contamination": (
        "aether.surfaces.cli.contamination:contamination",
        "Find test items in training data, with their places and what they do to the score.",
    ),
    "judge": (
        "aether.surfaces.cli.judge:judge",
        "Let a language model judge pairs, sides swapped, and hold it against people.",
    ),
    "study": (
        "aether.surfaces.cli.study:study",
        "Lay out a study of preferences: who judges what, checks of attention, what it can show.",
    ),
    "votes": (
        "aether.surfaces.cli.votes:votes",
        "Rank models from pairwise votes, with intervals over the people who voted.",
    ),
    "power": ("aether.surfaces.cli.power:power", "What a comparison on so many items can show, before it is run."),
    "compare": ("aether.surfaces.cli.look:compare", "Compare two runs or two evaluations, paired, with intervals."),
    "report": (
        "aether.surfaces.cli.look:report",
        "Write a run's report again, or one page of a model from its evaluations and red team.",
    ),
    "serve": ("aether.surfaces.cli.serve:serve", "Serve a run's model over the OpenAI protocol."),
    "chat": ("aether.surfaces.cli.chat:chat", "Talk to the engineer, with a language model or without one."),
    "explain": (
        "aether.surfaces.cli.explain:explain",
        "What a technique is, its trade-offs, published numbers, known failures.",
    ),
    "diagnose": (
        "aether.surfaces.cli.diagnose:diagnose",
        "Find what goes wrong in a training, from its log or its run.",
    ),
    "review": (
        "aether.surfaces.cli.review:review",
        "Review training scripts, configurations, serving commands, manifests.",
    ),
    "web": ("aether.surfaces.cli.web:web", "The workbench in a browser: what-if, ask, plans, live runs, annotation."),
    "mcp": ("aether.surfaces.cli.mcp:mcp", "Serve every tool to an agent over the Model Context Protocol."),
    "setup": ("aether.surfaces.cli.setup:setup", "Add Aether's tools and skills to a coding agent."),
    "doctor": ("aether.surfaces.cli.doctor:doctor", "Say what works here, what is missing, and what mends it."),
}
"""Command -> (where it is, what it does in one line)."""


class Lazy(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        return getattr(importlib.import_module(module), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(aether.__version__, prog_name="aether")
def main() -> None:
    """From a brief to a model that measurably meets it, or a proof that it cannot.

    Exit codes: 0 done, 2 needs input or bad input, 3 infeasible, 4 declined, 5 a target was missed.
    """
