import json

import numpy as np
import pytest

from maskpencil.cli import main
from maskpencil.data.folder import open_folder

pytestmark = pytest.mark.usefixtures("shared_cache")


def run(*words):
    return main(["evaluate", *(str(word) for word in words), "--device", "cpu", "--precision", "fp32"])


@pytest.mark.slow
def test_the_scores_of_one_class_follow_the_usual_table(model, tiny_folder, tmp_path, capsys):
    assert run(model, tiny_folder, "--json", tmp_path / "plain.json") == 0
    usual = capsys.readouterr().out
    assert run(model, tiny_folder, "--class", "ball", "--json", tmp_path / "scores.json") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(usual)
    scores = json.loads((tmp_path / "scores.json").read_text())
    of_class = scores.pop("threshold_scores")
    assert scores == json.loads((tmp_path / "plain.json").read_text())
    assert of_class["class"] == "ball"
    assert of_class["positives"] == scores["classes"]["ball"]["pixels"]
    assert shown.removeprefix(usual).splitlines() == [
        "",
        "ball, scored by its probability",
        f"MaxF1                    {of_class['max_f1']:.4f}",
        f"at the threshold         {of_class['threshold']:.4f}",
        f"average precision        {of_class['average_precision']:.4f}",
        f"precision                {of_class['precision']:.4f}",
        f"recall                   {of_class['recall']:.4f}",
        f"false positive rate      {of_class['false_positive_rate']:.4f}",
        f"false negative rate      {of_class['false_negative_rate']:.4f}",
    ]


@pytest.mark.parametrize("command", ["evaluate", "check"])
def test_an_unwritable_scores_file_is_refused_before_evaluating(command, model, tmp_path, capsys):
    words = [str(model)] if command == "evaluate" else []
    assert main([command, *words, str(tmp_path / "no data"), "--json", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: cannot be written (Is a directory)")


def test_a_class_that_does_not_occur_has_no_numbers(model, save_files, capsys):
    files = {
        f"{kind}/test/1.png": np.zeros((8, 9, *more), dtype=np.uint8) for kind, *more in (("images", 3), ("masks",))
    }
    assert run(model, save_files(files), "--split", "test", "--class", "ball") == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[-7:]] == ["-"] * 7


def test_a_class_that_the_model_lacks_is_one_line_that_lists_those_it_has(model, tiny_folder, tmp_path, capsys):
    assert run(model, tiny_folder, "--class", "road", "--json", tmp_path / "scores.json") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: there is no class 'road'; the classes are ground, box, ball\n"
    assert not (tmp_path / "scores.json").exists()


def test_a_folder_that_is_not_there_is_one_line(model, tmp_path, capsys):
    assert run(model, tmp_path / "nowhere") == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'nowhere'}: there is no such folder")


def test_the_number_of_scored_images_is_reported(model, tiny_folder, capsys):
    assert run(model, tiny_folder) == 0
    count = {split: len(pairs) for split, pairs in open_folder(tiny_folder).splits.items()}
    assert capsys.readouterr().out.startswith(f"the split val: {count['val']} of {sum(count.values())} images\n")
