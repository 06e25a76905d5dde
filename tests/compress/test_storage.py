import pytest

from slmrec.compress.storage import Storage
from slmrec.config import Variant
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder, DecoderShape


def test_static_states_need_histories_to_be_measured_on() -> None:
    model = Decoder(DecoderShape(items=5, width=8, heads=1, feed_forward=(8,), max_length=4))
    with pytest.raises(ConfigError, match="'v' has static states and there is no training history"):
        Storage.of(model, Variant(name="v"), [])
    assert Storage.of(model, Variant(name="v", states="dynamic"), []).reaches is None
