import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedpref.core.entropy import OsEntropy, SeededEntropy, uniform_words


def test_os_keys_are_fresh_and_whole() -> None:
    keys = {OsEntropy().key("noise/1") for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {32}
    assert OsEntropy().private


def test_os_keys_are_what_the_system_hands_out(monkeypatch) -> None:
    """And not the state of a generator of ours."""
    handed = [bytes(range(size, 32 + size)) for size in (0, 100)]
    given = iter(handed)
    monkeypatch.setattr("os.urandom", lambda size: next(given)[:size])
    assert [OsEntropy().key("noise/1"), OsEntropy().key("noise/1")] == handed


def test_seeded_keys_are_marked_and_reproducible() -> None:
    assert not SeededEntropy(1).private
    assert SeededEntropy(1).key("a") == SeededEntropy(1).key("a")
    assert SeededEntropy(1).key("a") != SeededEntropy(2).key("a")
    # "1" + "1a" must not be "11" + "a"
    assert SeededEntropy(11).key("a") != SeededEntropy(1).key("1a")


def test_a_seed_does_not_print() -> None:
    assert "12345" not in repr(SeededEntropy(12345))


def test_keystream_is_aes_256_ctr_from_zero() -> None:
    """NIST SP 800-38A F.5.5 key; ECB of the counter blocks is the oracle."""
    key = bytes.fromhex(
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
    )
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = b"".join(ecb.update(i.to_bytes(16, "big")) for i in range(3))
    expected = [int.from_bytes(blocks[i : i + 8], "little") for i in range(0, 48, 8)]
    assert uniform_words(6, key=key).tolist() == expected
    assert uniform_words(5, key=key).tolist() == expected[:5]


def test_lanes_are_other_parts_of_the_same_keystream() -> None:
    """The counter of lane n starts at n 2**64; ECB is the oracle again."""
    key = bytes(range(32))
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    for lane in (0, 1, 255, 2**64 - 1):
        block = ecb.update((lane << 64).to_bytes(16, "big"))
        expected = [int.from_bytes(block[i : i + 8], "little") for i in (0, 8)]
        assert uniform_words(2, key=key, lane=lane).tolist() == expected
    for lane in (-1, 2**64):
        with pytest.raises(OverflowError):
            uniform_words(1, key=key, lane=lane)


def test_long_streams_go_on_where_pieces_end() -> None:
    """The stream is made in pieces of 2**15 words."""
    key = bytes(range(32))
    words = uniform_words(2**15 + 3, key=key, lane=7)
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    counter = (7 << 64) + 2**14
    block = ecb.update(counter.to_bytes(16, "big"))
    assert int(words[2**15]) == int.from_bytes(block[:8], "little")
    assert len(uniform_words(0, key=key)) == 0


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_refuses_keys_of_another_length(size) -> None:
    with pytest.raises(ValueError, match="must be 32 bytes"):
        uniform_words(1, key=bytes(size))
