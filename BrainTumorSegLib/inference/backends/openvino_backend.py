"""OpenVINO: on CPUs two to four times as fast as PyTorch, which it needs once a network, to convert it.

Networks that say how compute in 8 bits, unless a precision is chosen; the rest of them in half precision where the
processor can.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ...domain.errors import DeviceError, ExecutionError
from ...domain.options import PRECISIONS
from ...domain.progress import Progress
from ...domain.shortage import is_shortage
from ...models.kept import once
from .conversions import Conversion, convert, kept
from .openvino_runtime import compiled, core, logits, openvino, threads

if TYPE_CHECKING:
    from ...models.checkpoint_file import Checkpoint

# What OpenVINO calls the ability to compute in these.
_ABILITIES = {"bf16": "BF16", "fp16": "FP16"}
# oneDNN uses fewer of a processor's instructions where one of these is set, and then has no arithmetic in bf16,
# whatever OpenVINO believes (it ends in a segmentation fault).
_CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")


class OpenVinoBackend:
    """A network in OpenVINO; see :class:`.Backend`."""

    name = "openvino"

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        """Choose the precision.

        Raises:
            DeviceError: OpenVINO is not installed or cannot be loaded, the device is another than the CPU, or the
                processor does not compute in that precision.
        """
        if device not in ("auto", "cpu"):
            raise DeviceError(f"OpenVINO runs on the CPU here, not on {device!r}.", "Choose --backend torch.")
        self._chosen = precision
        self._precision = _resolve_precision(precision)
        self.device = f"cpu ({threads()} threads)"
        self._network: Any = None
        self._conversions: dict[str, Conversion] = {}
        self._waiting: dict[str, Any] = {}  # compiled, not loaded yet: its weights still lie in the file alone

    @property
    def precision(self) -> str:
        """Of the networks that were prepared: ``int8`` where all of them compute in 8 bits."""
        found = [conversion.eight_bit for conversion in self._conversions.values()]
        return "int8" if found and all(found) else self._precision

    @property
    def versions(self) -> dict[str, str]:
        """Of what computes."""
        return {"openvino": str(openvino().__version__).partition("-")[0]}

    def prepare(self, checkpoint: Checkpoint, progress: Progress) -> int:
        """Convert the network where that was not done before, and compile it.

        Compiled here, since what was converted elsewhere, as in a home folder of several machines, may not be able to
        run on this one, and another backend can be taken only before the run.

        Raises:
            DeviceError: OpenVINO cannot run it, or gives another result than PyTorch.
        """
        return self._converted(checkpoint, progress).divisor

    def _converted(self, checkpoint: Checkpoint, progress: Progress) -> Conversion:
        key = _key(checkpoint)
        if key not in self._conversions:
            self._conversions[key] = self._convert(checkpoint, progress)
        return self._conversions[key]

    def _convert(self, checkpoint: Checkpoint, progress: Progress) -> Conversion:
        """In 8 bits where the network says how, and nothing else is wanted.

        Raises:
            DeviceError: as :meth:`prepare`.
        """
        d = checkpoint.description
        if self._chosen == "int8" and not d.network.eight_bit:
            raise DeviceError(f"Model {d.id} does not say how to run it in int8.", "Choose --precision auto.")
        if self._chosen in ("auto", "int8") and d.network.eight_bit:
            try:
                return self._tried(checkpoint, progress, eight_bit=True)
            except DeviceError:
                if self._chosen == "int8":
                    raise
        return self._tried(checkpoint, progress, eight_bit=False)

    def _tried(self, checkpoint: Checkpoint, progress: Progress, *, eight_bit: bool) -> Conversion:
        """What was converted before, or else now; compiled."""
        found = kept(checkpoint, eight_bit)
        if found is None:
            progress.report("convert", 0.0, f"Converting {checkpoint.description.id} for OpenVINO, once")
            found = convert(checkpoint, eight_bit)
        try:
            self._waiting[_key(checkpoint)] = self._compiled(checkpoint, found)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            # It is compiled when it is loaded: those before it make room, or the result does without it.
        return found

    def _compiled(self, checkpoint: Checkpoint, conversion: Conversion) -> Any:
        compile_ = lambda: compiled(conversion.model(), self._precision)  # noqa: E731
        return once(checkpoint, f"openvino {self._precision} {conversion.eight_bit}", compile_)

    def load(self, checkpoint: Checkpoint) -> None:
        """Take the network of a checkpoint that was prepared."""
        found = self._converted(checkpoint, Progress())
        self._network = None  # two that have run would take more memory than one
        network = self._waiting.pop(_key(checkpoint), None)
        self._network = self._compiled(checkpoint, found) if network is None else network

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """A batch through the network; the sigmoid is in fp32 whatever the network computes in."""
        values = self.logits(batch)
        with np.errstate(over="ignore"):  # the sigmoid, in place
            np.exp(np.negative(values, out=values), out=values)
        values += 1
        return np.asarray(np.reciprocal(values, out=values))

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """A batch through the network.

        Raises:
            MemoryError: memory ran out.
            ExecutionError: it gives something of another size.
        """
        assert self._network is not None, "no network was loaded"
        values = logits(self._network, batch)
        if not values.size:  # where memory ran out it may say nothing, and give nothing
            raise MemoryError("OpenVINO gave no result")
        if (len(values), *values.shape[2:]) != (len(batch), *batch.shape[2:]):  # of images smaller than it halves
            raise ExecutionError(
                f"OpenVINO gives {values.shape} for images of {batch.shape}.", "Choose --backend torch."
            )
        return values

    def free_memory(self) -> None:
        """Give back what a network keeps for its next run."""
        if self._network is not None:
            self._network.get_compiled_model().release_memory()


def _key(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.identity} {checkpoint.description.id}"


def _resolve_precision(precision: str) -> str:
    if precision not in PRECISIONS:
        raise DeviceError(f"Unknown precision {precision!r}.", f"Choose one of {', '.join(PRECISIONS)}.")
    able = {"FP32", *core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")}
    if any(os.environ.get(name) for name in _CAPS):
        able -= {"BF16", "FP16"}
    if precision in ("auto", "int8"):
        return "bf16" if "BF16" in able else "fp32"
    if _ABILITIES.get(precision, "FP32") not in able:
        raise DeviceError(f"This processor does not compute in {precision} with OpenVINO.", "Choose --precision auto.")
    return precision
