"""A diffusion-weighted series that lies in the scene: its images, its b-values with their source, and its noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk

from ivimcore.data.mask import body_mask
from ivimcore.data.series import Geometry
from ivimcore.errors import InputError
from ivimcore.estimators.image import one_thread_per_product
from ivimcore.physics.acquisition import Acquisition, group_bvalues
from ivimcore.physics.background import measure_noise

from .MapDisplay import PARAMETER_ATTRIBUTE
from .SeriesFrames import ComponentFrames, SequenceFrames, nodesOfClass
from .SeriesSources import findBvalues

NOISE_SAMPLE = 12_000
"""Voxels of the coarse grid on which the noise is measured: its error stays near 1 %, its time below 0.1 s."""
LEAST_PIXELS = 24
"""Pixels along a side of the coarse slices."""
LOW_B = 100.0
MULTIVOLUME = "vtkMRMLMultiVolumeNode"
"""Not in Slicer's core: an extension brings it, so that it is only known by its name."""


class SeriesInScene:
    """One series of the scene, read where it lies; nothing is copied until it is asked for.

    `node` sequence, DWI, vector or multivolume node; `geometry` grid without the transform above the node; `count`
    number of images; `bvalues` (n,) [s/mm²], NaN where nobody knows; `source` where they come from, in words; `notes`
    sentences for the person who chose this series.
    """

    def __init__(self, node: slicer.vtkMRMLNode, frames: SequenceFrames | ComponentFrames) -> None:
        self.node = node
        self._frames = frames
        self._cache: dict[Any, tuple[int, Any]] = {}
        self.geometry: Geometry = frames.geometry
        self.count: int = frames.count
        found = findBvalues(node, frames.count)
        self.bvalues: np.ndarray = found.bvalues
        self.source: str = found.source
        self.notes: tuple[str, ...] = found.notes
        self.sigmaMethod: str = "The noise has not been measured yet."

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.node.GetName()

    def displayNode(self) -> slicer.vtkMRMLVolumeNode | None:
        """Return the volume to show behind the maps: a sequence's proxy, else the node; None without a browser."""
        return self._frames.displayNode()

    def transformNode(self) -> slicer.vtkMRMLTransformNode | None:
        """Return the transform above the volume that is shown, or None; maps of the series belong under it, too."""
        display = self.displayNode()
        return None if display is None else display.GetParentTransformNode()

    # --- signal --------------------------------------------------------------------------------------------------

    def image(self, number0: int) -> np.ndarray:
        """Return a copy of one image (x, y, z) in signal units, of number `number0` from 0, dtype kept."""
        return self._frames.array(number0).transpose(2, 1, 0).copy()

    def signal(self, used: np.ndarray | None = None) -> np.ndarray:
        """Return a copy (x, y, z, m) of float32 of the images `used`, indices from 0 or a boolean list; None for all.

        Raises InputError where the memory does not suffice.
        """
        numbers = self._numbers(used)
        x, y, z = self.geometry.shape
        try:
            stack = np.empty((numbers.size, z, y, x), dtype=np.float32)
        except MemoryError:
            raise InputError(
                f"There is not enough memory for {numbers.size} images of '{self.name}'; crop the series or use fewer."
            ) from None
        for place, number in enumerate(numbers):
            stack[place] = self._frames.array(number)
        return stack.transpose(3, 2, 1, 0)

    def signalAt(self, ijk) -> np.ndarray:
        """Return the signal (n,) at voxel (i, j, k), NaN outside the series; takes well below a millisecond."""
        i, j, k = (int(index) for index in ijk)
        if not all(0 <= index < size for index, size in zip((i, j, k), self.geometry.shape, strict=True)):
            return np.full(self.count, np.nan)
        return self._frames.valuesAt(i, j, k)

    def meanSignal(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean (n,) and standard deviation of the mean (n,) over the voxels of `mask` (x, y, z).

        Values that are not finite are left out; the deviation of fewer than two values is NaN, as is the mean of none.
        """
        inside = np.asarray(mask, dtype=bool).transpose(2, 1, 0)
        if inside.shape != tuple(reversed(self.geometry.shape)):
            raise ValueError(f"The mask has shape {np.shape(mask)}, the series {self.geometry.shape}.")
        mean, deviation = np.full(self.count, np.nan), np.full(self.count, np.nan)
        for number in range(self.count):
            values = self._frames.array(number)[inside].astype(float)
            values = values[np.isfinite(values)]
            if values.size:
                mean[number] = values.mean()
            if values.size > 1:
                deviation[number] = values.std(ddof=1) / np.sqrt(values.size)
        return mean, deviation

    # --- place ---------------------------------------------------------------------------------------------------

    def ijkAt(self, ras) -> tuple[int, int, int] | None:
        """Return the voxel at a position of the world [mm], None outside the series or where a transform bends it."""
        matrix = self.rasToIjk()
        if matrix is None:
            return None
        ijk = np.rint(matrix @ [*ras, 1.0])[:3].astype(int)
        inside = all(0 <= index < size for index, size in zip(ijk, self.geometry.shape, strict=True))
        return tuple(int(index) for index in ijk) if inside else None

    def ijkToRas(self) -> np.ndarray | None:
        """Return the matrix (4, 4) from voxel to world [mm], transforms included; None under a non-linear one."""
        above = worldMatrix(self.displayNode())
        return None if above is None else above @ np.asarray(self.geometry.affine)

    def rasToIjk(self) -> np.ndarray | None:
        """Return the matrix (4, 4) from world [mm] to voxel, transforms included; None under a non-linear one."""
        matrix = self.ijkToRas()
        return None if matrix is None else np.linalg.inv(matrix)

    # --- noise ---------------------------------------------------------------------------------------------------

    def sigma(self, bvalues: np.ndarray, used: np.ndarray | None = None) -> float | None:
        """Measure the noise of one image [signal units] on a coarse grid, or return None where it cannot be told.

        Arguments: `bvalues` (n,) [s/mm²], NaN where unknown: those images do not count; `used` as in `signal`.
        The answer is kept until voxels, b-values or `used` change. `sigmaMethod` then says how it was found.
        """
        b = np.asarray(bvalues, dtype=float)
        numbers = self._numbers(used)
        numbers = numbers[np.isfinite(b[numbers])]
        key = ("sigma", tuple(numbers.tolist()), tuple(b[numbers].tolist()))
        sigma, self.sigmaMethod = self.cached(key, lambda: self._measureNoise(b, numbers))
        return sigma

    def _measureNoise(self, b: np.ndarray, numbers: np.ndarray) -> tuple[float | None, str]:
        if numbers.size == 0:
            return None, "The noise level cannot be told without b-values."
        x, y, z = self.geometry.shape
        # Coarse within the slice, but not so that nothing is left of the body's outline; then fewer slices.
        step = max(1, min(int(np.ceil(np.sqrt(x * y * z / NOISE_SAMPLE))), min(x, y) // LEAST_PIXELS))
        slices = max(1, round(x * y * z / step**2 / NOISE_SAMPLE))
        coarse = np.stack([self._frames.array(number)[::slices, ::step, ::step] for number in numbers], axis=-1)
        coarse = coarse.transpose(2, 1, 0, 3).astype(np.float32)
        try:
            acquisition = Acquisition(b[numbers])
            tissue = body_mask(coarse[..., lowImages(b[numbers])])
            with one_thread_per_product():  # threads for such small products cost ten times what they save
                found = measure_noise(coarse, acquisition, tissue)
        except InputError as fault:
            return None, str(fault)
        return found.sigma, found.method

    # --- what is shown -------------------------------------------------------------------------------------------

    @property
    def canShowImages(self) -> bool:
        """Whether single images of the series can be chosen for the views."""
        return self._frames.canShow

    def showImage(self, number0: int) -> None:
        """Show the image of number `number0` from 0 in the views that show this series; others are left alone."""
        if not 0 <= number0 < self.count:
            raise ValueError(f"Image {number0} does not exist; the series has images 0 to {self.count - 1}.")
        self._frames.show(int(number0))

    def shownImage(self) -> int | None:
        """Return the number from 0 of the image that the views show, or None where that cannot be told."""
        return self._frames.shown()

    # --- helpers -------------------------------------------------------------------------------------------------

    def cached(self, key, compute: Callable[[], Any]) -> Any:
        """Return what `compute` gave for this key, worked out again only after a voxel has changed."""
        modified = self._frames.modified()
        if key not in self._cache or self._cache[key][0] != modified:
            self._cache[key] = (modified, compute())
        return self._cache[key][1]

    def _numbers(self, used) -> np.ndarray:
        if used is None:
            return np.arange(self.count)
        used = np.asarray(used)
        return np.flatnonzero(used) if used.dtype == bool else used.astype(int)


def readSeries(node: slicer.vtkMRMLNode) -> SeriesInScene:
    """Read a sequence, the volume that shows one, or a DWI, vector or multivolume node.

    Raises InputError, in one sentence, for everything else: a map of ours, a single image, frames that do not fit
    together, a series that a non-linear transform bends.
    """
    if node is None:
        raise InputError("No series is chosen; choose one in step 1.")
    name = node.GetName()
    if node.GetAttribute(PARAMETER_ATTRIBUTE):
        raise InputError(f"'{name}' is a map of IVIMSlicer; choose the series it was made from.")
    source = findSeriesNode(node)
    if source.IsA("vtkMRMLSequenceNode"):
        series = SeriesInScene(source, SequenceFrames(source))
    elif _holdsComponents(source):
        series = SeriesInScene(source, ComponentFrames(source))
    elif source.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"'{name}' is a single image; choose a series, or make one with 'Several volumes…'.")
    else:
        raise InputError(f"'{name}' is no image series; choose a sequence, DWI, vector volume or multivolume.")
    if series.count < 2:
        raise InputError(f"'{name}' holds a single image; choose a series of several b-values.")
    if series.ijkToRas() is None:
        raise InputError(
            f"'{name}' is bent by the non-linear transform '{series.transformNode().GetName()}'; harden the "
            "transform on the series, or take the series out of it."
        )
    return series


def findSeriesNode(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLNode:
    """Return the sequence that a volume shows as proxy of any browser; another node comes back as it is."""
    scene = node.GetScene()
    if scene is None or node.IsA("vtkMRMLSequenceNode"):
        return node
    for browser in nodesOfClass(scene, "vtkMRMLSequenceBrowserNode"):
        sequence = browser.GetSequenceNode(node)
        if sequence is not None:
            return sequence
    return node


def worldMatrix(node: slicer.vtkMRMLTransformableNode | None) -> np.ndarray | None:
    """Return the matrix (4, 4) of all transforms above a node [mm], None where one of them is not linear."""
    transform = None if node is None else node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    matrix = vtk.vtkMatrix4x4()
    if not transform.IsTransformToWorldLinear():
        return None
    transform.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def lowImages(bvalues: np.ndarray) -> np.ndarray:
    """Return which images (n,) of bool have a low b: the group of the lowest, and all up to 100 s/mm²."""
    groups, group = group_bvalues(bvalues)
    return (group == 0) | (np.asarray(bvalues) <= max(LOW_B, groups[0]))


def _holdsComponents(node: slicer.vtkMRMLNode) -> bool:
    return any(
        node.IsA(className)
        for className in ("vtkMRMLDiffusionWeightedVolumeNode", "vtkMRMLVectorVolumeNode", MULTIVOLUME)
    ) and not node.IsA("vtkMRMLDiffusionTensorVolumeNode")
