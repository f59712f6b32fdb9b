"""The inbound wire: aiohttp handlers that decode, make one call, and encode."""
