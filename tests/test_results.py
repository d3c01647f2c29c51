import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskpencil import files
from maskpencil.errors import OutputError
from maskpencil.files import Record, folder_written_whole, written_whole
from maskpencil.results import (
    MARKER,
    clear,
    find_results,
    recorded_results,
    refuse_to_replace,
    refuse_to_replace_file,
)


def write(out: Path, *names: str, content: str = "result") -> None:
    with recorded_results(out):
        for name in names:
            with written_whole(out / name) as temporary:
                temporary.write_text(content)


def check(out: Path, *names: str, sources: tuple[Path, ...] = (), alone: tuple[str, ...] = ()) -> None:
    refuse_to_replace(out, [out / name for name in names], sources=sources, alone=[out / name for name in alone])


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_results_of_a_run_are_replaced_by_the_next(tmp_path: Path) -> None:
    for content in ("one", "other"):
        check(tmp_path, "masks/a.png", "regions.json")
        write(tmp_path, "masks/a.png", "regions.json", content=content)
    assert (tmp_path / "masks/a.png").read_text() == "other"


def test_nothing_is_made_before_the_first_result(tmp_path: Path) -> None:
    check(tmp_path / "out", "masks/a.png")
    with recorded_results(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["masks/a.png", "regions.json"])
def test_a_file_of_the_user_is_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name}: was not written by an earlier run .* give another --out"):
        check(tmp_path, name)


def test_results_do_not_go_among_the_files_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "masks/train").mkdir(parents=True)
    (tmp_path / "masks/train/truth.png").touch()
    with pytest.raises(OutputError, match=r"masks: holds files that no earlier run wrote \(train/truth.png\)"):
        check(tmp_path, "masks/new.png")
    check(tmp_path, "overlays/new.jpg")


def test_files_of_desktops_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    write(tmp_path, "masks/a.png")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / "masks" / name).touch()
    check(tmp_path, "masks/a.png", "masks/b.png")


def test_a_result_that_the_user_has_changed_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "masks/a.png", "masks/b.png")
    (tmp_path / "masks/a.png").write_text("corrected by hand")
    with pytest.raises(OutputError, match=r"a\.png: was changed since it was written"):
        check(tmp_path, "masks/a.png", "masks/b.png")
    check(tmp_path, "masks/b.png")


def test_a_source_is_never_replaced_although_a_run_wrote_it(tmp_path: Path) -> None:
    write(tmp_path, "masks/a.png")
    with pytest.raises(OutputError, match=r"a\.png: is an input that a result would replace"):
        check(
            tmp_path, "masks/a.png", sources=(tmp_path / "overlays/../masks/a.png", tmp_path / "masks/../masks/a.png")
        )


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
@pytest.mark.parametrize("link", ["symlink", "hard link"])
def test_a_link_to_or_from_a_source_is_the_source(tmp_path: Path, link: str) -> None:
    write(tmp_path / "out", "masks/a.png")
    source = tmp_path / "a.png"
    make = source.symlink_to if link == "symlink" else source.hardlink_to
    make(tmp_path / "out/masks/a.png")
    with pytest.raises(OutputError, match="is an input"):
        check(tmp_path / "out", "masks/a.png", sources=(source,))


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_a_link_in_place_of_a_result_is_taken_for_the_users(tmp_path: Path) -> None:
    truth = tmp_path / "truth.png"
    truth.write_text("mine")
    (tmp_path / "out/masks").mkdir(parents=True)
    (tmp_path / "out/masks/a.png").symlink_to(truth)
    (tmp_path / "out/masks/b.png").symlink_to(tmp_path / "nowhere")
    for name in ("masks/a.png", "masks/b.png"):
        with pytest.raises(OutputError, match="was not written by an earlier run"):
            check(tmp_path / "out", name)


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_a_folder_of_the_user_is_found_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth/a.png").touch()
    (tmp_path / "out/masks").mkdir(parents=True)
    (tmp_path / "out/overlays").symlink_to(tmp_path / "truth")
    (tmp_path / "out/masks/train").symlink_to(tmp_path / "truth")
    with pytest.raises(OutputError, match="overlays: holds files"):
        check(tmp_path / "out", "overlays/b.png")
    with pytest.raises(OutputError, match="masks: holds files"):
        check(tmp_path / "out", "masks/train/b.png")


def test_a_name_in_another_case_or_unicode_form_is_the_same_result(tmp_path: Path) -> None:
    write(tmp_path, "masks/Straße.png", "masks/cafe\u0301.png")
    results = find_results(tmp_path)
    assert results
    assert results.names(tmp_path / "masks/STRASSE.PNG")
    assert results.names(tmp_path / "masks/caf\u00e9.png")


def test_a_run_that_is_killed_between_any_two_steps_can_be_run_again(tmp_path: Path) -> None:
    code = """if True:
        import os, sys
        from pathlib import Path
        from maskpencil.files import written_whole
        from maskpencil.results import recorded_results
        out, step = Path(sys.argv[1]), int(sys.argv[2])
        replace = Path.replace
        def dying(self, target):
            if step == 1:
                os._exit(9)
            replace(self, target)
            if step == 2:
                os._exit(9)
        with recorded_results(out):
            for name in ("a", "b"):
                with written_whole(out / "masks" / name) as temporary:
                    temporary.write_text(name * step)
                    if name == "b":
                        Path.replace = dying
                        if step == 0:
                            os._exit(9)
    """
    for step in (0, 1, 2):
        command = [sys.executable, "-c", code, str(tmp_path), str(step)]
        assert subprocess.run(command, check=False).returncode == 9
        check(tmp_path, "masks/a", "masks/b")
        assert names(tmp_path) <= {MARKER, "masks/a", "masks/b"}, "what the killed run was writing is removed"
    write(tmp_path, "masks/a", "masks/b")


def test_the_whole_lines_of_a_truncated_record_count(tmp_path: Path) -> None:
    write(tmp_path, "masks/a.png", "masks/b.png")
    record = tmp_path / MARKER
    record.write_bytes(record.read_bytes()[:-10])
    with pytest.raises(OutputError, match=r"b\.png: was not written"):
        check(tmp_path, "masks/b.png")
    (tmp_path / "masks/b.png").unlink()
    write(tmp_path, "masks/b.png")
    check(tmp_path, "masks/a.png", "masks/b.png")


def test_a_file_of_the_user_with_the_records_name_is_kept(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text("my notes\n")
    assert find_results(tmp_path) is None
    with pytest.raises(OutputError, match="is not a record of results"):
        check(tmp_path, "masks/a.png")


def test_a_record_does_not_grow_with_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskpencil.results.SPARE_LINES", 4)
    sizes = []
    for _ in range(12):
        check(tmp_path, "masks/a.png", "masks/b.png")
        write(tmp_path, "masks/a.png", "masks/b.png")
        sizes.append((tmp_path / MARKER).stat().st_size)
    assert max(sizes) < 7 * sizes[0]
    assert names(tmp_path) == {MARKER, "masks/a.png", "masks/b.png"}


def test_a_folder_that_is_written_whole_is_one_result(tmp_path: Path) -> None:
    with (
        recorded_results(tmp_path),
        folder_written_whole(tmp_path / "annotations", fresh=True) as folder,
        written_whole(folder / "images/a.png") as temporary,
    ):
        temporary.touch()
    results = find_results(tmp_path)
    assert results
    assert results.names(tmp_path / "annotations/images/a.png")
    assert len((tmp_path / MARKER).read_text().splitlines()) == 2


def test_only_results_are_removed_from_a_folder_of_frames(tmp_path: Path) -> None:
    write(tmp_path, "masks/video/1.png", "masks/video/2.png")
    check(tmp_path, alone=("masks/video",))
    (tmp_path / "masks/video/3.png").touch()
    with pytest.raises(OutputError, match=r"3\.png: was not written"):
        check(tmp_path, alone=("masks/video",))
    clear(tmp_path, tmp_path / "masks/video")
    assert names(tmp_path) == {MARKER, "masks/video/3.png"}


def test_a_named_file_is_new_or_a_report_of_the_same_kind(tmp_path: Path) -> None:
    report, other = tmp_path / "report.json", tmp_path / "other.json"
    refuse_to_replace_file(report, keys=("a", "b"))
    report.write_text('{"a": 1, "b": 2, "c": 3}')
    other.write_text('{"a": 1}')
    refuse_to_replace_file(report, keys=("a", "b"))
    for path, keys in ((other, ("a", "b")), (report, None)):
        with pytest.raises(OutputError, match=f"{path.name}: exists.*; give another name, or move it away"):
            refuse_to_replace_file(path, keys=keys)


@pytest.mark.skipif(os.name == "nt", reason="no such files")
def test_a_report_is_written_to_regular_files_only(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"a": 1}')
    (tmp_path / "link.json").symlink_to(tmp_path / "report.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "null.json").symlink_to("/dev/null")
    for name, problem in (("link", "exists"), ("pipe", "is a named pipe"), ("null", "is a device")):
        with pytest.raises(OutputError, match=problem):
            refuse_to_replace_file(tmp_path / f"{name}.json", keys=("a",))


def test_a_thread_that_is_late_leaves_no_record_open(tmp_path: Path) -> None:
    """As one of another run into the same folder, that was about to record a file when this run ended."""
    late: list[Record] = []
    with recorded_results(tmp_path):
        late += [record for folder, record in files._recorders if folder == tmp_path]
    made = tmp_path / "made"
    made.write_text("text")
    late[0](tmp_path / "masks/a.png", made)
    assert not (tmp_path / MARKER).exists()
