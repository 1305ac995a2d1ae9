import numpy as np
import pytest

from fedpref.errors import IntegrityError
from fedpref.transport.flower import secaggplus
from fedpref.transport.flower.secaggplus import measure


def test_small_cells_are_run_in_full() -> None:
    found = measure(5, 200, 3, [0, 1, 2])
    assert list(found) == [0, 1, 2]
    for cost in found.values():
        assert not cost.scaled
        assert cost.client_s > 0
        assert cost.bytes_up > 8 * 200  # int64 words
    # opening a private key of 300 bytes costs more than a seed of 32
    assert found[2].server_s > found[0].server_s


def test_long_cells_are_scaled_from_one_client() -> None:
    full = measure(5, 200, 3, [0, 1])
    scaled = measure(5, 200, 3, [0, 1], most_s=0)
    for lost, cost in scaled.items():
        assert cost.scaled
        assert 0.1 < cost.client_s / full[lost].client_s < 10
        assert 0.1 < cost.server_s / full[lost].server_s < 10
        assert 0.8 < cost.bytes_up / full[lost].bytes_up < 1.2


def test_a_wrong_sum_is_an_error(monkeypatch) -> None:
    def nothing(seed, modulus, shapes):
        return [np.zeros(shape, np.int64) for shape in shapes]

    monkeypatch.setattr(secaggplus, "pseudo_rand_gen", nothing)
    with pytest.raises(IntegrityError, match="the mean is off"):
        measure(4, 50, 3, [0])
