"""The dialogue before a model is added: what was found, and what has to be said of it, as the engine asks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.labels import REGIONS, TISSUES
from BrainTumorSegLib.domain.modalities import TITLES
from BrainTumorSegLib.models.importers.findings import Findings
from BrainTumorSegLib.models.importers.wishes import OWN, Question

from .widgets import breakable, chosen_value, file_size, fill_list, show_text

# Pixels: as narrow as the panel, and no higher than the smallest screen.
_WIDTH, _ROW, _LOWEST, _HIGHEST = 380, 30, 180, 420


class ModelDialog:
    """Shows what was found, and takes the answers."""

    def __init__(self, findings: Findings, problem: str = "") -> None:
        """``problem`` is what was wrong with the answers before, as a sentence."""
        self._findings = findings
        self._dialog = qt.QDialog(slicer.util.mainWindow())
        self._dialog.windowTitle = _("Add a model")
        self._dialog.minimumWidth = _WIDTH
        column = qt.QVBoxLayout(self._dialog)
        _add_label(column, "modelFoundLabel", found_text(findings))
        warning = _("It takes the place of your model {id}.").format(id=findings.id) if findings.replaces else ""
        _add_label(column, "modelProblemLabel", problem or warning, warns=True)
        self._fields = self._add_questions(column) if findings.questions else []
        self._add = self._add_buttons(column)
        self._refresh()

    def asked(self) -> bool:
        """Show it; whether the model shall be added."""
        return bool(self._dialog.exec_())

    def answers(self) -> dict[str, str]:
        """Option → what it says, for all that was answered, or is not as the files have it."""
        return {
            field.question.option: field.question.answer(field.values())
            for field in self._fields
            if field.question.is_open or tuple(field.values()) != field.question.known
        }

    def close(self) -> None:
        """It is not needed any more."""
        self._dialog.deleteLater()

    def _add_questions(self, column: Any) -> list[_Field]:
        """What is not known above; what may be said of the model besides, folded below."""
        content, scrolled = qt.QWidget(), qt.QScrollArea(self._dialog)
        above = qt.QVBoxLayout(content)
        above.setContentsMargins(0, 0, 0, 0)
        unknown = [question for question in self._findings.questions if question.text or question.is_open]
        fields = [_Field(question, above, self._refresh) for question in unknown]
        others = [question for question in self._findings.questions if question not in unknown]
        if others:
            more = ctk.ctkCollapsibleButton(content)
            more.text, more.objectName = _("More"), "moreCollapsibleButton"
            above.addWidget(more)
            inside = qt.QVBoxLayout(more)
            fields += [_Field(question, inside, self._refresh) for question in others]
            more.collapsed = True
        above.addStretch(1)
        scrolled.widgetResizable = True
        scrolled.setFrameShape(qt.QFrame.NoFrame)
        scrolled.horizontalScrollBarPolicy = qt.Qt.ScrollBarAlwaysOff
        rows = 2 + sum(1 + max(len(question.names), 1) for question in unknown)
        scrolled.minimumHeight = min(max(_ROW * rows, _LOWEST), _HIGHEST)
        scrolled.setWidget(content)
        column.addWidget(scrolled, 1)
        return fields

    def _add_buttons(self, column: Any) -> Any:
        row = qt.QHBoxLayout()
        row.addStretch(1)
        add, cancel = qt.QPushButton(_("Add")), qt.QPushButton(_("Cancel"))
        if any(question.decides for question in self._findings.open):
            add.text = _("Continue")
        add.objectName, cancel.objectName = "addButton", "cancelButton"
        add.default = True
        add.connect("clicked()", self._dialog.accept)
        cancel.connect("clicked()", self._dialog.reject)
        row.addWidget(add)
        row.addWidget(cancel)
        column.addLayout(row)
        return add

    def _refresh(self) -> None:
        """It can be added when all that is asked is answered."""
        needed = [field for field in self._fields if field.question.needed]
        missing = [field.title for field in needed if not field.values() or not all(field.values())]
        self._add.enabled = not missing
        self._add.toolTip = missing[0] if missing else _("Take the model over, and check it.")


class _Field:
    """One question: a title, and a list for each thing that it asks of; or a list, boxes or a line for the answer."""

    def __init__(self, question: Question, column: Any, changed: Callable[[], None]) -> None:
        self.question, self._changed = question, changed
        self.title = _titles()[question.option]
        self._values: Callable[[], list[str]]
        form = qt.QFormLayout()
        form.fieldGrowthPolicy = qt.QFormLayout.AllNonFixedFieldsGrow
        column.addLayout(form)
        title = qt.QLabel(self.title)
        title.wordWrap = True
        form.addRow(title)
        if question.text and all(question.known):  # its answers are doubted
            _add_label(form, f"{question.option}DoubtLabel", question.text, warns=True)
        self._fill(form)

    def values(self) -> list[str]:
        """The answers, in the order of what was known."""
        return self._values()

    def _fill(self, form: Any) -> None:
        q = self.question
        if q.names:
            pairs = list(zip(q.names, q.known, strict=True))
            boxes = [self._list(form, name, number, known) for number, (name, known) in enumerate(pairs)]
            self._values = lambda: [chosen_value(box) for box in boxes]
        elif q.several:
            checks = [self._check(form, choice) for choice in q.choices]
            self._values = lambda: [c for c, check in zip(q.choices, checks, strict=True) if check.checked]
        elif q.choices:
            box = self._list(form, "", 0, q.known[0])
            self._values = lambda: [chosen_value(box)]
        else:
            line = qt.QLineEdit(q.known[0])
            line.objectName = f"{q.option}Edit"
            line.connect("textChanged(QString)", lambda _text: self._changed())
            form.addRow(line)
            self._values = lambda: [line.text.strip()]

    def _list(self, form: Any, name: str, number: int, known: str) -> Any:
        box, q = qt.QComboBox(), self.question
        box.objectName = f"{q.option}{number}Selector"
        box.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        box.minimumWidth = 60
        words = _words(q.option)
        entries = [(words.get(choice, choice), choice) for choice in q.choices]
        fill_list(box, entries if known else [(_("Choose…"), ""), *entries], known)
        box.connect("currentIndexChanged(int)", lambda _index: self._changed())
        if name:
            label = qt.QLabel(breakable(name[:80]))
            label.textFormat, label.wordWrap = qt.Qt.PlainText, True
            form.addRow(label, box)
        else:
            form.addRow(box)
        return box

    def _check(self, form: Any, choice: str) -> Any:
        check = qt.QCheckBox(choice.replace("&", "&&"))
        check.objectName = f"{self.question.option}-{choice}CheckBox"
        check.checked = choice in self.question.known
        check.connect("toggled(bool)", lambda _checked: self._changed())
        form.addRow(check)
        return check


def _add_label(layout: Any, name: str, text: str, *, warns: bool = False) -> None:
    label = qt.QLabel()
    label.objectName, label.textFormat, label.wordWrap = name, qt.Qt.PlainText, True
    (layout.addRow if hasattr(layout, "addRow") else layout.addWidget)(label)
    show_text(label, text, warns=warns)


def found_text(f: Findings) -> str:
    """What was found, in lines."""
    if not f.title:
        return _("{kind}: several models.").format(kind=f.kind)
    networks = _("{count} networks, averaged").format(count=f.networks) if f.networks > 1 else _("one network")
    takes = ", ".join(TITLES[name] for name in f.modalities) or _("the sequences that you choose below")
    gives = ", ".join(f.outputs) or _("the regions that you choose below")
    lines = [
        f"{f.kind}: {f.title}",
        _("{dimensions}D, {networks}, {size}.").format(
            dimensions=f.dimensions, networks=networks, size=file_size(f.bytes)
        ),
        _("Takes {takes}; gives {gives}.").format(takes=takes, gives=gives),
        _("Licence of the weights: {licence}.").format(licence=f.licence or _("not stated")),
    ]
    if f.data_licence:
        lines.append(_("Licence of the data: {licence}.").format(licence=f.data_licence))
    return "\n".join(lines)


def _titles() -> dict[str, str]:
    """Each question by its option."""
    return {
        "channels": _("Which sequence is each of its channels?"),
        "labels": _("What does each of its labels stand for?"),
        "configuration": _("Which of its models?"),
        "folds": _("Which of its folds? They are averaged."),
        "orientation": _("Axes of the images that it was trained on:"),
        "brain": _("What the images that it was trained on show:"),
        "id": _("What it is called here:"),
        "licence": _("Licence of the weights, where its source states one:"),
        "source": _("Where it comes from:"),
    }


def _words(option: str) -> Mapping[str, str]:
    """Answers in words."""
    if option == "channels":
        return TITLES
    if option == "brain":
        return {"extracted": _("Skull-stripped brains"), "head": _("Whole heads")}
    if option == "labels":
        regions = {name: f"{name}: {region.title}" for name, region in (TISSUES | REGIONS).items()}
        return {**regions, OWN: _("Something else, which keeps its name")}
    return {}
