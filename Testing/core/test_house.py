"""The house: what the lists must name, which way imports point, what the repository may hold.

Run as a script (`make cmake-lists`), this file rewrites the lists in every CMakeLists.txt instead of comparing them.
It imports nothing beyond the standard library, so that both work in a bare Python.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MAPPING = ROOT / "IVIMMapping"
CORE = MAPPING / "ivimcore"
TRAINING = ROOT / "IVIMTraining"
PACKAGES = (CORE, MAPPING / "IVIMMappingLib", TRAINING / "IVIMTrainingLib")
DOORS = (MAPPING / "IVIMMapping.py", TRAINING / "IVIMTraining.py")

# Each room imports only rooms before it. Files that stand beside the rooms have their place in the same order.
ROOMS = ("physics", "data", "estimators", "networks", "jobs", "reports", "evaluation")
BELOW_THE_ROOMS = ("errors", "wholefile", "version")
ABOVE_THE_ROOMS = ("worker", "cli_values", "cli_cohort", "cli_dicom", "cli", "__main__", "__init__")

DESKTOP = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "PySide6"}
AT_FILE_SCOPE = {"numpy", "scipy"}
IN_NETWORKS = {"torch", "safetensors", "natten"}
# Files of the estimators that fetch from the networks what they compute with, inside a function, while they fit.
MAY_FETCH_NETWORKS = {
    CORE / "estimators" / "neural.py",  # a network is an estimator like the others
    CORE / "estimators" / "spatial.py",  # so is one that looks at neighbours
    CORE / "estimators" / "trained.py",  # reads the cards
    CORE / "estimators" / "backends.py",  # the exact posterior does its sums with torch where there is a GPU
}

ALLOWED_AT_TOP = {
    "CMakeLists.txt", "IVIMMapping", "IVIMTraining", "Resources", "Testing", "README.md", "IVIMSlicer.png",
    "LICENSE", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md", "TECH_DEBT.md", "pyproject.toml", "Makefile",
    ".ci", ".github", ".gitignore", ".gitattributes",
}  # fmt: skip
GENERATED = {
    ".git", ".venv", ".venv-networks", "demo-output", "build", "dist", "__pycache__", ".pytest_cache", ".ruff_cache",
}  # fmt: skip

MAX_LINES = 400  # above 300 a file is a question, here it is an answer
MAX_BYTES = 10_000_000


# --- files -------------------------------------------------------------------------------------------------------


def walk(folder: Path) -> Iterator[Path]:
    """All files below `folder` except what tools have made."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in GENERATED and not f.endswith(".egg-info"))
        yield from (Path(parent) / name for name in sorted(files) if not name.endswith((".pyc", "~", ".swp")))


def repository_files() -> list[str]:
    """What is, or with the next commit would be, in the repository, as paths from its root."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, encoding="utf-8", check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive, or no git
        return [path.relative_to(ROOT).as_posix() for path in walk(ROOT)]
    return [name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def python_files(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in walk(folder) if path.suffix == ".py"]


# --- lists of CMake ----------------------------------------------------------------------------------------------


class CMakeList(NamedTuple):
    """One list of files in one CMakeLists.txt, between the comments `# begin TITLE` and `# end TITLE`."""

    cmake: Path
    title: str

    def on_disk(self) -> list[str]:
        folder = self.cmake.parent
        if self.title == "test cases":
            return [f"slicer/{path.name}" for path in sorted((folder / "slicer").glob("*TestCase.py"))]
        files = [path for path in walk(folder) if path != self.cmake]
        wanted = [path for path in files if (path.suffix == ".py") == (self.title == "scripts")]
        return sorted(path.relative_to(folder).as_posix() for path in wanted)

    def listed(self) -> list[str]:
        return self._pattern().search(self.cmake.read_text(encoding="utf-8")).group("body").split()

    def write(self) -> None:
        text = self.cmake.read_text(encoding="utf-8")
        body = "".join(f"  {name}\n" for name in self.on_disk())
        written = self._pattern().sub(lambda match: match["begin"] + body + match["end"], text)
        if written != text:
            self.cmake.write_text(written, encoding="utf-8", newline="\n")
            print(f"{self.cmake.relative_to(ROOT)}: {self.title} written")

    def _pattern(self) -> re.Pattern[str]:
        begin, end = (rf"(?P<{edge}>^ *# {edge} {self.title}\n)" for edge in ("begin", "end"))
        return re.compile(f"{begin}(?P<body>.*?){end}", re.DOTALL | re.MULTILINE)


def cmake_lists() -> list[CMakeList]:
    modules = [ROOT / name / "CMakeLists.txt" for name in ("IVIMMapping", "IVIMTraining")]
    lists = [CMakeList(cmake, title) for cmake in modules if cmake.exists() for title in ("scripts", "resources")]
    return [*lists, CMakeList(ROOT / "Testing" / "CMakeLists.txt", "test cases")]


def test_every_file_is_listed_in_its_cmakelists_and_every_listed_file_exists():
    wrong = []
    for entry in cmake_lists():
        name, listed, on_disk = entry.cmake.relative_to(ROOT), entry.listed(), entry.on_disk()
        wrong += [f"{name} does not list {file}" for file in sorted(set(on_disk) - set(listed))]
        wrong += [f"{name} lists {file}, which is not there" for file in sorted(set(listed) - set(on_disk))]
        wrong += [f"{name} lists {file} twice" for file in sorted({f for f in listed if listed.count(f) > 1})]
    assert not wrong, "run `make cmake-lists`:\n" + "\n".join(wrong)


def test_every_folder_named_in_cmake_exists():
    top = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    named = re.findall(r"add_subdirectory\((\w+)\)", top)
    missing = [name for name in named if not (ROOT / name / "CMakeLists.txt").exists()]
    assert not missing, missing


def test_every_data_file_of_the_packages_is_packaged_by_pip_too():
    """CMake copies what is listed; pip takes only Python files unless pyproject.toml says otherwise."""
    data = [path for folder in PACKAGES for path in walk(folder) if path.suffix != ".py"]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"].get("package-data", {})

    def is_packaged(path: Path) -> bool:
        for package, globs in patterns.items():
            folder = MAPPING / package.replace(".", "/")
            if any(path in set(folder.glob(pattern)) for pattern in globs):
                return True
        return False

    forgotten = [path.relative_to(ROOT).as_posix() for path in data if not is_packaged(path)]
    assert not forgotten, f"not in [tool.setuptools.package-data]: {forgotten}"


# --- arrows ------------------------------------------------------------------------------------------------------


class Import(NamedTuple):
    """One imported module, with its full name, and whether importing the file already imports it."""

    file: Path
    line: int
    module: str
    at_file_scope: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT).as_posix()}:{self.line} imports {self.module}"


def is_for_type_checkers_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def is_module(name: str) -> bool:
    path = MAPPING.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


@functools.cache
def imports_of(file: Path) -> list[Import]:
    """Every import of a file, relative ones resolved; `from package import module` counts as that module."""
    relative = file.relative_to(TRAINING if file.is_relative_to(TRAINING) else MAPPING).with_suffix("").parts
    package = list(relative[:-1])
    found: list[Import] = []

    def visit(node: ast.AST, at_file_scope: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(file, node.lineno, alias.name, at_file_scope) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                if (origin, alias.name) == ("ivimcore", "__version__"):
                    continue  # a number, and no arrow: provenance names the version that made a map
                name = f"{origin}.{alias.name}"
                module = name if origin.startswith("ivimcore") and is_module(name) else origin
                found.append(Import(file, node.lineno, module, at_file_scope))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_for_type_checkers_only(node):
            at_file_scope = False
        for child in ast.iter_child_nodes(node):
            visit(child, at_file_scope)

    visit(ast.parse(file.read_text(encoding="utf-8"), filename=str(file)), True)
    return found


def core_imports() -> list[Import]:
    return [found for file in python_files(CORE) for found in imports_of(file)]


def place(module: str) -> str:
    """The room of a module of the core, or the file that stands beside the rooms; the package itself is `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def place_of_file(file: Path) -> str:
    return file.relative_to(CORE).with_suffix("").parts[0]


def test_the_core_imports_neither_slicer_nor_qt_nor_vtk():
    wrong = [str(found) for found in core_imports() if found.top in DESKTOP]
    assert not wrong, "\n".join(wrong)


def test_the_core_does_not_import_the_scene_side():
    scene_side = ("IVIMMapping", "IVIMMappingLib", "IVIMTraining", "IVIMTrainingLib")
    wrong = [str(found) for found in core_imports() if found.top in scene_side]
    assert not wrong, "\n".join(wrong)


def test_torch_is_imported_only_in_networks():
    found_in_core = [found for found in core_imports() if found.top in IN_NETWORKS]
    wrong = [str(found) for found in found_in_core if place_of_file(found.file) != "networks"]
    assert not wrong, "\n".join(wrong)


def test_the_panels_do_not_import_torch():
    """In Slicer's own process it can end Slicer: only the process that fits or trains loads it."""
    files = [*DOORS, *python_files(*(folder for folder in PACKAGES if folder != CORE))]
    loading = {f"ivimcore.networks.{path.stem}" for path in (CORE / "networks").glob("*.py")
               if any(found.top in IN_NETWORKS and found.at_file_scope for found in imports_of(path))}  # fmt: skip
    wrong = [str(found) for file in files for found in imports_of(file)
             if found.top in IN_NETWORKS or found.module in loading]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_the_module_of_mapping_does_not_know_that_of_training():
    files = [DOORS[0], *python_files(MAPPING / "IVIMMappingLib")]
    wrong = [str(found) for file in files for found in imports_of(file) if found.top.startswith("IVIMTraining")]
    assert not wrong, "\n".join(wrong)


def test_the_doors_of_the_modules_are_thin():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in DOORS}
    assert all(lines < 150 for lines in lengths.values()), lengths


def test_model_cards_are_readable_without_torch():
    cards = CORE / "networks" / "cards.py"
    wrong = [str(found) for found in (imports_of(cards) if cards.exists() else []) if found.top in IN_NETWORKS]
    assert not wrong, "\n".join(wrong)


def test_every_file_and_folder_of_the_core_has_its_place():
    known = {*ROOMS, *BELOW_THE_ROOMS, *ABOVE_THE_ROOMS}
    strangers = sorted({place_of_file(file) for file in python_files(CORE)} - known)
    assert not strangers, f"give them a place in {Path(__file__).name}: {strangers}"


def test_each_room_imports_only_rooms_before_it():
    order = [*BELOW_THE_ROOMS, *ROOMS, *ABOVE_THE_ROOMS]
    wrong = []
    for found in core_imports():
        if found.top != "ivimcore":
            continue
        here, there = place_of_file(found.file), place(found.module)
        if found.file in MAY_FETCH_NETWORKS and there == "networks" and not found.at_file_scope:
            continue
        if here in order and there in order and order.index(there) > order.index(here):
            wrong.append(f"{found}: {there} stands after {here}")
    assert not wrong, "\n".join(wrong)


def test_at_file_scope_the_core_imports_only_numpy_and_scipy():
    wrong = []
    for found in core_imports():
        allowed = {*AT_FILE_SCOPE, "ivimcore", *sys.stdlib_module_names}
        if place_of_file(found.file) == "networks":
            allowed |= IN_NETWORKS
        if found.at_file_scope and found.top not in allowed:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_what_functions_of_the_core_import_is_declared_in_pyproject():
    """A package that merely happens to be installed is missing at the next person's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = sum(project["optional-dependencies"].values(), project["dependencies"])
    declared = {re.match(r"[\w-]+", requirement).group().lower().replace("-", "_") for requirement in requirements}
    wrong = []
    for found in core_imports():
        is_known = found.top in {"ivimcore", *sys.stdlib_module_names, *IN_NETWORKS}
        if not is_known and found.top.lower() not in declared:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_importing_the_core_loads_nothing_heavy():
    code = f"import sys; sys.path.insert(0, {str(MAPPING)!r}); import ivimcore; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert run.returncode == 0, run.stderr
    modules = {name.partition(".")[0] for name in run.stdout.split()}
    loaded = modules & {*DESKTOP, *IN_NETWORKS, "SimpleITK", "matplotlib", "pydicom", "dcm2niix"}
    assert not loaded, f"import ivimcore also imports {sorted(loaded)}"
    # The parts of scipy take longer than all of ours: `import scipy`, and the part loads where it is first used.
    parts = {"scipy.special", "scipy.stats", "scipy.ndimage", "scipy.optimize"} & set(run.stdout.split())
    assert not parts, f"import ivimcore also imports {sorted(parts)}"


# --- repository --------------------------------------------------------------------------------------------------


def test_the_top_level_holds_only_the_agreed_names():
    strangers = {name.partition("/")[0] for name in repository_files()} - ALLOWED_AT_TOP
    assert not strangers, sorted(strangers)


def test_no_file_is_large():
    large = [name for name in repository_files() if (ROOT / name).stat().st_size > MAX_BYTES]
    assert not large, f"above {MAX_BYTES // 1_000_000} MB: {large}"


def test_no_file_of_the_packages_is_long():
    lengths = {file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
               for file in python_files(*PACKAGES)}  # fmt: skip
    long = {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
    assert not long, f"above {MAX_LINES} lines: {long}"


def test_the_version_is_the_same_everywhere():
    def first(pattern: str, name: str) -> str:
        match = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert match, f"{name} names no version"
        return match.group(1)

    versions = {
        "pyproject.toml": first(r'^version = "(.+)"$', "pyproject.toml"),
        "CITATION.cff": first(r"^version: (\S+)$", "CITATION.cff"),
        "CHANGELOG.md": first(r"^## (\d+\.\d+\.\d+)\b", "CHANGELOG.md"),
    }
    for file in python_files(CORE):
        match = re.search(r'^(?:__version__|VERSION) = "(.+)"$', file.read_text(encoding="utf-8"), re.MULTILINE)
        if match:
            versions[file.relative_to(ROOT).as_posix()] = match.group(1)
    assert len(set(versions.values())) == 1, versions


if __name__ == "__main__":
    for cmake_list in cmake_lists():
        cmake_list.write()
