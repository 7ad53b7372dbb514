"""Recognises an answer that refuses to write a story."""

import re
from typing import Final

_MOST_READ: Final = 400
_START: Final = re.compile(r"\A[\s\"'“”«»*_#>-]*")
_CANNOT: Final = r"(?:can(?:no|['’])t|can not|won['’]t|am unable to|am not able to|must decline to)"
_REFUSALS: Final = re.compile(
    "|".join(
        (
            rf"i(?:['’]m| am) (?:really |very |so )?sorry,? (?:but )?(?:i|as an ai\b.{{0,60}}) {_CANNOT}\b",
            rf"(?:sorry|unfortunately|i apologi[sz]e),? (?:but )?i {_CANNOT}\b",
            rf"i {_CANNOT} (?:help|assist|write|create|generate|provide|produce|fulfil|comply|continue|do that)\b",
            r"as an (?:ai|artificial)\b",
            r"(?:к сожалению|извини(?:те)?|прости(?:те)?),? (?:но )?(?:я )?не (?:могу|смогу|буду)\b",
            r"я не (?:могу|смогу|буду) (?:помочь|помогать|написать|писать|создать|создавать|выполнить|продолжить)\b",
            r"(?:es )?tut mir (?:sehr )?leid,? (?:aber )?.{0,40}\b(?:kann|darf)\b.{0,80}\bnicht\b",
            r"ich kann .{0,60}\bnicht (?:helfen|schreiben|erstellen|erfüllen)\b",
            r"(?:je suis )?désolée?,? (?:mais )?je ne (?:peux|suis) pas\b",
            r"je ne peux pas (?:vous aider|écrire|créer|répondre)\b",
            r"lo siento,? (?:pero )?no puedo\b",
            r"no puedo (?:ayudar|escribir|crear|generar|cumplir)\b",
            r"(?:mi dispiace,? (?:ma )?non posso|(?:desculpe|lamento),? (?:mas )?não posso)\b",
            r"(?:很?抱歉|对不起).{0,10}(?:不能|无法|没办法)",
            r"(?:申し訳|すみません|ごめんなさい).{0,40}(?:できません|いたしかねます)",
        )
    ),
    re.IGNORECASE,
)


def is_refusal(answer: str) -> bool:
    """Returns True where the first line of an answer refuses in words to write a story."""
    begun = _START.sub("", answer[:_MOST_READ])
    return _REFUSALS.match(begun.partition("\n")[0]) is not None
