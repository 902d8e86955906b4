"""A hook of MkDocs: the help of every command, as the program prints it; roles of docstrings as plain code."""

from __future__ import annotations

import argparse
import os
import re
from typing import Any

MARK = "<!-- help -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with the help of all commands, if it has a place for it."""
    return markdown.replace(MARK, "\n".join(_sections())) if MARK in markdown else markdown


def on_page_content(html: str, **_: Any) -> str:
    """The page without the roles that docstrings mark names with."""
    return re.sub(r":(?:attr|class|data|func|meth|mod):(?=<code>)", "", html)


def _sections() -> list[str]:
    """A heading and the help text of each subcommand."""
    os.environ["COLUMNS"] = "100"  # argparse wraps its help to the width of the terminal
    from BrainTumorSegLib.cli import parser

    (commands,) = [a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return [
        f"## braintumorseg {name}\n\n```text\n{command.format_help()}```\n"
        for name, command in commands.choices.items()
    ]
