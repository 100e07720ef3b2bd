"""Fetching a commit from repositories that students could make: what is read, and that nothing else happens."""

import hashlib
import os
import random
import shlex
import sys
import zlib

import pytest

from autograder.errors import SubmissionError
from autograder.git import scratch as scratch_module
from autograder.git.fetch import FetchLimits, branch_head, fetch_commit
from autograder.git.process import GitHostError, NotFound, RepositoryError
from autograder.git.remote import Remote
from autograder.git.scratch import scratch
from autograder.submission import Submission, TreeLimits, read_tree
from tests.support.githost import SRC, Bare, git, serving, trap

HOOKS = (
    *("applypatch-msg", "fsmonitor-watchman", "post-checkout", "post-commit", "post-merge", "post-receive"),
    *(
        "post-rewrite",
        "post-update",
        "pre-auto-gc",
        "pre-commit",
        "pre-push",
        "pre-receive",
        "prepare-commit-msg",
    ),
    *("proc-receive", "push-to-checkout", "reference-transaction", "sendemail-validate", "update"),
)


@pytest.fixture
def bare(tmp_path):
    return Bare(tmp_path / "host" / "ann" / "hw.git")


@pytest.fixture
def remote(tmp_path, bare):
    return Remote.at(tmp_path / "host", "ann", "hw")


def refuse(remote, commit, message, **limits):
    with pytest.raises(SubmissionError, match=message) as caught:
        fetch_commit(remote, commit, limits=FetchLimits(**limits))
    assert str(caught.value).isprintable()


# what is read --------------------------------------------------------------------------------------------


def test_the_files_under_src_as_they_were_committed(remote, bare):
    files = SRC | {
        "src/needle/ops.py": b"\x00\xff\r\n",
        "src/needle/größe.py": b"",
        "src/__pycache__/linear.cpython-311.pyc": b"old",
        "README.md": b"not taken",
        "ref/__init__.py": b"not taken",
    }
    commit = bare.commit(files, modes={"src/linear.py": "100755"})
    taken = {name: files[name] for name in files if name.startswith("src/") and "pycache" not in name}
    assert fetch_commit(remote, commit) == Submission("ann/hw", commit, taken)
    assert fetch_commit(remote, commit) == Submission("ann/hw", commit, taken)


def test_a_commit_and_its_checkout_are_the_same_submission(tmp_path, remote, bare):
    commit = bare.commit(SRC | {"src/a/b.py": b"1", "src/a/c/d.py": b"2", "src/_build/x.o": b"3"})
    git(tmp_path, "clone", "--quiet", "--branch=main", str(bare.path), "checkout")
    submission = fetch_commit(remote, commit)
    assert submission.files == read_tree(tmp_path / "checkout")
    assert submission.digest == Submission("checkout", None, read_tree(tmp_path / "checkout")).digest


def test_the_commit_asked_for_is_read_not_the_newest(remote, bare):
    old = bare.commit(SRC)
    new = bare.commit(SRC | {"src/linear.py": b"x = 2\n"}, parent=old)
    assert fetch_commit(remote, old).files == SRC
    assert fetch_commit(remote, new).files["src/linear.py"] == b"x = 2\n"
    assert branch_head(remote, "main") == new


def test_a_commit_that_is_no_longer_on_a_branch(remote, bare):
    old = bare.commit(SRC)
    bare.commit({"src/linear.py": b"rewritten"})
    assert fetch_commit(remote, old).files == SRC


@pytest.mark.parametrize("scheme", ["path", "file", "http"])
def test_the_same_by_every_way_in(tmp_path, bare, scheme):
    commit = bare.commit(SRC)
    with serving(tmp_path / "host") as site:
        base = {"path": tmp_path / "host", "file": f"file://{tmp_path}/host", "http": site.base}[scheme]
        remote = Remote.at(base, "ann", "hw")
        assert fetch_commit(remote, commit).files == SRC
        assert branch_head(remote, "main") == commit


def test_a_repository_with_sha256(tmp_path):
    git(tmp_path, "init", "--quiet", "--bare", "--object-format=sha256", "hw.git")
    commit = Bare(tmp_path / "hw.git").commit(SRC)
    assert len(commit) == 64
    remote = Remote.at(tmp_path, "", "hw")
    assert fetch_commit(remote, commit).files == SRC
    assert branch_head(remote, "main") == commit
    with pytest.raises(RepositoryError):
        fetch_commit(remote, commit[:40])


# heads ---------------------------------------------------------------------------------------------------


def test_the_head_of_a_branch_is_that_of_exactly_this_branch(remote, bare):
    commit = bare.commit(SRC, branch="main")
    other = bare.commit(SRC | {"x": b""}, branch="refs/heads/main")  # refs/heads/refs/heads/main
    bare.git("update-ref", "refs/tags/main", other)
    bare.git("update-ref", "refs/remotes/refs/heads/main", other)
    assert branch_head(remote, "main") == commit
    assert branch_head(remote, "mai") is None
    assert branch_head(remote, "nowhere") is None


# what is not there ---------------------------------------------------------------------------------------


def test_a_commit_that_does_not_exist(tmp_path, remote, bare):
    bare.commit(SRC)
    with pytest.raises(NotFound, match="does not exist"):
        fetch_commit(remote, "1" * 40)
    with serving(tmp_path / "host") as site, pytest.raises(NotFound, match="does not exist"):
        fetch_commit(Remote.at(site.base, "ann", "hw"), "1" * 40)


def test_a_repository_that_does_not_exist(tmp_path):
    with pytest.raises(RepositoryError, match="no such repository"):
        fetch_commit(Remote.at(tmp_path, "ann", "nowhere"), "1" * 40)
    with serving(tmp_path) as site, pytest.raises(RepositoryError, match="no such repository"):
        fetch_commit(Remote.at(site.base, "ann", "nowhere"), "1" * 40)


def test_an_object_that_is_no_commit(remote, bare):
    bare.commit(SRC)
    bare.git("tag", "-a", "-m", "x", "v1", "main")
    for name in ("main^{tree}", "main:src/linear.py", "v1^{tag}"):
        with pytest.raises((RepositoryError, GitHostError)):
            fetch_commit(remote, bare.git("rev-parse", name))


def test_a_host_that_fails_every_second_request_delays_and_does_not_end_a_step(tmp_path, bare, monkeypatch):
    """A step takes about four requests: without another try of each, nearly every step would fail."""
    monkeypatch.setattr(scratch_module, "WAITS", (0.0,) * 8)
    commit = bare.commit(SRC)
    chance = random.Random(3)  # noqa: S311 (the same in every run)
    with serving(tmp_path / "host", fails=lambda: chance.random() < 0.5) as site:
        remote = Remote.at(site.base, "ann", "hw")
        for _ in range(3):
            assert branch_head(remote, "main") == commit
            assert fetch_commit(remote, commit).files == SRC
    assert len(site.requests) > 20


def test_a_request_that_is_refused_is_not_repeated(tmp_path, bare):
    with serving(tmp_path / "host", password="x") as site:  # noqa: S106
        with pytest.raises(GitHostError, match="refuses our credentials"):
            branch_head(Remote.at(site.base, "ann", "hw"), "main")
        assert len(site.requests) == 1


def test_a_host_that_is_not_there_is_worth_another_try(tmp_path):
    with serving(tmp_path) as site:
        pass
    with pytest.raises(GitHostError, match="try again"):
        fetch_commit(Remote.at(site.base, "ann", "hw"), "1" * 40)


# repositories that want something to happen ---------------------------------------------------------------


def test_hooks_and_settings_of_a_repository_on_this_machine_do_nothing(tmp_path, remote, bare):
    commit = bare.commit(SRC)
    program = trap(tmp_path / "trap")
    for name in HOOKS:
        (bare.path / "hooks" / name).write_bytes(program.read_bytes())
        (bare.path / "hooks" / name).chmod(0o755)
    for key in (
        *("core.fsmonitor", "core.alternateRefsCommand", "core.sshCommand", "core.askPass", "core.pager"),
        *(
            "uploadpack.packObjectsHook",
            "credential.helper",
            "gpg.program",
            "gc.recentObjectsHook",
            "core.gitProxy",
        ),
        *(
            "filter.evil.smudge",
            "filter.evil.process",
            "diff.evil.textconv",
            "remote.x.uploadpack",
            "core.editor",
        ),
    ):
        bare.git("config", key, str(program))
    bare.git("config", "core.hooksPath", str(program.parent))
    bare.git("config", "remote.x.url", f"ext::{program}")
    bare.git("config", "remote.x.promisor", "true")
    assert fetch_commit(remote, commit).files == SRC
    assert branch_head(remote, "main") == commit
    with pytest.raises((NotFound, GitHostError)):  # the host's git would have to get it from the promisor
        fetch_commit(remote, "1" * 40)
    assert not (tmp_path / "trap" / "sprung").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_can_be_read(tmp_path, remote, bare):
    commit = bare.commit(SRC)
    for place in (bare.path, *bare.path.rglob("*")):
        os.chown(place, 65534, 65534)
    assert fetch_commit(remote, commit).files == SRC


def test_an_ordinary_git_falls_into_the_trap(tmp_path, bare):
    """An ordinary git falls into it: the test above would notice."""
    bare.commit(SRC)
    program = trap(tmp_path / "trap")
    bare.git("config", "core.hooksPath", str(program.parent))
    program.rename(program.with_name("reference-transaction"))
    bare.git("update-ref", "refs/heads/other", "main")
    assert "reference-transaction" in (program.parent / "sprung").read_text()


def test_attributes_do_nothing(tmp_path, remote, bare):
    program = trap(tmp_path / "trap")
    files = SRC | {
        ".gitattributes": b"* filter=evil diff=evil text eol=crlf ident working-tree-encoding=UTF-16 export-ignore\n",
        "src/.gitattributes": b"*.py export-ignore export-subst filter=lfs\n",
        "src/ident.py": b"# $Id$ $Format:%H$\n",
    }
    commit = bare.commit(files)
    for key in ("filter.evil.smudge", "filter.evil.process", "diff.evil.textconv", "filter.lfs.process"):
        bare.git("config", key, str(program))
    assert fetch_commit(remote, commit).files == {n: c for n, c in files.items() if n.startswith("src/")}
    assert not (tmp_path / "trap" / "sprung").exists()


def test_submodules_are_never_fetched(tmp_path, remote, bare):
    program = trap(tmp_path / "trap")
    other = Bare(tmp_path / "host" / "bob" / "hw.git")
    secret = other.commit({"src/answer.py": b"secret"})
    for url in (f"ext::{shlex.quote(str(program))}", f"file://{other.path}", "-u./x", str(other.path)):
        modules = f'[submodule "x"]\n\tpath = x\n\turl = {url}\n\tupdate = !{program}\n'.encode()
        source = bare.tree(("100644", b"a.py", bare.blob()))
        root = bare.tree(
            ("100644", b".gitmodules", bare.blob(modules)),
            ("40000", b"src", source),
            ("160000", b"x", secret),
        )
        assert fetch_commit(remote, bare.commit_tree(root)).files == {"src/a.py": b"x = 1\n"}
    assert not (tmp_path / "trap" / "sprung").exists()


def test_replaced_and_grafted_commits_are_read_as_they_are(remote, bare):
    commit = bare.commit(SRC)
    other = bare.commit({"src/linear.py": b"replaced"}, branch="other")
    bare.git("update-ref", f"refs/replace/{commit}", other)
    (bare.path / "info" / "grafts").write_text(f"{commit} {other}\n")
    assert fetch_commit(remote, commit).files == SRC


def test_alternates_that_lead_nowhere_do_no_harm(tmp_path, remote, bare):
    commit = bare.commit(SRC)
    (bare.path / "objects" / "info" / "alternates").write_text(
        f"{tmp_path}/nowhere\n/dev/zero\n../../../..\n"
    )
    assert fetch_commit(remote, commit).files == SRC


@pytest.mark.parametrize("part", ["commondir", "refs", "objects"])
def test_a_repository_that_uses_parts_of_another_one_is_refused(tmp_path, remote, bare, part):
    bare.commit(SRC)
    staff = Bare(tmp_path / "staff.git")
    solution = staff.commit({"src/linear.py": b"the answer"})
    if part == "commondir":
        (bare.path / part).write_text(f"{staff.path}\n")
    else:
        (bare.path / part).rename(bare.path / "aside")
        (bare.path / part).symlink_to(staff.path / part)
    with pytest.raises(RepositoryError, match=part):
        branch_head(remote, "main")
    with pytest.raises(RepositoryError, match=part):
        fetch_commit(remote, solution)


def test_a_large_file_that_the_host_left_out_is_not_fetched_later(remote, bare, monkeypatch):
    commit = bare.commit(SRC | {"src/large.bin": bytes(5 << 20)})
    monkeypatch.setattr("autograder.submission.IGNORED", frozenset({"large.bin"}))
    assert fetch_commit(remote, commit).files == SRC
    monkeypatch.undo()
    refuse(remote, commit, r"src/large\.bin is larger than 4 MiB")


# what a submission must not hold -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "name", "message"),
    [
        ("120000", b"link", "src/link is a symbolic link; commit the file itself"),
        ("160000", b"module", "src/module is a submodule; commit the files themselves"),
        ("140000", b"odd", "src/odd is not a regular file"),
        ("100644", b"..", r"src/\.\. has a name that git"),
        ("100644", b".", r"src/\. has a name that git"),
        ("100644", b".git", r"src/\.git has a name that git"),
        ("100644", b".GIT", r"src/\.GIT has a name that git"),
        ("100644", b"git~1", "src/git~1 has a name that git"),
        ("100644", b".git::$INDEX_ALLOCATION", r"src/\.git::\$INDEX_ALLOCATION has a name that git"),
        ("100644", b"../../etc/passwd", "characters that not every system can store"),
        ("100644", b"a/b", "characters that not every system can store"),
        ("100644", b"a\\b", "characters that not every system can store"),
        ("100644", b"a\nb", r"src/a\\nb.* characters that not every system can store"),
        ("100644", b"a\x1b[31mb", "characters that not every system can store"),
        ("100644", "a\u202eyp.b".encode(), r"src/a\\u202eyp\.b.* characters that not every system can store"),
        ("100644", ".g\u200cit".encode(), "characters that not every system can store"),
        ("100644", b"a\xff", "a file name under src/ is not UTF-8"),
        ("100644", b"a" * 256, "more than 255 bytes"),
        ("100644", b"A.py", r"src/A\.py and src/a\.py are the same name"),
        ("100644", b"a.py", r"src/a\.py is there twice"),
    ],
    ids=[
        *(
            "link",
            "submodule",
            "mode",
            "two dots",
            "dot",
            "git",
            "upper case",
            "short name",
            "stream",
            "path",
        ),
        *(
            "slash",
            "backslash",
            "line break",
            "escape",
            "direction",
            "joiner",
            "bytes",
            "length",
            "case",
            "twice",
        ),
    ],
)
def test_odd_entries_are_refused_by_name(remote, bare, mode, name, message):
    oid = bare.blob()
    if mode == "160000":
        oid = bare.commit(SRC)
    refuse(remote, bare.odd((mode, name, oid)), message)


@pytest.mark.parametrize("name", [b".git", b"..", b"a\x1bb"])
def test_odd_folders_are_refused_by_name(remote, bare, name):
    inner = bare.tree(("100644", b"config", bare.blob()))
    refuse(remote, bare.odd(("40000", name, inner)), "has a name that git|characters that not every system")


def test_names_that_differ_in_accents_or_in_a_folder_s_case(remote, bare):
    refuse(
        remote, bare.commit({"src/e\u0301.py": b"1", "src/\u00e9.py": b"2"}), "the same name on some systems"
    )
    refuse(
        remote, bare.commit({"src/Ops/a.py": b"1", "src/ops/b.py": b"2"}), "src/Ops and src/ops are the same"
    )


def test_src_must_be_a_folder(remote, bare):
    blob = bare.blob(b"/etc")
    refuse(remote, bare.commit({"README.md": b"empty"}), "there is no folder src/ in the repository$")
    refuse(remote, bare.commit_tree(bare.tree()), "there is no folder src/ in the repository: it is empty")
    refuse(remote, bare.commit({"Src/linear.py": b""}), "but a folder Src/: rename it to src")
    refuse(
        remote,
        bare.commit({"a0/src/linear.py": b""}),
        "but in its folder a0/: move what is in a0/ to the top",
    )
    refuse(
        remote, bare.commit_tree(bare.tree(("120000", b"src", blob))), "src/ in .*: src is a symbolic link"
    )
    refuse(remote, bare.commit_tree(bare.tree(("100644", b"src", blob))), "src/ in .*: src is a file")
    module = bare.tree(("160000", b"src", bare.commit(SRC)))
    refuse(remote, bare.commit_tree(module), "src/ in .*: src is a submodule")


def test_files_in_git_lfs_are_refused(remote, bare):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
    refuse(remote, bare.commit(SRC | {"src/weights.py": pointer}), r"src/weights\.py is stored in Git LFS")


# what is too much ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (TreeLimits(files=1), "more than 1 files"),
        (TreeLimits(folders=1), "more than 1 folders"),
        (TreeLimits(file_bytes=5), r"src/linear\.py is larger"),
        (TreeLimits(total_bytes=5), "holds more than 0 MiB"),
        (TreeLimits(depth=1), "src/deep lies deeper than 1"),
    ],
)
def test_limits(remote, bare, limits, message):
    refuse(remote, bare.commit(SRC | {"src/deep/x.py": b""}), message, tree=limits)


def test_a_file_of_exactly_the_limit_is_taken(remote, bare):
    commit = bare.commit({"src/a.py": b"12345"})
    assert fetch_commit(remote, commit, limits=FetchLimits(tree=TreeLimits(file_bytes=5))).files == {
        "src/a.py": b"12345"
    }


def test_a_hundred_thousand_files_beside_src_do_not_matter(remote, bare):
    outside = {f"data/{i // 500}/{i}": b"x" for i in range(100_000)}
    assert fetch_commit(remote, bare.commit(SRC | outside)).files == SRC


@pytest.mark.parametrize(
    ("number", "prefix", "message"),
    [
        (100_000, b"", "holds more than 20000 names"),
        (100_000, b"n" * 100, "a folder of the repository holds too many names"),
        (10_000, b"", "src/ holds more than 500 files"),
    ],
    ids=["short names", "long names", "a tenth"],
)
def test_a_hundred_thousand_files_in_src(remote, bare, number, prefix, message):
    blob = bare.blob()
    source = bare.tree(*(("100644", b"%s%06d" % (prefix, i), blob) for i in range(number)))
    refuse(remote, bare.commit_tree(bare.tree(("40000", b"src", source))), message)


def test_a_tree_that_holds_itself_many_times(remote, bare):
    """Ten levels of a hundred folders each: 10^20 folders or files in eleven objects."""
    for leaf in (bare.tree(), bare.tree(("100644", b"a.py", bare.blob()))):
        tree = leaf
        for _ in range(10):
            tree = bare.tree(*(("40000", b"%02d" % i, tree) for i in range(100)))
        commit = bare.commit_tree(bare.tree(("40000", b"src", tree)))
        refuse(remote, commit, "more than 500 folders")


def test_a_tree_ten_thousand_levels_deep(remote, bare):
    refuse(remote, bare.commit({"src/" + "d/" * 2000 + "a.py": b""}), "lies deeper than 12 folders")


def test_a_damaged_tree(remote, bare):
    source = bare.git(
        "hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=b"100644 a.py\0short"
    )
    commit = bare.commit_tree(bare.tree(("40000", b"src", source)))
    refuse(remote, commit, "a folder of the repository is damaged")


def test_a_folder_that_is_a_file_is_the_student_s_mistake(remote, bare):
    """Any program can make such a tree. Another try would end in the same way, and nobody of the staff can help."""
    refuse(remote, bare.odd(("40000", b"folder", bare.blob())), "a folder of the repository is damaged")


@pytest.mark.parametrize("kinds", [("40000", "40000"), ("40000", "100644"), ("100644", "40000")], ids=str)
def test_a_tree_that_holds_src_twice(remote, bare, kinds):
    trees = iter(
        [bare.tree(("100644", b"a.py", bare.blob(b"x = 1\n"))), bare.tree(("100644", b"a.py", bare.blob()))]
    )
    entries = [(kind, b"src", next(trees) if kind == "40000" else bare.blob()) for kind in kinds]
    refuse(remote, bare.commit_tree(bare.tree(*entries)), "the repository holds src twice")


def test_a_commit_that_takes_too_long_to_unpack_is_the_student_s_mistake(tmp_path, bare):
    """Time of a processor is counted, so that a busy machine or a slow network is not blamed on a student."""
    put_five_gib(bare)
    huge = bare.tree(("100644", b"huge.bin", FIVE_GIB_OF_ZEROS))
    commit = bare.commit_tree(bare.tree(("40000", b"src", huge)))
    limits = FetchLimits(seconds=600, cpu_seconds=1)
    with serving(tmp_path / "host") as site, pytest.raises(SubmissionError, match="too long to unpack"):
        fetch_commit(Remote.at(site.base, "ann", "hw"), commit, limits=limits)


def test_a_commit_larger_than_the_limit_is_stopped_while_it_comes(tmp_path, bare):
    """By a host that leaves nothing out."""
    for key in ("pack.window", "core.compression"):  # the host's work shall not be the long part
        bare.git("config", key, "0")
    commit = bare.commit(SRC | {f"data/{i}.bin": os.urandom(1 << 20) for i in range(24)})
    with serving(tmp_path / "host") as site:
        remote = Remote.at(site.base, "ann", "hw")
        refuse(remote, commit, "the commit is larger than 8 MiB; remove data sets", bytes=8 << 20)
        assert fetch_commit(remote, commit).files == SRC


FIVE_GIB_OF_ZEROS = "0be2be10a4c8764f32c4bf372a98edc731a4b204"


def put_five_gib(bare):
    """Store 5 GiB of zeros as 5 MB, without compressing or hashing them: the stream repeats itself."""
    size = 5 << 30
    head, block = b"blob %d\0" % size, bytes(64 << 20)
    packer = zlib.compressobj(9)
    stream = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    repeated = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    # Adler-32 of n zeros after (a, b) is (a, b + n a) modulo 65521
    first = zlib.adler32(head)
    a, b = first & 0xFFFF, first >> 16
    checksum = (b + size * a) % 65521 << 16 | a
    path = bare.path / "objects" / FIVE_GIB_OF_ZEROS[:2] / FIVE_GIB_OF_ZEROS[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(stream + repeated * 80 + b"\x03\x00" + checksum.to_bytes(4, "big"))


def test_the_trick_with_the_repeated_stream():
    packer = zlib.compressobj(9)
    stream = packer.compress(b"head\0") + packer.flush(zlib.Z_FULL_FLUSH)
    repeated = packer.compress(bytes(1000)) + packer.flush(zlib.Z_FULL_FLUSH)
    a, b = zlib.adler32(b"head\0") & 0xFFFF, zlib.adler32(b"head\0") >> 16
    checksum = (b + 3000 * a) % 65521 << 16 | a
    stream += repeated * 3 + b"\x03\x00" + checksum.to_bytes(4, "big")
    assert zlib.decompress(stream) == b"head\0" + bytes(3000)
    assert hashlib.sha1(b"blob 3\0" + bytes(3)).hexdigest()  # noqa: S324 (git's)


@pytest.mark.parametrize("folder", [b"src", b"data"])
def test_a_file_of_5_gib_is_refused_by_its_size(remote, bare, folder):
    put_five_gib(bare)
    huge = bare.tree(("100644", b"a.py", bare.blob()), ("100644", b"huge.bin", FIVE_GIB_OF_ZEROS))
    if folder == b"src":
        commit = bare.commit_tree(bare.tree(("40000", b"src", huge)))
        refuse(remote, commit, r"src/huge\.bin is larger than 4 MiB")
    else:
        source = bare.tree(("100644", b"a.py", bare.blob()))
        commit = bare.commit_tree(bare.tree(("40000", b"data", huge), ("40000", b"src", source)))
        assert fetch_commit(remote, commit).files == {"src/a.py": b"x = 1\n"}


def test_a_file_of_5_gib_from_a_host_that_leaves_nothing_out_ends_at_the_time_limit(tmp_path, bare):
    put_five_gib(bare)
    huge = bare.tree(("100644", b"huge.bin", FIVE_GIB_OF_ZEROS))
    commit = bare.commit_tree(bare.tree(("40000", b"src", huge)))
    with serving(tmp_path / "host") as site, pytest.raises(GitHostError, match="was not done in 2 s"):
        fetch_commit(Remote.at(site.base, "ann", "hw"), commit, limits=FetchLimits(seconds=2))


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is limited on Linux only")
def test_a_delta_that_unpacks_to_gigabytes_does_not_take_our_memory(tmp_path, bare):
    """A delta of some bytes names a result of 64 GiB: git allocates what the delta says."""
    base = os.urandom(64)
    blob = bare.blob(base)
    commit = bare.commit({"src/a.py": b"x"})
    result = 64 << 30

    def varint(number):
        out = bytearray()
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        return bytes([*out, number])

    delta = varint(64) + varint(result) + b"\x90\x40" * 100
    header = bytes([0xF0 | len(delta) & 15, len(delta) >> 4])
    body = (
        b"PACK"
        + (2).to_bytes(4, "big")
        + (1).to_bytes(4, "big")
        + header
        + bytes.fromhex(blob)
        + zlib.compress(delta)
    )
    pack = body + hashlib.sha1(body).digest()  # noqa: S324 (git's)
    # what a host would send; our side reads it with index-pack under the limits of a fetch
    with scratch(Remote.at(tmp_path / "host", "ann", "hw")) as repository:
        repository.fetch(commit, "refs/x", depth=1, filter_spec="blob:limit=1k")
        assert repository.run("hash-object", "-w", "--stdin", stdin=base) == blob
        with pytest.raises(GitHostError, match="Out of memory"):
            repository.run("index-pack", "--stdin", "--fix-thin", stdin=pack)
