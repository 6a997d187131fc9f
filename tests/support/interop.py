# SPDX-License-Identifier: Apache-2.0
"""Installing a published package for a test, or saying why the test cannot run here (exit 77)."""
import pathlib
import shutil
import subprocess
import sys
import venv

CACHE = pathlib.Path(__file__).resolve().parents[2] / "build" / "interop"


def cannot_run(why):
    print(f"SKIPPED: {why}")
    sys.exit(77)


def install(what, command):
    """Runs an installer; a registry that cannot be reached, or hangs, means the test cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        cannot_run(f"{what} cannot be installed: no answer in 120 s")
    if done.returncode != 0:
        cannot_run(f"{what} cannot be installed: {done.stderr.strip()[-300:]}")


def python_with(*packages):
    """A Python that has `packages` from PyPI, in a virtual environment under build/interop."""
    folder = CACHE / ("python-" + "-".join(p.replace("==", "-") for p in packages))
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    if stamp.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        cannot_run(f"no virtual environment can be made: {error}")
    install(", ".join(packages), [python, "-m", "pip", "install", "--quiet", "--no-input",
                                  "--retries", "1", "--disable-pip-version-check", *packages])
    stamp.touch()
    return python


def node_with(package, version):
    """The folder whose node_modules holds `package` from npm."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        cannot_run("node and npm are not installed")
    folder = CACHE / f"npm-{package}-{version}"
    if not (folder / "node_modules" / package).exists():
        folder.mkdir(parents=True, exist_ok=True)
        install(f"{package}@{version}", ["npm", "install", "--no-audit", "--no-fund",
                                         "--fetch-retries=1", "--prefix", folder,
                                         f"{package}@{version}"])
    return folder
