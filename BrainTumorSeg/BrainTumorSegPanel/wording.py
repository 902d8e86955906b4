"""The engine's sentences in the words of the panel: it speaks as the command line does, which here nobody sees."""

from __future__ import annotations

import re

from slicer.i18n import tr as _


def _table() -> tuple[tuple[str, str], ...]:
    """What the engine may say, as a pattern, and what stands for it in the panel; the longer ones first."""
    automatic = _("choose Automatic as Device, under Advanced")
    given = _("load the images one by one, and choose them")
    return (
        (r"[Cc]hoose --device cpu or auto", automatic),
        (r"[Cc]hoose --device cpu", _("choose CPU as Device, under Advanced")),
        (r"[Cc]hoose --backend torch|[Tt]ry --precision fp32|[Cc]hoose --precision auto", automatic),
        (r"[Cc]hoose --brain-extraction included", _("choose Included network as Brain by, under Advanced")),
        (
            r"give a mask with --brain-mask, or another method with --brain-extraction",
            _("choose a Brain mask, or another method as Brain by, under Advanced"),
        ),
        (
            r"--brain-mask does not go with --preprocess none",
            _("A Brain mask does not go with the Preprocessing None"),
        ),
        (r"--preprocess register", _("Preprocessing: Always, under Advanced")),
        (r"--preprocess none", _("Preprocessing: None, under Advanced")),
        (r"--preprocess(?: auto)?", _("Preprocessing, under Advanced")),
        (r"--brain-extraction", _("Brain by, under Advanced")),
        (r"--brain-mask", _("Brain mask, under Advanced")),
        (r"--model", _("Model, under Advanced")),
        (r"; braintumorseg models verify tells whether its file is damaged", ""),
        (r",? or see: braintumorseg models", ""),
        (r"choose another model: braintumorseg models", _("choose another model, under Advanced")),
        (r"a model of braintumorseg models", _("another model, under Advanced")),
        (r"[Nn]ame (?:each sequence|the sequences|the series to use)[^:]*:(?: --\w+ \w+)+(?: …)?", given),
        (r"(?:name other ones|a series by its modality): --t1 SERIES(?: …)?", _("load the series by themselves")),
        (r"pip install openvino", _("Apply offers to")),
        (r"; name them with --folds", _("; choose them")),
        (r"(?:Say what they are|Say it): --labels(?: NAME=\w+| '[^']*'[^.]*)?", _("Say what each label stands for")),
        (
            r"(?:Say it in their order:|Name as many with) --channels(?: [\w,]+)?",
            _("Say which sequence each channel is"),
        ),
        (r"Say which one by a part of its name: --configuration(?: \w+)?", _("Choose one of them")),
        (r", or give --force to replace it", ""),
        (r"Name another with --id", _("Give it another id")),
    )


def panel_words(text: str) -> str:
    """A sentence of the engine as the panel says it: the options of the command line by their titles in the panel."""
    if "--" not in text and "braintumorseg " not in text and "pip install" not in text:
        return text
    for pattern, words in _table():
        text = re.sub(pattern, words.replace("\\", r"\\"), text)
    return re.sub(r"(?<=\. )[a-z]", lambda found: found.group().upper(), text)
