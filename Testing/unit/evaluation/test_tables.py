"""Tables as Markdown, and in the shape of BraTS papers."""

from __future__ import annotations

import numpy as np

from BrainTumorSegLib.evaluation import Evaluation, Settings, compare_volumes
from BrainTumorSegLib.evaluation.tables import brats_lines, markdown


def test_a_markdown_table_has_a_rule_and_its_cells_are_no_markup() -> None:
    lines = [["case", "dice"], ["a|b", "0.9"], ["*c*", "–"]]
    assert markdown(lines).splitlines() == ["| case | dice |", "| --- | ---: |", r"| a\|b | 0.9 |", r"| \*c\* | – |"]


def test_the_published_shape_leaves_out_nothing_that_is_asked_for() -> None:
    settings = Settings(("dice", "hd95", "miou"), tissues=True)
    labels = np.array([0, 1, 2, 3], np.uint8).reshape(1, 2, 2)
    evaluation = Evaluation(settings, {"a": compare_volumes("a", labels, labels, (1, 1, 1), settings)})
    head, *_ = brats_lines(evaluation)
    regions = ["ET", "WT", "TC", "NCR", "ED"]
    assert sorted(head[1:]) == sorted([*(f"{m}_{r}" for m in ("Dice", "Hausdorff95") for r in regions), "miou_all"])
    assert head[1:4] == ["Hausdorff95_ET", "Hausdorff95_WT", "Hausdorff95_TC"], "the published ones first"
