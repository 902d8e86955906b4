"""A hook of MkDocs: the help of every command, as the program prints it; roles of docstrings as plain code."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from typing import Any

MARK = "<!-- help -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with the help of all commands, if it has a place for it."""
    return markdown.replace(MARK, "\n".join(_sections())) if MARK in markdown else markdown


def on_page_content(html: str, **_: Any) -> str:
    """The page without the roles that docstrings mark names with."""
    return re.sub(r":(?:attr|class|data|func|meth|mod):(?=<code>)", "", html)


def _sections() -> list[str]:
    """A heading and the help text of each subcommand, and of those below it."""
    os.environ["COLUMNS"] = "100"  # argparse wraps its help to the width of the terminal
    from BrainTumorSegLib.cli import parser

    return list(_below(parser(), "##"))


def _below(parser: argparse.ArgumentParser, heading: str) -> Iterator[str]:
    """The sections of a parser's subcommands, each before those of its own, which are headed one level lower."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield f"{heading} {command.prog}\n\n```text\n{command.format_help()}```\n"
                yield from _below(command, f"{heading}#")
