import numpy as np
import pytest

from fedpref.errors import IntegrityError
from fedpref.secagg import server
from fedpref.simulation import secagg_bench
from fedpref.simulation.secagg_bench import measure


def test_a_cell_for_each_number_of_lost_devices() -> None:
    found = measure(6, 1000, 4, 0, [0, 1, 2])
    assert list(found) == [0, 1, 2]
    for cost in found.values():
        assert len(cost.client_legs_s) == 5
        assert min(cost.client_legs_s) > 0
        assert cost.client_s == pytest.approx(sum(cost.client_legs_s))
        assert 0 < cost.server_s < cost.server_all_s
        assert cost.vector_bytes == 3000
        assert cost.vector_bytes < cost.bytes_up < 8000
        assert cost.client_peak_bytes > 3000
    assert [cost.server_peak_bytes is not None for cost in found.values()] == [
        *(False, True, False)
    ]


def test_in_a_large_cohort_a_few_devices_are_timed(monkeypatch) -> None:
    monkeypatch.setattr(secagg_bench, "_ALL_TIMED", 4)
    (cost,) = measure(6, 100, 4, 0, [1]).values()
    assert cost.client_s > 0
    assert cost.server_peak_bytes is None


def test_a_wrong_sum_is_an_error(monkeypatch) -> None:
    honest = server.unmask

    def off_by_one(*arguments):
        state, words = honest(*arguments)
        return state, words + np.uint32(1)

    monkeypatch.setattr(server, "unmask", off_by_one)
    with pytest.raises(IntegrityError, match="sum of 4 devices is wrong"):
        measure(4, 10, 3, 0, [0])
