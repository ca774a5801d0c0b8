"""Finds and runs the program `mkgc`."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig


class Error(RuntimeError):
    """mkgc could not do what it was asked for; the message says why."""


def find_program():
    """The path of the program: that of the environment variable `MKGC_BINARY`, or the one that was installed with this
    package, or else the first `mkgc` of `PATH`."""
    given = os.environ.get("MKGC_BINARY")
    if given:
        found = shutil.which(given)
        if not found:
            raise Error(f"MKGC_BINARY={given}: no program is there; give the path of mkgc, or unset the variable")
        return found
    name = "mkgc.exe" if os.name == "nt" else "mkgc"
    schemes = [sysconfig.get_preferred_scheme("user")] if hasattr(sysconfig, "get_preferred_scheme") else []
    folders = [sysconfig.get_path("scripts"), *(sysconfig.get_path("scripts", scheme) for scheme in schemes)]
    # `pip install --target` puts programs beside the package.
    folders.append(pathlib.Path(__file__).resolve().parent.parent / "bin")
    for folder in folders:
        path = pathlib.Path(folder) / name
        if path.is_file():
            return str(path)
    found = shutil.which("mkgc")
    if not found:
        raise Error("the program mkgc is not installed; run `pip install .` in a clone of mkgc, or set MKGC_BINARY to its path")
    return found


def version():
    """The version of the program."""
    output = subprocess.run([find_program(), "--version"], capture_output=True, text=True, check=True).stdout
    return output.split()[1]


def main():
    """Runs the program with the arguments of this process: `python -m mkgc`."""
    try:
        command = [find_program(), *sys.argv[1:]]
    except Error as error:
        sys.exit(f"error: {error}")
    if os.name == "nt":
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)
