"""Which files a pattern means: names, directories, globs, symlinks, and what is never opened."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.globs import Found, Pattern, expand

TREE = (
    "a.pem",
    "b.crt",
    "c.key",
    "UPPER.PEM",
    ".hidden.pem",
    "x/tls.crt",
    "x/y/tls.crt",
    "x/y/z/tls.crt",
    "x/test/tls.crt",
    ".git/tls.crt",
    "live/one/cert.pem",
    "live/two/cert.pem",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def found(base: Path, files: str, *exclude: str) -> list[str]:
    """What is found, relative to `base`."""
    return sorted(os.path.relpath(each.path, base) for each in expand(Pattern.of(base, files, exclude)) if each)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ("a.pem", ["a.pem"]),
        ("./a.pem", ["a.pem"]),
        ("none.pem", ["none.pem"]),
        (".", ["UPPER.PEM", "a.pem", "b.crt"]),
        ("x", ["x/tls.crt"]),
        ("x/", ["x/tls.crt"]),
        ("*", ["UPPER.PEM", "a.pem", "b.crt", "c.key"]),
        ("*.pem", ["a.pem"]),
        (".*.pem", [".hidden.pem"]),
        ("[ab].*", ["a.pem", "b.crt"]),
        ("?.pem", ["a.pem"]),
        ("none/*.pem", []),
        ("a.pem/*", []),
        ("x/*/tls.crt", ["x/test/tls.crt", "x/y/tls.crt"]),
        ("live/*/cert.pem", ["live/one/cert.pem", "live/two/cert.pem"]),
        ("**/tls.crt", ["x/test/tls.crt", "x/tls.crt", "x/y/tls.crt", "x/y/z/tls.crt"]),
        ("x/**/y/**/tls.crt", ["x/y/tls.crt", "x/y/z/tls.crt"]),
        ("live/**", ["live/one/cert.pem", "live/two/cert.pem"]),
        ("**/**/cert.pem", ["live/one/cert.pem", "live/two/cert.pem"]),
        (".git/*", [".git/tls.crt"]),
    ],
)
def test_a_pattern_means_these_files(tree: Path, files: str, names: list[str]) -> None:
    assert found(tree, files) == names
    assert found(tree, f"{tree}/{files}") == names


@pytest.mark.parametrize(
    ("exclude", "names"),
    [
        ("tls.crt", []),
        ("*/z/*", ["x/test/tls.crt", "x/tls.crt", "x/y/tls.crt"]),
        ("**/test/**", ["x/tls.crt", "x/y/tls.crt", "x/y/z/tls.crt"]),
        ("x/y/*", ["x/test/tls.crt", "x/tls.crt"]),
    ],
)
def test_what_is_excluded_is_left_out_by_name_or_path(tree: Path, exclude: str, names: list[str]) -> None:
    assert found(tree, "**/tls.crt", exclude) == names
    assert found(tree, "a.pem", "a.*") == []


def test_the_directory_of_the_configuration_may_have_characters_of_a_glob(tmp_path: Path) -> None:
    base = tmp_path / "[a]*"
    base.mkdir()
    (base / "a.pem").write_bytes(b"")
    assert found(base, "*.pem") == ["a.pem"]


def test_a_mounted_secret_is_found_once_under_its_own_names(tmp_path: Path) -> None:
    (tmp_path / "mount" / "..2026" / "sub").mkdir(parents=True)
    (tmp_path / "mount" / "..data").symlink_to("..2026")
    for name in ("tls.crt", "sub/tls.crt"):
        (tmp_path / "mount" / "..2026" / name).write_bytes(b"")
        (tmp_path / "mount" / name.split("/")[0]).symlink_to(f"..data/{name.split('/')[0]}")
    assert found(tmp_path, "mount") == ["mount/tls.crt"]
    assert found(tmp_path, "mount/*.crt") == ["mount/tls.crt"]
    assert found(tmp_path, "**/tls.crt") == ["mount/sub/tls.crt", "mount/tls.crt"]


def test_a_symlink_that_leads_back_is_not_followed_and_no_two_are_in_a_row(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tls.crt").write_bytes(b"")
        (tmp_path / name / "up").symlink_to("..")
    (tmp_path / "a" / "across").symlink_to("../b")
    (tmp_path / "b" / "across").symlink_to("../a")
    names = ["a/across/tls.crt", "a/tls.crt", "b/across/tls.crt", "b/tls.crt"]
    assert found(tmp_path, "**/tls.crt") == names
    assert found(tmp_path, "a/*/*/tls.crt") == ["a/across/across/tls.crt", "a/up/a/tls.crt", "a/up/b/tls.crt"]


def test_a_symlink_that_leads_nowhere_is_found_and_what_is_no_file_is_not(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pem")
    (tmp_path / "device.pem").symlink_to("/dev/zero")
    (tmp_path / "directory.pem").mkdir()
    (tmp_path / "lost.pem").symlink_to("nowhere")
    (tmp_path / "loop.pem").symlink_to("loop.pem")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s.pem"))
        assert found(tmp_path, "*.pem") == ["loop.pem", "lost.pem"]
        assert found(tmp_path, ".") == ["loop.pem", "lost.pem"]


def deep(directory: Path) -> Path:
    """A directory so far down that nobody can list it by its path, root included."""
    descriptor = os.open(directory, os.O_RDONLY)
    name = "d" * 200
    for _ in range(25):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    return directory / name


def test_a_directory_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    deep(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    [problem] = [each for each in expand(Pattern.of(tmp_path, "**/tls.crt")) if each]
    assert problem.problem == "File name too long"
    assert [each for each in expand(Pattern.of(tmp_path, "loop")) if each] == [Found(f"{tmp_path}/loop", is_named=True)]


def test_no_step_is_long_however_many_names_are_left_out(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.txt").write_bytes(b"")
        (tmp_path / f"{number}.pem").write_bytes(b"")
    assert len([*expand(Pattern.of(tmp_path, "*.pem", ["*"]))]) >= 600
    assert len([*expand(Pattern.of(tmp_path, "."))]) >= 600


@pytest.mark.parametrize(
    ("files", "root"),
    [("a.pem", ""), ("x", "x"), ("x/y/tls.crt", "x/y"), ("x/*/tls.crt", "x"), ("*.pem", ""), ("none", "")],
)
def test_what_a_name_stands_for_is_the_fixed_directory(tree: Path, files: str, root: str) -> None:
    assert Path(Pattern.of(tree, files).root) == tree / root


@pytest.mark.parametrize("files", ["x" * 256, "x" * 256 + "/y", "a.pem/y", "\0"])
def test_a_name_that_leads_nowhere_is_found_for_its_reader_to_be_told(tree: Path, files: str) -> None:
    pattern = Pattern.of(tree, files)
    assert pattern.root == pattern.directory.rpartition("/")[0]
    assert [*expand(pattern)] == [Found(f"{tree}/{files}", is_named=True)]


def test_a_directory_behind_a_closed_one_is_found_for_its_reader_to_be_told(tree: Path) -> None:
    closed = subprocess.run([sys.executable, "-c", _AS_NOBODY, str(tree)], capture_output=True, text=True, check=True)
    assert closed.stdout == f"Found(path='{tree}/x/y', is_named=True, problem='')\n"


_AS_NOBODY = """
import os, sys
from pathlib import Path
from exporter.globs import Pattern, expand
tree = Path(sys.argv[1])
(tree / "x").chmod(0)
if os.getuid() == 0:
    os.seteuid(65534)
print(*expand(Pattern.of(tree, "x/y")))
"""
