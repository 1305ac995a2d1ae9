import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpref.core import mask
from fedpref.core.mask import apply_masks, centred, pack, to_words, unpack
from fedpref.errors import MessageError

# NIST SP 800-38A, F.5.5: the key of the AES-256-CTR vectors
KEY = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
CHUNK = mask._CHUNK_BYTES // 4


def keystream(key: bytes, count: int) -> np.ndarray:
    """Independent oracle: the counter blocks one by one through AES-ECB."""
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = range(-(-count // 4))
    stream = ecb.update(b"".join(i.to_bytes(16, "big") for i in blocks))
    words = [
        int.from_bytes(stream[i : i + 4], "little") for i in range(0, len(stream), 4)
    ]
    return np.array(words[:count], np.uint32)


def masked(key: bytes, count: int) -> np.ndarray:
    words = np.zeros(count, np.uint32)
    apply_masks(words, add=[key])
    return words


def test_a_published_block_of_the_oracle() -> None:
    """F.5.5 block 1: counter f0f1...ff gives the keystream that the standard prints."""
    ecb = Cipher(algorithms.AES(KEY), modes.ECB()).encryptor()
    block = ecb.update(bytes(range(0xF0, 0x100)))
    assert block.hex() == "0bdf7df1591716335e9a8b15c860c502"


@pytest.mark.parametrize(
    "count", [0, 1, 3, 4, 5, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7]
)
def test_the_mask_is_aes_256_ctr_from_zero_in_little_endian_words(count) -> None:
    words = np.full(count, 5, np.uint32)
    apply_masks(words, add=[KEY])
    assert (words == keystream(KEY, count) + np.uint32(5)).all()
    apply_masks(words, subtract=[KEY])
    assert (words == 5).all()


def test_many_keys_are_the_sum_of_single_ones() -> None:
    keys = [bytes([i]) * 32 for i in range(5)]
    words = np.zeros(CHUNK + 100, np.uint32)
    apply_masks(words, add=keys[:3], subtract=keys[3:])
    alone = [keystream(key, words.size) for key in keys]
    assert (words == alone[0] + alone[1] + alone[2] - alone[3] - alone[4]).all()


@given(
    clients=st.integers(2, 6),
    count=st.integers(1, 40),
    bits=st.sampled_from([16, 24, 32]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_pairs_of_masks_cancel(clients, count, bits, seed) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-(2 ** (bits - 5)), 2 ** (bits - 5), (clients, count))
    pairs = {(i, j): rng.bytes(32) for i in range(clients) for j in range(i)}
    total = np.zeros(count, np.uint32)
    for i in range(clients):
        words = to_words(values[i], bits)
        apply_masks(
            words,
            add=[pairs[i, j] for j in range(i)],
            subtract=[pairs[j, i] for j in range(i + 1, clients)],
        )
        total += unpack(pack(words, bits), bits, count)
    assert (centred(total, bits) == values.sum(axis=0)).all()


def test_each_bit_of_the_key_changes_the_whole_mask() -> None:
    """Flower 1.41 folds 256 bits to 28: most flips would leave the mask as it was."""
    seen = {masked(KEY, 8).tobytes()}
    for bit in range(256):
        flipped = (int.from_bytes(KEY, "little") ^ 1 << bit).to_bytes(32, "little")
        words = masked(flipped, 8)
        seen.add(words.tobytes())
        differing = int(np.bitwise_count(words ^ masked(KEY, 8)).sum())
        assert 80 < differing < 176  # 128 of 256 expected, six standard deviations
    assert len(seen) == 257


def test_words_that_fold_to_the_same_give_different_masks() -> None:
    """Exclusive-or of all words of the key is what Flower seeds with."""
    swapped = KEY[4:8] + KEY[:4] + KEY[8:]
    assert (masked(KEY, 64) != masked(swapped, 64)).any()


def test_every_value_is_reached_the_top_one_too() -> None:
    """Flower's masks of 4 bits never are 15."""
    counts = np.bincount(masked(KEY, 64_000) & 15, minlength=16)
    assert counts.min() > 3600  # 4000 expected, six standard deviations
    assert counts.max() < 4400


@pytest.mark.parametrize("size", [0, 4, 16, 31, 33])
def test_a_key_of_another_length_is_refused_before_anything_changes(size) -> None:
    words = np.zeros(4, np.uint32)
    with pytest.raises(ValueError, match=rf"len\(key\) = {size}, must be 32"):
        apply_masks(words, add=[KEY], subtract=[bytes(size)])
    assert not words.any()


@pytest.mark.parametrize(
    "words",
    [
        np.zeros(3, np.int64),
        np.zeros(3, np.uint16),
        np.zeros((2, 2), "u4"),
        np.zeros(3, np.dtype(np.uint32).newbyteorder()),  # the other order of bytes
    ],
)
def test_other_arrays_are_refused(words) -> None:
    with pytest.raises(ValueError, match="must be uint32"):
        apply_masks(words, add=[KEY])


def test_a_read_only_vector_is_refused_and_stays() -> None:
    words = np.zeros(3, np.uint32)
    words.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        apply_masks(words, add=[KEY])
    assert not words.any()


def test_other_layouts_pack_alike() -> None:
    """Strided, reversed, read-only, of the other order of bytes."""
    plain = np.arange(1, 40, 2, dtype=np.uint32) * 99_991
    wide = np.zeros(40, np.uint32)
    wide[::2] = plain
    backward = plain[::-1].copy()
    swapped = plain.astype(np.dtype(np.uint32).newbyteorder())
    swapped.flags.writeable = False
    for bits in (16, 24, 32):
        for other in (wide[::2], backward[::-1], swapped):
            assert pack(other, bits) == pack(plain, bits)
            assert (centred(other, bits) == centred(plain, bits)).all()
            signed = other.astype(np.int64)
            assert (to_words(signed, bits) == signed % 2**bits).all()


def test_masks_reach_a_view_that_is_not_contiguous() -> None:
    words = np.zeros(20, np.uint32)
    apply_masks(words[::2], add=[KEY])
    assert (words[::2] == keystream(KEY, 10)).all()
    assert not words[1::2].any()


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_words_and_integers_to_and_fro_at_the_edges(bits) -> None:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    values = np.array([low, low + 1, -1, 0, 1, high], np.int64)
    words = to_words(values, bits)
    assert words.dtype == np.uint32
    assert words.tolist() == [int(value) % 2**bits for value in values]
    assert centred(words, bits).tolist() == values.tolist()
    assert centred(to_words(np.array([high + 1]), bits), bits).tolist() == [low]
    far = np.array([2**62 + 3, -(2**62) - 3])
    assert to_words(far, bits).tolist() == [int(value) % 2**bits for value in far]


def test_bits_above_the_word_do_not_count() -> None:
    words = np.array([0xFF00_0001, 0x0180_0000], np.uint32)
    assert centred(words, 24).tolist() == [1, -(2**23)]
    assert pack(words, 24) == bytes([1, 0, 0, 0, 0, 0x80])


@given(
    bits=st.sampled_from([16, 24, 32]),
    words=st.lists(st.integers(0, 2**32 - 1), max_size=20),
)
def test_packing_is_little_endian_and_exact(bits, words) -> None:
    data = pack(np.array(words, np.uint32), bits)
    kept = [word % 2**bits for word in words]
    assert data == b"".join(word.to_bytes(bits // 8, "little") for word in kept)
    back = unpack(data, bits, len(words))
    assert back.dtype == np.uint32
    assert back.tolist() == kept


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("change", [-3, -1, 1, 3])
def test_a_wrong_length_is_refused_before_anything_is_allocated(bits, change) -> None:
    size = 5 * bits // 8
    with pytest.raises(MessageError, match=rf"{size + change} bytes, must be {size} "):
        unpack(bytes(size + change), bits, 5)
    with pytest.raises(MessageError):
        unpack(bytes(size), bits, 2**60)


@pytest.mark.parametrize("bits", [0, 8, 23, 64])
def test_other_word_sizes_are_refused(bits) -> None:
    words = np.zeros(1, np.uint32)
    for call in (
        lambda: to_words(np.zeros(1, np.int64), bits),
        lambda: centred(words, bits),
        lambda: pack(words, bits),
        lambda: unpack(b"", bits, 0),
    ):
        with pytest.raises(ValueError, match="must be one of"):
            call()
