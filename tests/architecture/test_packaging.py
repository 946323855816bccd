"""What is shipped: a wheel of numerics and emul, the kernels inside numerics, pins that fit, no registry address."""

import importlib.metadata
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
CONFIG: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = CONFIG["project"]
SHIPPED = ("pyproject.toml", "README.md", "LICENSE", "kernels", "numerics", "emul")


def command(*arguments: str, folder: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """A program run in `folder`, with `path` as the only PYTHONPATH and nothing else of Python's in its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "GIT_"))}
    if path:
        environment["PYTHONPATH"] = path
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)


def source_tree(folder: Path) -> Path:
    """A copy of what is built: a build leaves its traces there and not in the working tree."""
    folder.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy2(ROOT / name, folder / name)
    return folder


def build(kind: str, tree: Path) -> subprocess.CompletedProcess[str]:
    """The build backend's own answer, without pip and without a network; the archive is the one file in tree/dist."""
    program = f"from setuptools import build_meta; build_meta.build_{kind}('dist')"
    return command(sys.executable, "-c", program, folder=tree)


def archive(kind: str, tree: Path) -> Path:
    done = build(kind, tree)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (tree / "dist").iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive("wheel", source_tree(tmp_path_factory.mktemp("wheel") / "tree"))


def git(*arguments: str) -> str:
    """What git answers about this checkout; skips where there is none, as in an unpacked archive."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    done = command("git", "-c", "safe.directory=*", *arguments, folder=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def folders_with_sources(package: str) -> set[str]:
    """Dotted names of `package` and its folders that hold Python files, the linked ones too."""
    return {
        Path(folder).relative_to(ROOT).as_posix().replace("/", ".")
        for folder, _, files in os.walk(ROOT / package, followlinks=True)
        if any(name.endswith(".py") for name in files)
    }


def kernel_sources() -> dict[str, bytes]:
    kernels = ROOT / "kernels"
    return {path.relative_to(kernels).as_posix(): path.read_bytes() for path in kernels.rglob("*.py")}


def test_the_settings_that_this_layout_needs() -> None:
    # Without them: a clone finds no packages, tests/numerics shadows numerics, mypy sees every kernel twice, editable
    # installs hide from type checkers, and a checkout without links builds a wheel without kernels.
    tools = CONFIG["tool"]
    pytest_options, setuptools = tools["pytest"]["ini_options"], tools["setuptools"]
    assert pytest_options["pythonpath"] == ["."]
    assert "--import-mode=importlib" in pytest_options["addopts"]
    assert "^kernels/" in tools["mypy"]["exclude"]
    assert setuptools["package-dir"] == {"": "."}
    assert isinstance(setuptools["packages"], list)  # a table would be packages.find
    assert "numerics.kernels" in setuptools["packages"]


def test_pytest_and_mypy_read_their_settings_here() -> None:
    # Each of these would be read in place of pyproject.toml.
    others = ("pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "setup.py", "mypy.ini", ".mypy.ini")
    assert not [name for name in others if (ROOT / name).exists()]


def test_the_kernels_are_a_relative_link_in_numerics() -> None:
    assert not (ROOT / "kernels").is_symlink()
    assert os.readlink(ROOT / "numerics" / "kernels") == "../kernels"


def test_git_tracks_the_link_as_a_link() -> None:
    entry = git("ls-files", "--stage", "numerics/kernels")
    assert entry.startswith("120000 "), f"git add numerics/kernels; the index has: {entry!r}"


def test_the_package_list_is_what_is_on_disk() -> None:
    found = folders_with_sources("numerics") | folders_with_sources("emul")
    assert sorted(CONFIG["tool"]["setuptools"]["packages"]) == sorted(found)
    for package in found:
        assert (ROOT / package.replace(".", "/") / "__init__.py").is_file(), f"{package} has no __init__.py"


def test_wheel_ships_two_packages_and_the_kernels_inside_one(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
        top = {name.partition("/")[0] for name in entries}
        assert top == {"numerics", "emul", f"emul-{PROJECT['version']}.dist-info"}
        assert not [name for name, entry in entries.items() if stat.S_ISLNK(entry.external_attr >> 16)]
        prefix = "numerics/kernels/"
        shipped = {name.removeprefix(prefix): archive.read(name) for name in entries if name.startswith(prefix)}
    assert shipped == kernel_sources()
    assert {"numerics/py.typed", "emul/py.typed"} <= entries.keys()


def test_wheel_says_what_pyproject_says(wheel: Path) -> None:
    information = f"emul-{PROJECT['version']}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"{information}/METADATA").decode())
        scripts = archive.read(f"{information}/entry_points.txt").decode()
        licence = archive.read(f"{information}/licenses/LICENSE").decode()
    assert metadata["Name"] == "emul"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert SpecifierSet(metadata["Requires-Python"]) == SpecifierSet(">=3.11,<3.14")
    assert set(metadata.get_all("Provides-Extra")) == {"torch", "cuda12", "cuda13", "test", "report", "peers"}
    core = [text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text]
    assert {Requirement(text).name for text in core} == {"numpy", "numba"}
    assert "emul = emul.cli:main" in scripts
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_wheel_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps")
    done = command(*pip, "--target", str(site), str(wheel), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    program = (
        "import importlib, importlib.util, pkgutil, emul, numerics\n"
        "for found in pkgutil.walk_packages(numerics.__path__, 'numerics.'):\n"
        "    if not any(part in found.name for part in ('.properties', '.cuda', '.device')):\n"
        "        importlib.import_module(found.name)\n"
        "kernels = importlib.util.find_spec('kernels')\n"
        "print(numerics.__file__, emul.__file__, numerics.kernels.__file__, kernels and kernels.origin, sep='\\n')\n"
        "print(numerics.__version__, emul.__version__)"
    )
    done = command(sys.executable, "-W", "error", "-c", program, folder=tmp_path, path=str(site))
    assert done.returncode == 0, done.stderr
    *files, top_level, versions = done.stdout.splitlines()
    assert versions.split() == [PROJECT["version"]] * 2
    assert [Path(file).relative_to(site).as_posix() for file in files] == [
        "numerics/__init__.py",
        "emul/__init__.py",
        "numerics/kernels/__init__.py",
    ]
    assert not Path(top_level).is_relative_to(site)


def test_source_archive_holds_the_kernels_as_files(tmp_path: Path) -> None:
    with tarfile.open(archive("sdist", source_tree(tmp_path / "tree"))) as packed:
        files = {member.name.partition("/")[2] for member in packed if member.isfile()}
        assert not [member.name for member in packed if member.issym() or member.islnk()]
    assert {f"numerics/kernels/{name}" for name in kernel_sources()} <= files


def test_checkout_without_links_stops_the_build(tmp_path: Path) -> None:
    tree = source_tree(tmp_path / "tree")
    (tree / "numerics" / "kernels").unlink()
    (tree / "numerics" / "kernels").write_text("../kernels")  # what git writes where core.symlinks is false
    assert build("wheel", tree).returncode != 0
    assert not list(tree.glob("dist/*.whl"))


def test_the_installed_version_is_that_of_pyproject() -> None:
    try:
        installed = importlib.metadata.version("emul")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("emul is not installed in this environment")
    assert installed == PROJECT["version"], "installed before the version changed: run make again"


# Addresses to fetch packages from, and options that name one: which registry to ask is the setting of pip alone.
REGISTRY = re.compile(
    r"https?://[\w.-]*(?:pypi\.org/simple|pythonhosted\.org|pytorch\.org/whl|anaconda\.org)"
    r"|--(?:extra-)?index-url|--find-links|PIP_(?:EXTRA_)?INDEX_URL|file://[/\w]",
    re.IGNORECASE,
)


def test_no_registry_address_in_any_file() -> None:
    here = Path(__file__).relative_to(ROOT).as_posix()
    names = [name for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0") if name]
    assert "pyproject.toml" in names
    texts = {name: (ROOT / name).read_bytes() for name in names if name != here and (ROOT / name).is_file()}
    found = {name: match[0] for name, text in texts.items() if (match := REGISTRY.search(text.decode("latin-1")))}
    assert not found


@pytest.mark.parametrize(
    ("text", "caught"),
    [
        ("https://pypi.org/simple/emul", True),
        ("pip install --extra-index-url x", True),
        ("https://download.pytorch.org/whl/cpu", True),
        ("find it at https://pytorch.org/docs or https://pypi.org/project/numba", False),
    ],
)
def test_the_search_for_addresses_finds_them(text: str, caught: bool) -> None:
    assert bool(REGISTRY.search(text)) is caught


def pins() -> dict[str, str]:
    """Name and version of every line of the constraints; a line of another form than name==version is an error."""
    lines = [line.strip() for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()]
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_torch_is_pinned() -> None:
    assert pins()["torch"] == "2.13.0"


def test_every_direct_requirement_is_pinned_within_its_range() -> None:
    extras = PROJECT["optional-dependencies"]
    requirements = [Requirement(text) for texts in (PROJECT["dependencies"], *extras.values()) for text in texts]
    pinned = pins()
    for requirement in requirements:
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement.name}=={version} is outside {requirement}"
    assert pinned.keys() == {canonicalize_name(requirement.name) for requirement in requirements}


def test_ci_runs_the_test_command() -> None:
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert "make test" in run.read_text(encoding="utf-8").splitlines()
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_test_command_runs_every_tool() -> None:
    if shutil.which("make") is None:
        pytest.skip("no make")
    done = command("make", "--dry-run", "test", folder=ROOT)
    assert done.returncode == 0, done.stderr
    # mypy is one of the tests: test_types.py
    tools = ["ruff check .", "ruff format --check .", "python -m pytest"]
    places = [done.stdout.find(f"/{tool}") for tool in tools]
    assert -1 not in places
    assert places == sorted(places)
