"""The one way through: case → preprocessing → network → regions on the reference grid → segmentation."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import __version__
from ..domain.case import Case
from ..domain.errors import ModalityError, RequestError
from ..domain.modalities import alternatives, listed, taken
from ..domain.options import RunOptions
from ..domain.progress import Progress
from ..domain.result_record import whole_path
from ..domain.segmentation import Segmentation
from ..models.checkpoint_file import Checkpoint
from ..models.description import Description
from ..models.ensemble import able
from ..preprocessing import AlignedCase, Prepared, align_case, prepare
from ..preprocessing.normalisation import CLIP
from ..quality import Examined, check_input, implausible, unlearnt
from .backends import Backend, ready_backend
from .composition import compose, on_native_grids
from .ensemble import Opinion, about_resting, ask, known_regions, pooled
from .predictors import Predictor, predictor_of
from .result_warnings import about_confidence, about_enhancement, about_model
from .tta import Mirrored

# Share of a run that registration and brain extraction take, where they are needed.
_ALIGNING = 0.5


def segment_case(
    case: Case,
    checkpoint: Checkpoint,
    options: RunOptions | None = None,
    *,
    keep_probabilities: bool = False,
    progress: Progress | None = None,
    aligned_to: Callable[[AlignedCase], None] | None = None,
) -> Segmentation:
    """Segment one patient.

    Args:
        case: the images; every modality that the model requires must be there.
        checkpoint: the model.
        options: device, precision, test-time augmentation, preprocessing, reference, native grids; the model is
            ``checkpoint``'s.
        keep_probabilities: keep the region probabilities in the result.
        progress: hears how far the run is; ends it when cancelled.
        aligned_to: gets the images as they were registered and skull-stripped, before the network runs.

    Raises:
        ModalityError: a required modality is missing.
        GeometryError: the images do not overlap or cannot be registered.
        InputError: no brain is found, or its mask is none.
        RequestError: a brain mask is given for a model of whole heads.
        DeviceError: the device or the backend is not there.
        CheckpointError: the network cannot be built or run as the checkpoint says.
        ShortageError: memory ran out.
        ExecutionError: the network gives something that is no number.
        CancelledError: cancelled through ``progress``.
    """
    started = time.perf_counter()
    options, progress = options or RunOptions(), progress or Progress()
    description = checkpoint.description
    if options.reference:
        case = dataclasses.replace(case, reference=options.reference)
    # What can be refused is refused before anything slow begins.
    check_modalities(case, description)
    check_mask(options, description)
    members, resting = able(checkpoint, case.images)
    wanted = options.backend, options.device, options.precision
    backend, divisors, slower = ready_backend(*wanted, members, progress.part(0.0, 0.01))
    networks = [(m, predictor_of(m.description, divisor)) for m, divisor in zip(members, divisors, strict=True)]
    aligned = align_case(case, options, progress.part(0.0, _ALIGNING), brain=description.preprocessing.brain)
    if aligned_to:
        aligned_to(aligned)
    progress = progress.part(_ALIGNING if aligned.moves or aligned.brain else 0.0, 1.0)
    running = Mirrored(backend) if options.tta else backend
    answers = _ask(networks, running, _shared(aligned, options), progress)
    backend.free_memory()
    progress.report("finish", 0.9, "Placing the result on the reference grid")
    spec = description.postprocessing
    said = pooled(answers.opinions, description.pooling)
    composed = compose(said, spec, case, keep=keep_probabilities)
    doubted = composed.doubted is not None
    placed = aligned.case.images if options.native == "all" else {}
    native = on_native_grids(said, spec, case, placed, doubted)
    regions = known_regions(answers.opinions)
    result = Segmentation(
        case_id=case.id,
        labels=case.reference_volume.with_array(composed.labels),
        regions=regions,
        provenance=_provenance(checkpoint, case, aligned, answers.opinions, backend, options, started),
        confidence=composed.expected,
        probabilities=composed.probabilities,
        native=native,
        own=description.own,
    )
    nonsense = implausible(result.labels, answers.filled) or _unlearnt(answers.opinions)
    # What a network promises of a result that cannot be true is worth nothing.
    expected = {} if nonsense else composed.expected
    warnings = [
        *([nonsense] if nonsense else []),
        *slower,
        *answers.shortage,
        *case.warnings,
        *aligned.warnings,
        *_each(warning for opinion in answers.opinions for warning in opinion.prepared.warnings),
        *answers.doubts,
        *about_confidence(expected, found=bool(composed.labels.any())),
        *about_enhancement(composed.labels, composed.doubted, regions, case.images),
        *about_resting(members, resting, case.modalities),
        *about_model(case, description, regions),
    ]
    progress.report("finish", 1.0, "Segmented")
    return dataclasses.replace(result, warnings=tuple(warnings), confidence=expected)


@dataclass(frozen=True)
class _Answers:
    """What the networks say of the images.

    Attributes:
        opinions: of each network that ran.
        shortage: what was done without for want of memory, in words.
        doubts: about the images, in words.
        filled: where the reference image is not background.
    """

    opinions: Sequence[Opinion]
    shortage: Sequence[str]
    doubts: Sequence[str]
    filled: np.ndarray


def _ask(
    networks: Sequence[tuple[Checkpoint, Predictor]],
    backend: Backend,
    prepared_for: Callable[[Description], Prepared],
    progress: Progress,
) -> _Answers:
    """Run the networks; the first one is loaded, and the images are looked at, beside what takes the time."""
    leading = networks[0][0]
    progress.report("prepare", 0.0, "Preparing the images")
    with ThreadPoolExecutor(1) as aside:
        loading = aside.submit(backend.load, leading)  # it learns the axes that are mirrored, too
        examined = _examined(leading.description, prepared_for(leading.description))
        loading.result()
        checked = aside.submit(check_input, examined)
        opinions, shortage = ask(networks, backend, prepared_for, progress.part(0.0, 0.9))
    return _Answers(opinions, shortage, checked.result(), examined.filled)


def check_modalities(case: Case, description: Description) -> None:
    """Refuse a case that lacks what the model needs.

    Raises:
        ModalityError: names what is missing and what the model accepts.
    """
    lacking = description.lacking(case.images)
    if lacking:
        accepts = taken(description.modalities, description.optional_modalities)
        options = [f"--{name} FILE" for name in dict.fromkeys(name for group in lacking for name in group)]
        raise ModalityError(
            f"{listed(alternatives(lacking))} missing: model {description.id} takes {accepts}.",
            f"Give it ({', '.join(options)}), or choose another model: braintumorseg models.",
        )


def check_mask(options: RunOptions, description: Description) -> None:
    """Refuse a mask of the brain that nothing would use.

    Raises:
        RequestError: the model takes whole heads.
    """
    if options.brain_mask and description.preprocessing.brain == "head":
        raise RequestError(
            f"Model {description.id} takes whole heads, so no brain mask is used.",
            "Leave out --brain-mask, or choose another model: braintumorseg models.",
        )


def _shared(aligned: AlignedCase, options: RunOptions) -> Callable[[Description], Prepared]:
    """What gives the images as a network takes them, made once for all that take them alike."""
    made: list[tuple[Description, Prepared]] = []

    def prepared_for(description: Description) -> Prepared:
        for other, prepared in made:
            if (other.modalities, other.preprocessing) == (description.modalities, description.preprocessing):
                return prepared
        made.append((description, _prepare(aligned, description, options)))
        return made[-1][1]

    return prepared_for


def _unlearnt(opinions: Sequence[Opinion]) -> str:
    """Why what one of the networks says cannot rest on the images; empty where all of it may."""
    found = (unlearnt(opinion.outputs, np.any(opinion.prepared.array, axis=0)) for opinion in opinions)
    return next(filter(None, found), "")


def _each(texts: Iterable[str]) -> list[str]:
    """Every text once."""
    return list(dict.fromkeys(texts))


def _prepare(aligned: AlignedCase, description: Description, options: RunOptions) -> Prepared:
    """The images as the model takes them, but for what ``--preprocess none`` leaves out."""
    spec = description.preprocessing
    if options.preprocess == "none" and spec.bias_correction != "none":
        prepared = prepare(aligned.case, description.modalities, dataclasses.replace(spec, bias_correction="none"))
        left_out = "The bias field was not corrected, as asked for; the model was trained on corrected images."
        return dataclasses.replace(prepared, warnings=(*prepared.warnings, left_out))
    return prepare(aligned.case, description.modalities, spec, aligned.grid)


def _examined(description: Description, prepared: Prepared) -> Examined:
    """What the checks of quality look at; they know z-scores as the included models take them."""
    spec = description.preprocessing
    unlike = spec.normalisation in ("zscore_tanh", "zscore_box", "window", "rescale")
    foreign = spec.normalisation in ("zscore_unclipped", "zscore_nonzero")
    return Examined(
        prepared.reference,
        np.clip(prepared.array, -CLIP, CLIP) if foreign else prepared.array,
        description.modalities,
        prepared.grid.spacing,
        spec.orientation,
        "head" if unlike else spec.brain,
        partly=prepared.partial,
    )


def _provenance(
    checkpoint: Checkpoint,
    case: Case,
    aligned: AlignedCase,
    opinions: Sequence[Opinion],
    backend: Backend,
    options: RunOptions,
    started: float,
) -> dict[str, Any]:
    d = checkpoint.description
    return {
        "model": {"id": d.id, "version": d.version, "sha256": checkpoint.digest} | _members(d, opinions),
        "inputs": {name: whole_path(case.images[name].source) for name in case.modalities},
        "reference": case.reference,
        "preprocessing": [*aligned.record, *_each(line for o in opinions for line in o.prepared.record)],
        "alignment": dataclasses.asdict(aligned.as_record()),
        "device": backend.device,
        "backend": backend.name,
        "precision": backend.precision,
        "tta": options.tta,
        "seconds": round(time.perf_counter() - started, 2),
        "versions": {"braintumorseg": __version__, **backend.versions, "python": platform.python_version()},
    }


def _members(description: Description, opinions: Sequence[Opinion]) -> dict[str, Any]:
    """Of an ensemble, those of its members that the result rests on."""
    return {"members": [opinion.description.id for opinion in opinions]} if description.members else {}
