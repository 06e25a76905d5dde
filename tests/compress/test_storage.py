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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "int4"}, "weights 'int4' of a student of width 20, expected a multiple of 32"),
        ({"product_bytes": 8}, "product_bytes is 8, expected a divisor of the student's width 20"),
    ],
)
def test_what_does_not_fit_the_width_is_refused(settings: dict, message: str) -> None:
    model = Decoder(DecoderShape(items=5, width=20, heads=1, feed_forward=(8,), max_length=4))
    variant = Variant(name="v", **settings)
    assert variant.misfit(20) == message
    assert variant.misfit(64) == ""
    with pytest.raises(ConfigError, match="'v' cannot be made: "):
        Storage.of(model, variant, [])
