"""The record of how a run is made, to the command line and back."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest

from BrainTumorSegLib import cli
from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.options import ENGINE_OPTIONS, RunOptions, add_options, check_report_name

# A value that is not the default, for every field.
OTHER = {
    "model": "-my model/ü.safetensors",
    "device": "cuda:1",
    "backend": "torch",
    "precision": "bf16",
    "tta": True,
    "preprocess": "register",
    "brain_extraction": "hd-bet",
    "brain_mask": Path("my brain.nii.gz"),
    "reference": "t2",
    "native": "all",
    "labels": "brats2021",
    "probabilities": Path("maps of=me"),
    "preprocessed": Path("-ready"),
    "report": Path("--r.html"),
}


def parsed(arguments: list[str]) -> RunOptions:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return RunOptions.of(parser.parse_args(arguments))


def test_every_field_has_a_case_here() -> None:
    assert set(OTHER) == {field.name for field in dataclasses.fields(RunOptions)}


@pytest.mark.parametrize("name", OTHER)
def test_every_field_goes_to_the_command_line_and_back(name: str) -> None:
    options = RunOptions(**{name: OTHER[name]})  # type: ignore[arg-type]
    assert options != RunOptions() and len(options.arguments()) == 1
    assert parsed(options.arguments()) == options


def test_all_fields_together_and_none() -> None:
    options = RunOptions(**OTHER)  # type: ignore[arg-type]
    assert parsed(options.arguments()) == options
    assert RunOptions().arguments() == [] and parsed([]) == RunOptions()


def test_the_commands_read_the_same_record() -> None:
    options = RunOptions(**OTHER)  # type: ignore[arg-type]
    arguments = cli.parser().parse_args(["segment", "case", "-o", "o.nii", *options.arguments()])
    assert RunOptions.of(arguments) == options
    engine = RunOptions(**{name: OTHER[name] for name in ENGINE_OPTIONS})  # type: ignore[arg-type]
    assert RunOptions.of(cli.parser().parse_args(["demo", *engine.arguments()])) == engine


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", "fp8"),
        ("preprocess", "all"),
        ("brain_extraction", "bet"),
        ("reference", "pd"),
        ("native", "t1"),
        ("labels", "lgg"),
    ],
)
def test_what_no_option_knows_is_refused(name: str, value: str) -> None:
    with pytest.raises(RequestError, match=value):
        RunOptions(**{name: value})  # type: ignore[arg-type]


def test_a_brain_mask_that_nothing_would_use_is_refused() -> None:
    with pytest.raises(RequestError, match="--brain-mask does not go with --preprocess none"):
        RunOptions(preprocess="none", brain_mask=Path("b.nii.gz"))


@pytest.mark.parametrize("name", ["other.nii.gz", "r.pdf", "r", "html", "r.html.gz"])
def test_a_report_gets_no_name_but_a_pages(name: str) -> None:
    with pytest.raises(RequestError, match="is no name of a report") as caught:
        RunOptions(report=Path("folder") / name)
    assert caught.value.remedy == "Use a name that ends in .html."


@pytest.mark.parametrize("name", ["r.html", "r.htm", "P 1.HTML", "r.nii.Htm"])
def test_a_report_may_end_in_letters_of_either_case(name: str) -> None:
    check_report_name(Path(name))
    assert RunOptions(report=Path(name)).report == Path(name)


def test_a_field_of_two_words_is_an_option_with_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["segment", "--help"])
    shown = capsys.readouterr().out
    assert "--brain-extraction {auto,included,hd-bet,synthstrip}" in shown and "--brain-mask FILE" in shown
