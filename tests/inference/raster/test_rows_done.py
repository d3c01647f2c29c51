import numpy as np

from maskpencil.inference.raster.predict import RowsDone


def test_a_file_of_rows_holds_nothing_but_the_rows(tmp_path, monkeypatch):
    savez = np.savez_compressed

    def savez_of_numpy_2_0(file, **arrays):  # has no option but arrays
        savez(file, **{name: np.asarray(array) for name, array in arrays.items() if name != "allow_pickle"})
        names.extend(arrays)

    names = []
    monkeypatch.setattr(np, "savez_compressed", savez_of_numpy_2_0)
    rows = RowsDone(tmp_path / "rows", {"size": 3})
    rows.add({"mask": np.zeros((2, 3), dtype=np.uint8)})
    assert names == ["mask"]
    assert [sorted(part) for part in rows] == [["mask"]]
