"""The panel speaks its own words: none of the command line's in its dialogs, and all of them translatable."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from Testing.slicer.harness.module import ROOT

from .driving import Panel, Traces, only_message
from .test_inputs import add_volume, choose

ENGINE = ROOT / "BrainTumorSegLib"
# What only the command line says or does.
NOT_OF_A_RUN = ("commands", "evaluation", "cohort", "cli.py", "options.py", "report", "sample_patient.py")
OPTION = re.compile(r"(?<![\w-])--[a-z]|braintumorseg [a-z]")


def sentences() -> Iterator[tuple[str, str]]:
    """Place and text of every message and remedy in the engine that names an option or a command."""
    for file in sorted(ENGINE.rglob("*.py")):
        if any(part in file.as_posix() for part in NOT_OF_A_RUN):
            continue
        tree = ast.parse(file.read_text("utf-8"))
        documents = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in documents:
                continue
            if " " in node.value and OPTION.search(node.value):
                yield f"{file.relative_to(ENGINE)}:{node.lineno}", node.value


def test_no_option_of_the_command_line_reaches_a_dialog(application: Traces) -> None:
    from BrainTumorSegPanel.wording import panel_words

    found = list(sentences())
    assert len(found) >= 10, "the engine speaks of its options"
    left = {place: panel_words(text) for place, text in found if OPTION.search(panel_words(text))}
    assert not left, "say it in the words of the panel, in BrainTumorSegPanel/wording.py"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Close other programs, or choose --device cpu.", "or choose CPU as Device, under Advanced."),
        ("Mend its installation, or choose --brain-extraction included.", "Included network as Brain by"),
        ("Give it (T1), or choose another model: braintumorseg models.", "or choose another model, under Advanced."),
        ("Say it: --labels 'a b=WT' (NCR, ED, or own: it keeps its name).", "Say what each label stands for."),
        ("Choose another output folder, or give --force to replace it.", "Choose another output folder."),
        ("A file with-dashes--inside stays.", "A file with-dashes--inside stays."),
    ],
)
def test_what_stands_for_an_option(application: Traces, text: str, words: str) -> None:
    from BrainTumorSegPanel.wording import panel_words

    assert words in panel_words(text)


def test_a_refusal_of_the_engine_in_the_words_of_the_panel(panel: Panel, tmp_path: Path) -> None:
    """SynthStrip, which is not installed, is asked for on scans that need it."""
    from .test_preprocessing import add_head

    panel.choose_model("brats-segresnet")
    choose(panel, flair=add_head("a"))
    panel.ui.brainExtractionSelector.currentIndex = 3
    panel.click("applyButton")
    panel.wait_to_end()
    message = only_message(panel.desk)
    assert "SynthStrip" in message.text and not OPTION.search(message.text)
    assert panel.ui.statusLabel.text and panel.ui.statusLabel.styleSheet, "it is not forgotten with the dialog"


def test_a_mask_with_no_preprocessing(panel: Panel) -> None:
    import numpy as np
    import slicer

    mask = slicer.util.addVolumeFromArray(np.ones((8, 9, 10), np.uint8), nodeClassName="vtkMRMLLabelMapVolumeNode")
    panel.choose_model("flair-only")
    choose(panel, flair=add_volume("a"))
    panel.ui.brainMaskSelector.setCurrentNode(mask)
    panel.ui.preprocessingSelector.currentIndex = 1
    panel.click("applyButton")
    assert "Brain mask does not go with the Preprocessing None" in only_message(panel.desk).text


def texts_of_errors(tree: ast.AST) -> Iterator[ast.expr]:
    """Arguments of every error that is made."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name.endswith("Error"):
                yield from node.args


def test_texts_of_exceptions_are_translatable() -> None:
    """Those of the panel, and of the engine's room that knows the scene: no bare or formatted literal."""
    found = []
    folders = (ROOT / "BrainTumorSeg", ENGINE / "io" / "mrml")
    for file in [file for folder in folders for file in sorted(folder.rglob("*.py"))]:
        for text in texts_of_errors(ast.parse(file.read_text("utf-8"))):
            if isinstance(text, ast.JoinedStr) or (isinstance(text, ast.Constant) and isinstance(text.value, str)):
                found.append(f"{file.name}:{text.lineno}")
    assert not found
