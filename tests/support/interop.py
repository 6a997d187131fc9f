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
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-input",
                           "--disable-pip-version-check", *packages],
                          capture_output=True, text=True, timeout=180)
    if done.returncode != 0:
        cannot_run(f"{', '.join(packages)} cannot be installed: {done.stderr.strip()[-300:]}")
    stamp.touch()
    return python


def node_with(package, version):
    """The folder whose node_modules holds `package` from npm."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        cannot_run("node and npm are not installed")
    folder = CACHE / f"npm-{package}-{version}"
    if not (folder / "node_modules" / package).exists():
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder,
                               f"{package}@{version}"], capture_output=True, text=True, timeout=180)
        if done.returncode != 0:
            cannot_run(f"{package}@{version} cannot be installed: {done.stderr.strip()[-300:]}")
    return folder
