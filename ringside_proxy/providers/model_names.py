"""What a model's name says about what it is for, where nothing else does."""

import re
from typing import Final

NOT_SERVED: Final = re.compile(
    r"(^|[-./:_])(asr|audio|babbage|clip|curie|davinci|decider|diffusion|dall-e|flux|guardrail|image|"
    r"imagen|live|lyria|moderation|ocr|realtime|rerank|safeguard|safety|sdxl|sonic|sora|speech|"
    r"stable-diffusion|transcribe|transcription|tts|turbo-instruct|veo|video|voice|voxtral|whisper)"
    r"($|[-./:_\d])",
    re.IGNORECASE,
)
"""For something else than text and embeddings."""

EMBEDS: Final = re.compile(
    r"(^|[-./:_])(embed|embedding|bge|e5|gte)($|[-./:_\d])|^ada$", re.IGNORECASE
)
