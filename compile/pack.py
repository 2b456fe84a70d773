"""`castline pack` and `unpack`: a package folder as one file, and back."""

from pathlib import Path

from castline.compile.one_file import SUFFIX, extract, is_one_file, write_one_file
from castline.compile.package import (
    MANIFEST,
    Manifest,
    check_files,
    check_replaceable,
    is_package,
    package_files,
    read_file,
    read_manifest,
)
from castline.errors import PackageError, RecipeError
from castline.files import atomic_folder, require_space
from castline.progress import progress


def pack(package: Path, out: Path, *, force: bool = False) -> bool:
    """Write a package folder as one file, its content checked; whether it was there already.

    Raises:
        PackageError: the package is damaged, or one file already.
        RecipeError: `out` has another ending than `.castline`, or is something else.
        DeviceError: no room on the disk, or `out` cannot be written.
    """
    if is_one_file(package):
        raise PackageError(f"expected a package folder at {package}, but it is one file already")
    if out.suffix != SUFFIX:
        raise RecipeError(f"--out {out}: expected a name that ends in {SUFFIX}")
    manifest = read_manifest(package)
    check_files(package, manifest)
    if _is_there(package, out, force=force):
        return True
    require_space(out, _size(manifest))
    with progress(f"writing {out.name}", _size(manifest), "B") as advance:
        write_one_file(package, package_files(package), out, advance)
    return False


def unpack(package: Path, out: Path, *, force: bool = False) -> bool:
    """Write a package that is one file as a folder, its content checked; whether it was there already.

    Raises:
        PackageError: the package is damaged, or a folder already.
        RecipeError: `out` is something else.
        DeviceError: no room on the disk, or `out` cannot be written.
    """
    if not is_one_file(package):
        raise PackageError(f"expected a package that is one file at {package}, but found something else")
    if out.suffix == SUFFIX:
        raise RecipeError(f"--out {out}: expected a folder, whose name does not end in {SUFFIX}")
    manifest = read_manifest(package)
    check_files(package, manifest)
    if _is_there(package, out, force=force):
        return True
    require_space(out, _size(manifest))
    with progress(f"writing {out.name}", _size(manifest), "B") as advance, atomic_folder(out) as folder:
        extract(package, [*manifest.files, MANIFEST], folder, advance)
    return False


def _size(manifest: Manifest) -> int:
    return sum(entry.size for entry in manifest.files.values())


def _is_there(package: Path, out: Path, *, force: bool) -> bool:
    """Whether `out` is this package already."""
    check_replaceable(out)
    if force or not is_package(out):
        return False
    if read_file(out, MANIFEST) != read_file(package, MANIFEST):
        raise RecipeError(f"--out {out} holds another package; choose another place, or replace it with --force")
    check_files(out, read_manifest(out))
    return True
