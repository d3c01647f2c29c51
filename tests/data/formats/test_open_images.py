import numpy as np
import pytest

from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

IMAGE = np.zeros((8, 9, 3), dtype=np.uint8)
MASK = np.eye(8, 9, dtype=np.uint8) * 255
TABLE = "MaskPath,ImageID,LabelName,BoxID\na_m01g317_5a8.png,a,/m/01g317,5a8\nb_m04yx4_11c.png,b,/m/04yx4,11c\n"


@pytest.mark.parametrize("place", ["annotations/train-", "validation-"])
def test_masks_of_open_images_are_not_taken_for_classes_and_the_remedy_works(save_files, place: str) -> None:
    masks = {"masks/train/a_m01g317_5a8.png": MASK, "masks/train/b_m04yx4_11c.png": MASK}
    images = {f"images/train/{name}.jpg": IMAGE for name in "ab"}
    root = save_files({**images, **masks, f"{place}annotations-object-segmentation.csv": TABLE})
    with pytest.raises(DataError, match=r"object-segmentation\.csv: lists masks of Open Images, .* named as the image"):
        open_folder(root)
    save_files(
        {f"../new/{folder}/{n}.png": each for n in "ab" for folder, each in (("images", IMAGE), ("masks", MASK))}
    )
    assert len(open_folder(root.parent / "new").facts) == 2
