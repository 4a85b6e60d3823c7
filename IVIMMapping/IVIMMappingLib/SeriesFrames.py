"""Access to the images of a series in the scene without copying them: frames of a sequence, or components."""

from __future__ import annotations

import numpy as np
import slicer

from ivimcore.data.series import Geometry
from ivimcore.errors import InputError

from .VolumeNodes import geometryOfVolumeNode

LARGEST_LIST = 8


class SequenceFrames:
    """The images of a volume sequence, one data node each.

    Raises InputError for an empty sequence, for what is no scalar volume, and for frames of another size or place.
    """

    def __init__(self, node: slicer.vtkMRMLSequenceNode) -> None:
        self.node = node
        self.count = node.GetNumberOfDataNodes()
        frames = [node.GetNthDataNode(number) for number in range(self.count)]
        name = node.GetName()
        if not frames:
            raise InputError(f"The sequence '{name}' is empty; choose another series.")
        for number, frame in enumerate(frames, start=1):
            if frame is None or not frame.IsA("vtkMRMLScalarVolumeNode") or frame.GetImageData() is None:
                raise InputError(f"Frame {number} of the sequence '{name}' holds no image; choose a volume sequence.")
            if frame.GetImageData().GetNumberOfScalarComponents() != 1:
                raise InputError(f"The frames of '{name}' are colour images; choose a diffusion-weighted series.")
        self.geometry = geometryOfVolumeNode(frames[0])
        grids = [geometryOfVolumeNode(frame) for frame in frames]
        _refuseOthers(name, grids)
        self._frames = frames

    def array(self, number: int) -> np.ndarray:
        """Return the image of that number from 0 as a view (k, j, i)."""
        return slicer.util.arrayFromVolume(self._frames[number])

    def valuesAt(self, i: int, j: int, k: int) -> np.ndarray:
        """Return the value of every image at one voxel (n,)."""
        return np.array([
            frame.GetImageData().GetScalarComponentAsDouble(i, j, k, 0) for frame in self._frames
        ])

    def modified(self) -> int:
        """Return a number that grows when any voxel changes."""
        return max(frame.GetImageData().GetMTime() for frame in self._frames)

    def displayNode(self) -> slicer.vtkMRMLVolumeNode | None:
        """Return the volume that shows the chosen frame, or None without a browser."""
        return self._browsed()[1]

    def shown(self) -> int | None:
        """Return which image is on screen, from 0, or None."""
        browser, proxy = self._browsed()
        if proxy is None:
            return None
        master = browser.GetMasterSequenceNode()
        selected = browser.GetSelectedItemNumber()
        if master is None or not 0 <= selected < master.GetNumberOfDataNodes():
            return None
        if master.GetID() == self.node.GetID():
            return selected
        number = self.node.GetItemNumberFromIndexValue(master.GetNthIndexValue(selected))
        return number if number >= 0 else None

    def show(self, number: int) -> None:
        """Let the browser choose that image, from 0."""
        browser, proxy = self._browsed()
        master = browser.GetMasterSequenceNode() if proxy is not None else None
        if master is None:
            return
        if master.GetID() != self.node.GetID():
            number = master.GetItemNumberFromIndexValue(self.node.GetNthIndexValue(number))
        if number >= 0:
            browser.SetSelectedItemNumber(number)

    @property
    def canShow(self) -> bool:
        """Whether a browser shows this sequence."""
        return self._browsed()[1] is not None

    def _browsed(self):
        scene = self.node.GetScene()
        return (None, None) if scene is None else browserAndProxy(scene, self.node)


class ComponentFrames:
    """The images of a DWI, vector or multivolume node, which are the components of its voxels."""

    def __init__(self, node: slicer.vtkMRMLVolumeNode) -> None:
        self.node = node
        image = node.GetImageData()
        if image is None or image.GetPointData().GetScalars() is None:
            raise InputError(f"The volume '{node.GetName()}' holds no voxels; choose another series.")
        self.count = image.GetNumberOfScalarComponents()
        self.geometry = geometryOfVolumeNode(node)

    def array(self, number: int) -> np.ndarray:
        """Return the image of that number from 0 as a view (k, j, i)."""
        voxels = slicer.util.arrayFromVolume(self.node)
        return voxels[..., number] if voxels.ndim == 4 else voxels

    def valuesAt(self, i: int, j: int, k: int) -> np.ndarray:
        """Return the value of every image at one voxel (n,)."""
        image = self.node.GetImageData()
        return np.array(image.GetPointData().GetScalars().GetTuple(image.ComputePointId((i, j, k))), dtype=float)

    def modified(self) -> int:
        """Return a number that grows when any voxel changes."""
        return self.node.GetImageData().GetMTime()

    def displayNode(self) -> slicer.vtkMRMLVolumeNode | None:
        """Return the volume itself, or None after it was taken out of the scene."""
        return self.node if self.node.GetScene() is not None else None

    def shown(self) -> int | None:
        """Return which image is on screen, from 0, or None."""
        reader = self._way("Get")
        return None if reader is None else int(reader())

    def show(self, number: int) -> None:
        """Let the display node choose that image, from 0."""
        writer = self._way("Set")
        if writer is not None:
            writer(number)

    @property
    def canShow(self) -> bool:
        """Whether Slicer can show single images of this kind of node: not those of a vector volume."""
        return self._way("Set") is not None

    def _way(self, verb: str):
        display = self.node.GetDisplayNode()
        # A DWI node calls it the diffusion component, a multivolume the frame component.
        for what in ("DiffusionComponent", "FrameComponent"):
            if hasattr(display, verb + what):
                return getattr(display, verb + what)
        return None


def browserAndProxy(scene: slicer.vtkMRMLScene, sequenceNode: slicer.vtkMRMLSequenceNode):
    """Return the first browser that shows a sequence and the volume it shows it with, or (None, None)."""
    for browser in nodesOfClass(scene, "vtkMRMLSequenceBrowserNode"):
        proxy = browser.GetProxyNode(sequenceNode)
        if proxy is not None:
            return browser, proxy
    return None, None


def nodesOfClass(scene: slicer.vtkMRMLScene, className: str) -> list:
    """Return the nodes of a class in the scene, in its order."""
    return [scene.GetNthNodeByClass(number, className) for number in range(scene.GetNumberOfNodesByClass(className))]


def numberList(numbers) -> str:
    """Write numbers of images for a person: '3, 4, 5', and of many the first and how many there are."""
    numbers = [str(number) for number in numbers]
    if len(numbers) <= LARGEST_LIST:
        return ", ".join(numbers)
    return f"{', '.join(numbers[:LARGEST_LIST])} ... ({len(numbers)} in all)"


def _refuseOthers(name: str, grids: list[Geometry]) -> None:
    """Raise InputError with the numbers of the frames that do not lie on the grid of the first."""
    others = [number for number, grid in enumerate(grids, start=1) if not grids[0].matches(grid)]
    if not others:
        return
    first, other = grids[0], grids[others[0] - 1]
    words = ("Frame", "has") if len(others) == 1 else ("Frames", "have")
    raise InputError(
        f"{words[0]} {numberList(others)} of '{name}' {words[1]} another size or place than frame 1 "
        f"({other.describe()} instead of {first.describe()}); resample all frames to one grid."
    )
