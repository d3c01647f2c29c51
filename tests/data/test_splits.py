from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from maskpencil.data.layout.splits import split_names, write_splits

names = st.lists(st.text("abc/0123", min_size=1, max_size=8), unique=True, min_size=2, max_size=60)


@given(names, st.randoms())
def test_every_name_is_in_one_of_two_parts_whatever_their_order(names: list[str], random) -> None:
    train, val = split_names(names)
    assert sorted((*train, *val)) == sorted(names)
    assert len(val) == max(1, round(len(names) / 5))
    assert train
    shuffled = random.sample(names, len(names))
    train_again, val_again = split_names(shuffled)
    assert set(val_again) == set(val)
    assert list(train_again) == [name for name in shuffled if name not in val]


@given(names)
def test_a_name_more_moves_few_others(names: list[str]) -> None:
    before = set(split_names(names)[1])
    after = set(split_names([*names, "one more"])[1]) - {"one more"}
    assert len(before ^ after) <= 1


def test_the_choice_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert split_names([f"{i:03}" for i in range(20)])[1] == ("000", "010", "015", "018")
    assert split_names(["straße/märz", "b", "車"])[1] == ("straße/märz",)


def test_a_single_name_is_in_train() -> None:
    assert split_names(["a"]) == (("a",), ())


def test_splits_are_written_a_name_a_line(tmp_path: Path) -> None:
    write_splits(tmp_path / "splits", {"train": ["a/1", "straße"], "val": ["b"]})
    assert (tmp_path / "splits" / "train.txt").read_text(encoding="utf-8") == "a/1\nstraße\n"
    assert (tmp_path / "splits" / "val.txt").read_text(encoding="utf-8") == "b\n"
