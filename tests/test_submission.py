"""Reading a submission's tree: what is taken, and every odd thing that is refused with its name."""

import os
import socket
from pathlib import Path

import pytest

from autograder.errors import GraderError, SubmissionError
from autograder.sandbox.inside import reply
from autograder.submission import PACKAGE, Submission, TreeLimits, digest, read_tree, refuse_data


@pytest.fixture
def root(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "__init__.py").write_text("")
    (tmp_path / "src" / "linear.py").write_text("x = 1\n")
    return tmp_path


def test_regular_files_under_src_and_nothing_else(root):
    (root / "README.md").write_text("not taken")
    (root / "ref").mkdir()
    (root / "ref" / "__init__.py").write_text("not taken")
    (root / "src" / "needle").mkdir()
    (root / "src" / "needle" / "ops.py").write_bytes(b"\x00\xff")
    (root / "src" / "__pycache__").mkdir()
    (root / "src" / "__pycache__" / "linear.pyc").write_bytes(b"old")
    assert read_tree(root) == {
        "src/__init__.py": b"",
        "src/linear.py": b"x = 1\n",
        "src/needle/ops.py": b"\x00\xff",
    }


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "src/odd is a symbolic link"),
        (lambda path: path.symlink_to("linear.py"), "src/odd is a symbolic link"),
        (lambda path: path.symlink_to("/"), "src/odd is a symbolic link"),
        (make_fifo, "src/odd is not a regular file"),
        (make_socket, "src/odd is not a regular file"),
        (lambda path: path.with_name("a\nb").touch(), "characters that not every system can store"),
        (lambda path: path.with_name("a\u202eb").touch(), "characters that not every system can store"),
        (lambda path: path.with_name("a\\b").touch(), "characters that not every system can store"),
        (
            lambda path: path.with_name("LINEAR.py").touch(),
            "src/LINEAR.py and src/linear.py are the same name",
        ),
        (lambda path: Path(os.fsdecode(os.fsencode(path) + b"\xff")).touch(), "not UTF-8"),
        (lambda path: path.with_name(".git").mkdir(), r"src/\.git has a name that git"),
        (
            lambda path: path.with_name(".GIT").write_text("gitdir: elsewhere"),
            r"src/\.GIT has a name that git",
        ),
        (lambda path: path.with_name("Git~1").touch(), "src/Git~1 has a name that git"),
        (lambda path: path.with_name(".git. ").touch(), r"src/\.git\.  has a name that git"),
        (
            lambda path: path.write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
            ),
            "src/odd is stored in Git LFS; commit the file itself",
        ),
    ],
    ids=[
        "link-outside",
        "link-inside",
        "link-to-root",
        "fifo",
        "socket",
        "line-break",
        "direction",
        "backslash",
        "case",
        "not-utf8",
        "git-folder",
        "git-upper-case",
        "git-short-name",
        "git-dots",
        "lfs",
    ],
)
def test_odd_entries_are_refused_by_name(root, make, message):
    make(root / "src" / "odd")
    with pytest.raises(SubmissionError, match=message):
        read_tree(root)


def test_the_package_has_the_same_name_on_both_sides_of_the_wall():
    assert reply.PACKAGE == PACKAGE


def test_a_folder_src_is_needed(tmp_path):
    with pytest.raises(SubmissionError, match="there is no folder src/"):
        read_tree(tmp_path)
    (tmp_path / "src").write_text("a file")
    with pytest.raises(SubmissionError, match="there is no folder src/"):
        read_tree(tmp_path)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ((), "in the repository: it is empty"),
        ((".git/HEAD",), "in the repository: it is empty"),
        (("Src/linear.py",), "in the repository, but a folder Src/: rename it to src"),
        (("a0-ann-main/src/linear.py", "notes.txt"), "but in its folder a0-ann-main/: move what is in"),
        (("A0.ZIP",), "but A0.ZIP: unpack it"),
        (("linear.py", "docs/x"), "in the repository"),
        (("two\nlines/src/linear.py",), "in the repository"),
    ],
    ids=["empty", "git", "case", "nested", "archive", "files", "odd"],
)
def test_what_stands_in_the_place_of_src_is_named(tmp_path, made, message):
    for path in made:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    with pytest.raises(SubmissionError) as refused:
        read_tree(tmp_path)
    assert str(refused.value).startswith("there is no folder src/ in the repository")
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


def test_src_itself_may_not_be_a_link(root, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "src").symlink_to(root / "src")
    with pytest.raises(SubmissionError, match="there is no folder src/"):
        read_tree(tmp_path / "other")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (TreeLimits(files=1), "more than 1 files"),
        (TreeLimits(file_bytes=5), "src/linear.py is larger"),
        (TreeLimits(total_bytes=5), "holds more than"),
        (TreeLimits(depth=1), "src/deep lies deeper than 1"),
        (TreeLimits(folders=1), "more than 1 folders"),
    ],
)
def test_limits(root, limits, message):
    (root / "src" / "deep").mkdir()
    with pytest.raises(SubmissionError, match=message):
        read_tree(root, limits)


def test_a_sparse_file_is_not_read_whole(root):
    with (root / "src" / "huge.bin").open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(SubmissionError, match=r"huge\.bin is larger than 4 MiB"):
        read_tree(root)


def test_a_root_that_cannot_be_read_is_our_fault(tmp_path):
    with pytest.raises(GraderError, match="cannot read"):
        read_tree(tmp_path / "nowhere")


def test_the_digest_depends_on_every_path_and_every_byte():
    one = {"src/a": b"x", "src/b": b""}
    others = [
        {"src/a": b"y", "src/b": b""},
        {"src/a": b"x"},
        {"src/a": b"", "src/b": b"x"},
        {"src/ax": b"", "src/b": b""},
    ]
    assert len({digest(files) for files in (one, *others)}) == 5
    assert Submission("s", None, one).digest == digest(dict(reversed(one.items())))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x7fELF\x02\x01\x01\x00", "it has null bytes"),
        ("x = 1\n".encode("utf-16"), "it has null bytes"),
        ("x = 1\ny = '\u4f60\u597d'\n".encode("gb18030"), "line 2"),
        (b"x = 1\n\xff", "line 2"),
    ],
)
@pytest.mark.parametrize(
    "name", ["src/linear.py", "src/weights.txt", "src/linear.cpython-311-x86_64-linux-gnu.so"]
)
def test_only_text_is_a_submission(name, content, why):
    with pytest.raises(
        SubmissionError, match=rf"^{name} is not a text file in UTF-8 \({why}\); src/ contains only"
    ):
        refuse_data({"src/__init__.py": b"", name: content})
    refuse_data({name: content}, ["src/[lw]*"])


def test_text_of_every_language_is_a_submission():
    refuse_data({"src/a.py": "# \ufeff 梯度 é \U0001f642\n".encode(), "src/empty": b""})
