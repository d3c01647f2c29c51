import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskpencil.data.layout.pairs import pair_names


def test_the_same_name_needs_no_rule() -> None:
    found = pair_names(["a", "b"], ["b", "c", "b_mask"])
    assert (found.masks, found.rule) == ({"b": "b"}, None)


@pytest.mark.parametrize(
    ("images", "masks", "rule"),
    [
        (["x_1", "x_10"], ["x_1_mask", "x_10_mask"], "an image's mask is named IMAGE_mask"),
        (["1", "10"], ["mask_1", "mask_10"], "an image's mask is named mask_IMAGE"),
        (["a/1", "b/1"], ["a/1_gt", "b/1_gt"], "an image's mask is named IMAGE_gt"),
        (["21_training", "22_training"], ["21_manual1", "22_manual1"], "NAME_training has the mask NAME_manual1"),
        (["img_1", "img_2"], ["lbl_1", "lbl_2"], "the image img_NAME has the mask lbl_NAME"),
        (["img_07", "img_08"], ["lbl_07", "lbl_08"], "the image img_NAME has the mask lbl_NAME"),
        (["c_7_left", "d_9_left"], ["c_7_gt_ids", "d_9_gt_ids"], "the image NAME_left has the mask NAME_gt_ids"),
        (["photo7", "photo12x"], ["007", "seg 12"], "an image and its mask have the same number"),
    ],
)
def test_masks_are_named_after_their_images(images: list[str], masks: list[str], rule: str) -> None:
    found = pair_names(images, masks)
    assert found.masks == dict(zip(images, masks, strict=True))
    assert found.rule is not None
    assert rule in found.rule


def test_of_several_masks_of_an_image_one_kind_is_taken_and_the_others_are_reported() -> None:
    found = pair_names(["1", "2"], ["1_ann2", "2_ann2", "1_ann1", "2_ann1", "1_late"])
    assert found.masks == {"1": "1_ann1", "2": "2_ann1"}
    assert found.rule == "an image's mask is named IMAGE_ann1; 3 masks with other additions are left out"


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["cat", "dog"], ["tree", "sky"]),
        (["a_1_2", "a_3_4"], ["b_5_6", "b_7_8"]),
        (["a1", "b1"], ["x1x", "y1y"]),  # the number is not one image's own
        (["a/1", "a/2"], ["b/1_gt", "b/2_gt"]),
        ([], ["a"]),
        (["a"], []),
    ],
)
def test_what_does_not_belong_together_stays_alone(images: list[str], masks: list[str]) -> None:
    assert not pair_names(images, masks).masks


names = st.lists(st.text("ab01_/", min_size=1, max_size=6), unique=True, max_size=6)


@given(names, names)
def test_no_name_is_in_two_pairs(images: list[str], masks: list[str]) -> None:
    pairs = pair_names(images, masks).masks
    assert set(pairs) <= set(images)
    assert set(pairs.values()) <= set(masks)
    assert len(set(pairs.values())) == len(pairs)


@given(st.lists(st.text("abc019_", min_size=1, max_size=6), unique=True, min_size=2), st.sampled_from(["_mask", "-gt"]))
def test_any_names_with_an_addition_are_found(images: list[str], addition: str) -> None:
    masks = [name + addition for name in images]
    assert pair_names(images, masks).masks == dict(zip(images, masks, strict=True))
