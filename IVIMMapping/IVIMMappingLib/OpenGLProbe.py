"""Find out, without risk, how this computer can draw off screen.

Rendering without an OpenGL library does not raise, it kills the process; so the question is asked in a child process.
"""

from __future__ import annotations

import os
import subprocess
import sys

VARIABLE = "VTK_DEFAULT_OPENGL_WINDOW"
WINDOWS = ("vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow")
PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri"
ADVICE = (
    f"Install an OpenGL library (Debian and Ubuntu: apt-get install {PACKAGES}; or libosmesa6), "
    "then run this again; maps and tables do not need it."
)
_PROGRAM = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(8, 8)
renderer = vtk.vtkRenderer()
renderer.SetBackground(1, 0, 0)
window.AddRenderer(renderer)
window.Render()
capture = vtk.vtkWindowToImageFilter()
capture.SetInput(window)
capture.ReadFrontBufferOff()
capture.Update()
raise SystemExit(0 if capture.GetOutput().GetScalarComponentAsDouble(4, 4, 0, 0) > 250 else 3)
"""


def findRenderWindow(timeout: float = 60.0) -> str | None:
    """Return the name of the first kind of render window that draws, or None if none does.

    An already set variable VTK_DEFAULT_OPENGL_WINDOW is tried first. `timeout` [s] is for each try.
    """
    wished = os.environ.get(VARIABLE)
    for name in dict.fromkeys([*([wished] if wished else []), *WINDOWS]):
        try:
            child = subprocess.run(
                [sys.executable, "-c", _PROGRAM], env={**os.environ, VARIABLE: name}, timeout=timeout,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
            )
        except subprocess.TimeoutExpired:
            continue
        if child.returncode == 0:
            return name
    return None
