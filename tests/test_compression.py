"""Compression: kept only where it helps, strict about what it reads, and stopped before a bomb goes off."""

from __future__ import annotations

import os
import tracemalloc

import pytest

from encrypted_serde import ConfigurationError, MalformedEnvelope, UnsupportedFormat
from encrypted_serde.core import compression
from encrypted_serde.core.compression import MAX_SIZE, check_compression, compress, decompress

TEXT = b"the same words again and again. " * 100


def _length(size):
    return size.to_bytes(8, "big")


def _frame(data):
    return compression._zstd.compress(data, 3)


def test_what_was_compressed_comes_back_and_is_smaller():
    packed = compress(TEXT)
    assert len(packed) < len(TEXT)
    assert packed[:8] == _length(len(TEXT))
    assert decompress(packed) == TEXT


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(1000), b"short text"], ids=["nothing", "a byte", "random", "text"])
def test_a_value_that_would_not_get_smaller_is_left_alone(data):
    assert compress(data) is None


def test_a_value_over_the_limit_is_left_alone(monkeypatch):
    monkeypatch.setattr(compression, "MAX_SIZE", len(TEXT) - 1)
    assert compress(TEXT) is None


# rule F-13
@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"", id="empty"),
        pytest.param(_length(10)[:7], id="no whole length"),
        pytest.param(_length(10), id="no frame"),
        pytest.param(_length(len(TEXT)) + b"garbage", id="no zstd"),
        pytest.param(_length(len(TEXT)) + _frame(TEXT)[:-1], id="frame cut"),
        pytest.param(_length(len(TEXT)) + _frame(TEXT) + b"\0", id="byte after the frame"),
        pytest.param(_length(2 * len(TEXT)) + _frame(TEXT) * 2, id="two frames"),
        pytest.param(_length(len(TEXT) - 1) + _frame(TEXT), id="length too small"),
        pytest.param(_length(len(TEXT) + 1) + _frame(TEXT), id="length too large"),
        pytest.param(_length(0) + _frame(TEXT), id="length zero"),
        pytest.param(_length(MAX_SIZE + 1) + _frame(TEXT), id="length over the limit"),
        pytest.param(b"\xff" * 8 + _frame(TEXT), id="largest length"),
    ],
)
def test_anything_but_one_frame_of_the_stated_length_is_malformed(packed):
    with pytest.raises(MalformedEnvelope):
        decompress(packed)


# rule F-13
def test_a_bomb_is_refused_without_decoding_it():
    bomb = _frame(bytes(256 << 20))
    assert len(bomb) < 64 << 10
    tracemalloc.start()
    try:
        for stated in (1000, MAX_SIZE + 1):
            with pytest.raises(MalformedEnvelope):
                decompress(_length(stated) + bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("option", ["gzip", "", "ZSTD", "zstd ", True, 5])
def test_an_unknown_compression_is_a_configuration_error(option):
    with pytest.raises(ConfigurationError, match="zstd"):
        check_compression(option)


def test_without_the_extra_the_option_and_a_compressed_value_are_refused_with_the_remedy(monkeypatch):
    packed = compress(TEXT)
    monkeypatch.setattr(compression, "_zstd", None)
    assert check_compression(None) is False
    with pytest.raises(ConfigurationError, match=r"encrypted-serde\[zstd\]"):
        check_compression("zstd")
    with pytest.raises(UnsupportedFormat, match=r"encrypted-serde\[zstd\]"):
        decompress(packed)
