"""Languages as Whisper names them, as codes.

OpenAI's `verbose_json` says "english" where speaches and LocalAI say "en". The names are those of Whisper's tokenizer.
"""

from __future__ import annotations

import re
from typing import Final

_CODE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
_NAMES: Final = """
af afrikaans|am amharic|ar arabic|as assamese|az azerbaijani|ba bashkir|be belarusian|bg bulgarian|bn bengali
bo tibetan|br breton|bs bosnian|ca catalan|ca valencian|cs czech|cy welsh|da danish|de german|el greek|en english
es castilian|es spanish|et estonian|eu basque|fa persian|fi finnish|fo faroese|fr french|gl galician|gu gujarati
ha hausa|haw hawaiian|he hebrew|hi hindi|hr croatian|ht haitian|ht haitian creole|hu hungarian|hy armenian
id indonesian|is icelandic|it italian|ja japanese|jv javanese|ka georgian|kk kazakh|km khmer|kn kannada|ko korean
la latin|lb letzeburgesch|lb luxembourgish|ln lingala|lo lao|lt lithuanian|lv latvian|mg malagasy|mi maori
mk macedonian|ml malayalam|mn mongolian|mr marathi|ms malay|mt maltese|my burmese|my myanmar|ne nepali|nl dutch
nl flemish|nn nynorsk|no norwegian|oc occitan|pa panjabi|pa punjabi|pl polish|ps pashto|ps pushto|pt portuguese
ro moldavian|ro moldovan|ro romanian|ru russian|sa sanskrit|sd sindhi|si sinhala|si sinhalese|sk slovak|sl slovenian
sn shona|so somali|sq albanian|sr serbian|su sundanese|sv swedish|sw swahili|ta tamil|te telugu|tg tajik|th thai
tk turkmen|tl tagalog|tr turkish|tt tatar|uk ukrainian|ur urdu|uz uzbek|vi vietnamese|yi yiddish|yo yoruba
yue cantonese|zh chinese|zh mandarin
"""
_CODES: Final = {
    name: code for code, _, name in (entry.partition(" ") for entry in _NAMES.replace("\n", "|").strip("|").split("|"))
}


def code_of(language: object) -> str:
    """BCP-47 code of what a server says; "" where that is neither a code nor a name that is known."""
    if not isinstance(language, str):
        return ""
    word = language.strip().lower()
    return _CODES.get(word) or (word if _CODE.fullmatch(word) else "")
