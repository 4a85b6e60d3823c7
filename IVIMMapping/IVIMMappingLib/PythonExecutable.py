"""The Python that carries out a fit in a process of its own, found among those of this computer and tried.

Desktop Slicer is a program with a Python inside it, so `sys.executable` may be Slicer itself: starting that would open
a second window. PythonSlicer beside it is the right one where it exists; builds without it are served by the Python
that Slicer was built with. A candidate counts only if it is of the same version and imports what a fit needs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import slicer

import ivimcore
from ivimcore.errors import InputError

_NEEDS = "numpy, scipy"
_PROGRAM = f"import sys, {_NEEDS}; print('usable', *sys.version_info[:2])"
_PATIENCE = 60.0
"""Longest time [s] that a candidate may take to import; a cold disk is slow."""
_ANSWER = f"usable {sys.version_info.major} {sys.version_info.minor}"
_found: list[str] = []
"""The answer of this session."""


def workerEnvironment() -> dict[str, str]:
    """Return the environment of a child that finds ivimcore and the same packages as this process.

    It is that of this process and not the one from before Slicer's launcher: the launcher names the folders of the
    libraries that numpy and scipy of Slicer's own Python are linked to, and the child needs them as well. Added is
    where this process imports from, so that an interpreter without packages of its own finds those of Slicer; its
    standard library stays its own, because the same version may have been built with another one.
    """
    environment = dict(os.environ)
    standard = {os.path.realpath(path) for path in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))}
    standard |= {os.path.join(path, "lib-dynload") for path in standard}
    folders = [str(Path(ivimcore.__file__).resolve().parents[1])]
    folders += [path for path in sys.path if path and os.path.isdir(path) and os.path.realpath(path) not in standard]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
    environment["PYTHONUNBUFFERED"] = "1"
    environment.pop("PYTHONINSPECT", None)  # the child would wait for commands instead of ending
    return environment


def hiddenWindow() -> dict[str, int]:
    """Return the arguments of Popen that keep Windows from opening a console window; nothing elsewhere."""
    return {"creationflags": subprocess.CREATE_NO_WINDOW} if os.name == "nt" else {}


def candidates() -> list[str]:
    """Return the paths of the interpreters to try, the most fitting first, each once."""
    ending = ".exe" if os.name == "nt" else ""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    names = [f"python{version}{ending}", f"python3{ending}", f"python{ending}"]
    wished = [shutil.which("PythonSlicer")]
    home = _slicerHome()
    if home is not None:
        wished.append(home / "bin" / f"PythonSlicer{ending}")
    if "python" in os.path.basename(sys.executable or "").lower():
        wished.append(sys.executable)
    base = getattr(sys, "_base_executable", None)
    if base and "python" in os.path.basename(base).lower():
        wished.append(base)
    folders = [sysconfig.get_config_var("BINDIR")]
    for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix):
        folders += [os.path.join(prefix, "bin"), prefix]
    if home is not None:
        folders += [home / "bin", home / "lib" / "Python" / "bin"]
    real = f"python-real{ending}"  # the interpreter behind PythonSlicer
    wished += [os.path.join(folder, name) for folder in folders if folder for name in (*names, real)]
    wished += [shutil.which(name) for name in names]
    found = [str(path) for path in wished if path and os.path.isfile(path) and os.access(path, os.X_OK)]
    return list(dict.fromkeys(found))


def _slicerHome() -> Path | None:
    application = getattr(slicer, "app", None)
    home = getattr(application, "slicerHome", None)
    return Path(home) if isinstance(home, str) and home else None


class PythonSearch:
    """Tries the candidates one after the other in child processes, without ever waiting for them.

    Call `poll` now and then until it returns True; then `executable` is the path. The answer is kept for the session.
    """

    def __init__(self) -> None:
        self.executable: str | None = _found[0] if _found else None
        self._waiting = [] if _found else candidates()
        self._tried: list[str] = []
        self._child: subprocess.Popen | None = None
        self._path = ""
        self._began = 0.0

    def poll(self) -> bool:
        """Go on with the search and tell whether it is over. Raises InputError if no candidate is usable."""
        if self.executable is not None:
            return True
        if self._child is None:
            self._next()
            return self.executable is not None
        code = self._child.poll()
        if code is None and time.monotonic() - self._began < _PATIENCE:
            time.sleep(0.002)  # who asks in a loop should not take the time of the child
            return False
        text = self._end()
        if code == 0 and _ANSWER in text:
            self.executable = self._path
            _found[:] = [self._path]
            return True
        self._tried.append(self._path)
        return False

    def close(self) -> None:
        """Give up: end a child that is still being tried."""
        if self._child is not None:
            self._end()

    def _next(self) -> None:
        if not self._waiting:
            tried = ", ".join(self._tried) or "none was found"
            raise InputError(
                f"No Python for the fitting process can be used ({tried}: each needs Python "
                f"{sys.version_info.major}.{sys.version_info.minor} with {_NEEDS}); install Slicer again, or put "
                "PythonSlicer on the search path."
            )
        self._path = self._waiting.pop(0)
        self._began = time.monotonic()
        try:
            self._child = subprocess.Popen(
                [self._path, "-c", _PROGRAM], env=workerEnvironment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **hiddenWindow(),
            )
        except OSError:
            self._tried.append(self._path)

    def _end(self) -> str:
        """Take what the child has said (a few bytes, so this never waits), and make sure that it is gone."""
        if self._child.poll() is None:
            self._child.kill()
        text = self._child.communicate()[0] or ""
        self._child = None
        return text


def pythonExecutable() -> str:
    """Return the path of the Python for the fitting process; tries candidates once per session, which takes a second.

    Raises InputError if there is none.
    """
    search = PythonSearch()
    while not search.poll():
        pass
    return search.executable
