"""Pieces of text that came in one read of the provider's stream, put together. Pure."""

from ringside_proxy.providers.types import Delta, TextDelta


def joined_text(batch: list[Delta]) -> list[Delta]:
    """The same batch, with each row of texts in it as one: what follows handles it once."""
    if len(batch) < 2:
        return batch
    joined: list[Delta] = []
    texts: list[str] = []
    for delta in batch:
        if isinstance(delta, TextDelta):
            texts.append(delta.text)
            continue
        if texts:
            joined.append(TextDelta("".join(texts)))
            texts.clear()
        joined.append(delta)
    if texts:
        joined.append(TextDelta("".join(texts)))
    return joined
