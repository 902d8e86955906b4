"""What a model card tells."""

from __future__ import annotations

import dataclasses

import pytest

from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.models.description import (
    AccuracyRecord,
    PostprocessingSpec,
    PreprocessingSpec,
    TilingSpec,
    TrainingRecord,
)
from BrainTumorSegLib.models.model_card import model_card
from Testing.samples import describe_model


def test_a_card_tells_use_inputs_accuracy_training_and_licences() -> None:
    description = dataclasses.replace(
        describe_model(),
        accuracy=(AccuracyRecord("made patients", 6, "Dice", "brats2021", {"ET": 0.5, "WT": 0.87654}),),
        training=TrainingRecord("made patients", ("A", "B"), ("C",), {"notes": {"before": "9 steps of x"}}, 70),
        data_licence="CC0",
        weights_licence="Apache-2.0",
    )
    card = model_card(description)
    assert card.startswith(f"# {description.id}\n")
    assert "For research, not for clinical use." in card
    assert "| Measure | ET | WT | Cases | Data | Empty masks |" in card
    assert "| Dice | 0.500 | 0.877 | 6 | made patients | brats2021 |" in card
    assert "Training cases (2): A, B" in card and "Validation cases (1): C" in card
    assert "Optimiser steps: 70, after 9 steps of x" in card
    assert "Weights: Apache-2.0" in card and "Data: CC0" in card


def test_a_card_warns_of_held_out_patients_who_trained_the_weights_before() -> None:
    record = TrainingRecord("made", ("A", "B"), ("B",), {"notes": {"seen": "B trained before"}}, 70)
    card = model_card(dataclasses.replace(describe_model(), training=record))
    assert "\n- Warning: B trained before\n" in card
    assert "Warning" not in model_card(describe_model())


@pytest.mark.parametrize(
    ("optional", "reported"),
    [
        ((), "T1, T1ce, T2, FLAIR, all of them needed."),
        (("t1", "t2"), "T1, T1ce, T2, FLAIR; T1 and T2 may be missing."),
        (MODALITIES, "T1, T1ce, T2, FLAIR; any of them may be missing, not all."),
    ],
)
def test_a_card_says_which_sequences_may_be_missing(optional: tuple[str, ...], reported: str) -> None:
    assert f"- Sequences: {reported}\n" in model_card(describe_model(optional_modalities=optional))


def test_a_card_says_that_the_bias_field_is_corrected() -> None:
    corrected = dataclasses.replace(describe_model(), preprocessing=PreprocessingSpec(bias_correction="n4"))
    assert ", bias field corrected by N4.\n" in model_card(corrected)
    assert "uneven" not in model_card(describe_model())


def test_a_card_tells_post_processing_in_its_order() -> None:
    spec = PostprocessingSpec({"TC": 0.4}, ("TC",), 100.0, 50.0, {"ET": 40.0}, 25.0, 0.3, {"ET": 1.0})
    card = model_card(dataclasses.replace(describe_model(), postprocessing=spec))
    assert (
        "- Post-processing: tumour core is what has a probability of 0.4 or more; "
        "holes of tumour core are filled; pieces below 100 mm³ are removed; pieces with tumour core "
        "below 50 mm³ are removed where another has more; pieces of enhancing tumour below 40 mm³ become necrotic "
        "core; enhancing tumour below 25 mm³ in all becomes necrotic core; so does all of it where its expected Dice "
        "is below 0.3.\n"
    ) in card


def test_a_card_leaves_out_post_processing_that_does_nothing() -> None:
    card = model_card(dataclasses.replace(describe_model(), postprocessing=PostprocessingSpec()))
    assert "mm³" not in card and "Post-processing" not in card
    spec = PostprocessingSpec(minimum_et_dice=0.3, temperatures={"ET": 1.0})
    card = model_card(dataclasses.replace(describe_model(), postprocessing=spec))
    assert (
        "- Post-processing: all enhancing tumour becomes necrotic core where its expected Dice is below 0.3.\n" in card
    )


def test_what_a_model_says_of_itself_is_text_and_no_markup() -> None:
    """The card is shown in the panel, whose browser follows links and loads pictures."""
    markup = (
        "![x](file:///etc/passwd) <img src=y> [here](https://a.b) **free** &lt;b&gt; `code` | _all_\n\n# Approved\n- by"
    )
    description = dataclasses.replace(
        describe_model(),
        intended_use=markup,
        data_licence=markup,
        weights_licence=markup,
        accuracy=(AccuracyRecord(markup, 6, "Dice", markup, {"WT": 0.9}),),
        training=TrainingRecord(markup, ("a|b", "c_d"), (), {"notes": {"before": markup}}, 5, {"torch": markup}),
    )
    card = model_card(description)
    for construct in ("](", " <img", "**free", " &lt", " `code", " _all", "\n# Approved", "\n- by", "x_ "):
        assert construct not in card, construct
    assert "# Approved - by" in card and r"!\[x]" not in card and "c_d" in card
    assert {line.count("|") - line.count(r"\|") for line in card.splitlines() if line.startswith("|")} == {6}


def test_a_card_says_what_is_not_known() -> None:
    card = model_card(dataclasses.replace(describe_model(), accuracy=(), training=TrainingRecord()))
    assert "Not measured." in card and "Data: not stated" in card and "steps: not stated" in card
    assert "Taken over" not in card


def test_a_card_says_where_a_model_of_another_program_comes_from() -> None:
    training = TrainingRecord(recipe={"program": "nnU-Net v2", "source": "our lab"})
    card = model_card(dataclasses.replace(describe_model(), training=training))
    assert "nnU-Net v2, our lab" in card


def test_a_card_has_a_table_of_the_subsets() -> None:
    records = (
        AccuracyRecord("made", 6, "Dice", "brats2021", {"ET": 0.8, "WT": 0.9}),
        AccuracyRecord("made", 6, "Dice", "brats2021", {"ET": 0.25, "WT": 0.85}, ("t1", "flair")),
    )
    card = model_card(dataclasses.replace(describe_model(), accuracy=records))
    whole, subsets = card.split("where only these sequences are given")
    assert "| Dice | 0.800 | 0.900 | 6 |" in whole and "0.250" not in whole
    assert "| Given | ET | WT |" in subsets and "| T1, FLAIR | 0.250 | 0.850 |" in subsets


def test_a_card_says_how_many_cases_a_subset_was_measured_on_where_some_lack_sequences() -> None:
    records = (
        AccuracyRecord("made", 6, "Dice", "brats2021", {"WT": 0.9}),
        AccuracyRecord("made", 4, "Dice", "brats2021", {"WT": 0.8}, ("t1", "flair")),
    )
    card = model_card(dataclasses.replace(describe_model(), accuracy=records))
    assert "| Given | WT | Cases |" in card and "| T1, FLAIR | 0.800 | 4 |" in card and "same cases" not in card


def test_a_card_says_which_slices_are_run() -> None:
    d = describe_model()
    some = dataclasses.replace(d, dimensions=2, tiling=TilingSpec((0, 0), 0.0, slice_distance=4.0, every_slice=("ET",)))
    assert "Slices 4 mm apart are run, and all beside one that shows ET; those between are interpolated.\n" in (
        model_card(some)
    )
    assert "are run" not in model_card(d)
