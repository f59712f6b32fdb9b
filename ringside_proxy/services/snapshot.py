"""The configuration that a request begins with and finishes on."""

import msgspec

from ringside_proxy.services.model_routing import ModelRouter
from ringside_proxy.services.prices import PriceBook
from ringside_proxy.settings.schema import Settings


class Snapshot(msgspec.Struct, frozen=True):
    """Settings, and what was built from them."""

    settings: Settings
    router: ModelRouter
    prices: PriceBook
