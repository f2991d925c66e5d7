import pickle

import numpy as np
import pytest
import torch
from sklearn.utils import _safe_indexing

from sk_dml.datasets import ImageSequence


@pytest.fixture
def images():
    return ImageSequence([f"item {i}" for i in range(10)])


@pytest.mark.parametrize(
    "key", [np.array([3, 0, 3]), [3, 0], np.arange(10) > 6, slice(2, 5), slice(None)]
)
def test_is_indexed_like_an_array_without_being_read(key, images):
    expected = np.array([*images])[key]
    for found in (images[key], _safe_indexing(images, key)):
        assert isinstance(found, ImageSequence)
        assert found.shape == (len(found),) == expected.shape
        assert [*found] == expected.tolist()
    again = pickle.loads(pickle.dumps(images[key]))
    assert [*again] == expected.tolist()


def test_subsets_of_subsets(images):
    subset = images[np.array([8, 6, 4, 2])][np.array([1, 3])]
    assert [*subset] == ["item 6", "item 2"]
    assert subset[np.int64(-1)] == "item 2"
    with pytest.raises(IndexError):
        subset[2]
    with pytest.raises(IndexError):
        images[np.array([10])]


def test_datasets_are_asked_by_plain_integers():
    class Strict(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            assert type(index) is int
            return index

    assert [*ImageSequence(Strict())[np.array([2, 0])]] == [2, 0]


def test_what_cannot_be_indexed_is_refused():
    with pytest.raises(TypeError, match="dataset is a generator; allowed is what has"):
        ImageSequence(i for i in range(3))
