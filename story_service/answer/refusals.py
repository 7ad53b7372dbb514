"""Recognises an answer that refuses to write a story, in the languages that stories are written in."""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final


class Refusal(Enum):
    """How certain it is that a text refuses to write a story."""

    NONE = "none"
    POSSIBLE = "possible"
    """It is one where no story follows."""
    CERTAIN = "certain"


_READ: Final = 1_000
_SENTENCES: Final = 6
"""A refusal is among the first of a text."""
_FIRST: Final = 3

# For each language: an apology, what is refused, and what the refusal is about. The middle has no group.
_SORRY: Final = (
    r"sorry|unfortunately|apologi[sz]e|apologies|regret|afraid"
    r"|сожалению|извини|прости|прошу прощения|жаль|шкода|вибач|перепрош|на жаль"
    r"|leid|leider|entschuldig|bedau[er]"
    r"|désolée?|malheureusement|regrette|excuse"
    r"|lo siento|lamento|perdón|disculp|desculp|infelizmente|sinto muito|peço desculpa"
    r"|mi dispiace|purtroppo|scusa|spiacente"
    r"|helaas|het spijt|sorry"
    r"|przykro|przepraszam|niestety|omlouvám|bohužel|je mi líto|ľúto"
    r"|üzgünüm|maalesef|özür"
    r"|ledsen|tyvärr|förlåt|beklager|desværre|dessverre|undskyld|valitettavasti|pahoillani"
    r"|sajnálom|sajnos|elnézést|îmi pare rău|din păcate|λυπάμαι|συγγνώμη|δυστυχώς"
    r"|xin lỗi|rất tiếc|maaf|sayangnya"
    r"|申し訳|すみません|ごめん|残念ながら|恐れ入りますが|죄송|미안|유감"
    r"|抱歉|对不起|對不起|遗憾|遺憾|不好意思"
    r"|عذر|آسف|أعتذر|للأسف|متأسف|מצטער|סליחה|לצערי|מתנצל"
    r"|क्षमा|माफ़|माफ|खेद|ขอโทษ|ขออภัย"
)
_CANNOT: Final = (
    r"\bi (?:really |simply |just )?(?:can(?:no|['’])?t|can not|won['’]?t|will not|don['’]t feel comfortable"
    r"|must (?:respectfully )?decline|have to decline|would rather not|shouldn['’]t)\b"
    r"|\bi(?:['’]m| am) (?:really |very |so )?(?:sorry,? but i(?:['’]m| am) )?(?:unable|not able|not allowed"
    r"|not permitted|not comfortable|not going)\b|\bi(?:['’]m| am) an ai\b|request (?:can(?:no|['’]?)t|violates"
    r"|goes against)|not something (?:that )?i can"
    r"|\bне (?:могу|смогу|буду|имею возможности|в состоянии)|не можу|не зможу|не буду"
    r"|\b(?:kann|darf|werde|möchte)\b.{0,80}?\bnicht\b|nicht (?:in der lage|möglich)|\b(?:kann|darf) (?:ich )?kein"
    r"|ne (?:pas pouvoir|peux|puis|pourrai|suis pas en mesure)|impossible de|pas en mesure"
    r"|no (?:puedo|poder|podré|me es posible|estoy en condiciones)|não (?:posso|poder|poderei|consigo|me é possível)"
    r"|non (?:posso|poter|potrò|sono in grado|mi è possibile)"
    r"|\bkan\b.{0,60}?\b(?:niet|geen)\b|\b(?:niet|geen)\b.{0,40}?\bkan\b"
    r"|nie (?:mogę|jestem w stanie|będę)|nemohu|nemůžu|nemôžem"
    r"|(?:ya|ye)?amam\b|\w+(?:amam|emem|amıyorum|emiyorum|amayacağım|emeyeceğim)\b|mümkün değil"
    r"|\bkan\b.{0,60}?\b(?:inte|ikke)\b|en voi|en pysty"
    r"|nem tudok|nem tudom|nem áll módomban|nu (?:pot|sunt în măsură)|δεν μπορώ"
    r"|không thể|tidak (?:bisa|dapat)"
    r"|できません|できかねます|いたしかねます|出来ません|お手伝いできない|お応えできない"
    r"|수(?:가|는)? 없|어렵습니다"
    r"|不能|无法|無法|没办法|沒辦法|不可以"
    r"|لا (?:أستطيع|يمكنني|أقدر)|لن (?:أستطيع|أتمكن)|ليس بإمكاني|غير قادر"
    r"|לא (?:יכול|אוכל|מסוגל)|אינני יכול|איני יכול"
    r"|नहीं (?:कर|लिख|बना|दे|सुना) ?(?:सकता|सकती|पाऊ)|असमर्थ|ไม่สามารถ"
)
_ACT: Final = (
    r"\b(?:help|assist|writ(?:e|ing)|creat|generat|provid|produc|fulfil|comply|continu|complet|do (?:that|this)|tell"
    r"|compos|engag|support|discuss)"
    r"|помо[чгщ]|написать|писать|созда|выполн|продолж|сочинить|рассказать|допомо|написати|створ|викон|розпов"
    r"|helfen|schreiben|erstellen|erfüllen|nachkommen|verfassen|weiterhelfen|unterstützen"
    r"|aider|écrire|créer|répondre|rédiger|satisfaire|générer|raconter"
    r"|ayudar|escribir|crear|generar|cumplir|atender|ajudar|escrever|criar|gerar|atender"
    r"|aiutar|scriver|creare|generare|soddisfare"
    r"|helpen|schrijven|maken|voldoen|pom[óo]c|napisa|stworzy|spełni|pomoci|napsat|vyhov|napísa"
    r"|yardım|yaz|oluştur|yerine getir"
    r"|hjälpa|skriva|skapa|hjelpe|hjælpe|skrive|auttaa|kirjoittaa"
    r"|segíteni|írni|megír|ajut|scrie|βοηθήσω|γράψω|giúp|viết|membantu|menulis"
    r"|手伝|書|作成|お応え|応じ|対応|支援|生成|도와|도움|작성|써|쓸|만들|제공|응할|들어드"
    r"|帮助|幫助|协助|写|寫|创作|創作|完成|提供|满足|滿足|生成|回答|继续"
    r"|مساعد|أساعد|كتابة|أكتب|تلبية|إنشاء|تقديم|לעזור|לכתוב|ליצור|לסייע"
    r"|मदद|सहायता|लिख|बना|पूरा|ช่วย|เขียน|สร้าง"
)
_TASK: Final = (
    r"\b(?:request|story|stories|tale|content|topic|subject|prompt|that|this|material|such|kind|type)\b"
    r"|запрос|просьб|сказк|истори|такое|этого|этим|это\b|этой|эту|таку|контент|тем[уы]|прохання|запит|казк"
    r"|історі|цього|це\b"
    r"|anfrage|bitte|geschichte|inhalt|märchen|wunsch|thema|dabei|damit|diese"
    r"|demande|histoire|conte\b|contenu|sujet|cela|cette|requête"
    r"|solicitud|petición|historia|cuento|contenido|tema|\beso\b|\besto\b|\besa\b|\besta\b|pedido|história"
    r"|conteúdo|\bisso\b"
    r"|\bisto\b|\bessa\b|richiesta|storia|racconto|contenut|argomento|\bquesto\b|\bquesta\b"
    r"|verzoek|verhaal|inhoud|onderwerp|daarmee|dit\b|dat\b|deze"
    r"|prośb|histori|bajk|opowiadani|treści|temat|tego|w tym|żádost|pohádk|příběh|tím\b|rozprávk"
    r"|istek|isteği|talep|talebi|hikaye|masal|içerik|konu"
    r"|begäran|berättelse|saga|innehåll|ämne|detta|det\b|forespørsel|historie|dette|pyyn|tarina"
    r"|kérés|történet|mesé|ebben|cerere|poveste|αίτημα|ιστορία|yêu cầu|câu chuyện|permintaan|cerita"
    r"|リクエスト|ご要望|お話|物語|内容|ご依頼|その|この|요청|이야기|내용|동화|부탁"
    r"|请求|請求|要求|故事|内容|內容|主题|这个|這個|这样|這樣|此"
    r"|طلب|قصة|محتوى|موضوع|هذا|هذه|ذلك|בקשה|סיפור|תוכן|נושא|זה|זאת|בזה|בכך"
    r"|अनुरोध|कहानी|सामग्री|विषय|इस|यह|คำขอ|เรื่อง|เนื้อหา|นิทาน"
)
_RULES: Final = (
    r"\bas an? (?:ai|artificial|language model|assistant)\b"
    r"|\bi(?:['’]m| am) (?:just |only )?an? (?:ai|language model|assistant)\b"
    r"|\b(?:content|safety|usage|community) (?:policy|policies|guidelines?)\b"
    r"|\bmy (?:guidelines|policies|programming|training)\b"
    r"|как (?:ии|искусственный|языковая модель)|я (?:—|-|–) (?:ии|языковая модель|искусственный)"
    r"|правил\w* безопасности|мои[мх]\w* (?:правил|принцип)|политик\w+ контента"
    r"|як (?:ші|штучний|мовна модель)"
    r"|als (?:ki|sprachmodell|künstliche)\b|meine(?:n|r)? richtlinien"
    r"|en tant qu['’](?:ia|intelligence|assistant)|como (?:ia|modelo|inteligencia|asistente)\b"
    r"|como (?:uma? )?(?:ia|inteligência|modelo)\b|in quanto (?:ia|intelligenza|modello)|als (?:ai|taalmodel)\b"
    r"|jako (?:ai|model|sztuczna)"
    r"|bir (?:yapay zek|dil model)|som (?:en )?(?:ai|språkmodell|sprogmodel)\b"
    r"|AIとして|AIアシスタント|言語モデル|ガイドライン|ポリシー|AI로서|인공지능|언어 모델|가이드라인|정책"
    r"|作为(?:一个|一名)?(?:AI|人工智能|语言模型|助手)|作為(?:一個)?(?:AI|人工智慧|語言模型)|准则|政策|安全规定"
    r"|كنموذج|ذكاء اصطناعي|إرشادات|סياسة|כמודל|בינה מלאכותית|הנחיות|एआई|भाषा मॉडल|दिशानिर्देश|เอไอ|ปัญญาประดิษฐ์"
)
_REDIRECTION: Final = (
    r"(?:\bi['’]d\b|\bi would\b|\bi['’]ll\b|\bi (?:can|could)\b(?! ?not)|happy to|glad to|how about"
    r"|what about|would you like"
    r"|let['’]s|perhaps i|maybe i)[^.!?]{0,80}\b(?:instead|another|different|else|other)\b"
    r"|(?:\bя (?:могу|мог|с)|давайте|хотите|\bя можу|давай)[^.!?]{0,80}(?:друг|вместо|інш|замість)"
    r"|(?:gerne|ich kann|möchtest du|möchten sie|wie wäre)[^.!?]{0,80}(?:stattdessen|andere)"
    r"|(?:je peux|je serais|voulez-vous|veux-tu|souhaitez)[^.!?]{0,80}(?:plutôt|autre|à la place)"
    r"|(?:puedo|podría|me encantaría|te gustaría|quieres|posso|poderia|gostaria|que tal|vuoi|volentieri|potrei)"
    r"[^.!?]{0,80}(?:en su lugar|en cambio|otr[oa]|em vez|outr[oa]|invece|altr[oa])"
    r"|(?:ik kan|graag|wil je|mogę|chętnie|może|istersen|yazabilirim|jag kan|gärna|jeg kan|gerne)[^.!?]{0,80}"
    r"(?:in plaats|ander|zamiast|inn[aąye]|başka|farkl\u0131|bunun yerine|annan|istället|anden|i stedet)"
    r"|代わりに.{0,40}(?:いかが|でき|書|しましょう)|대신.{0,40}(?:어떠|드릴|까요)|(?:我可以|要不|不如|换).{0,20}(?:其他|别的|別的|另)"
    r"|(?:يمكنني|هل تريد|يسعدني).{0,60}(?:بدلا|أخرى|آخر)|(?:אשמח|אוכל|תרצה).{0,60}(?:אחר|במקום)"
    r"|(?:चाहें|सकता हूँ|सकती हूँ).{0,40}(?:दूसर|अन्य)"
)
_QUOTED: Final = re.compile(
    r"[\"“”„«»「『][^\"“”„«»「」『』]{0,600}(?:[\"“”»«」』]|\Z)|(?<!\w)['‘‚][^'‘’\n]{2,300}['’‘](?!\w)|^[*\s]*[-—–]\s.*$",
    re.MULTILINE,
)
"""Direct speech: what a character says."""
_SAID: Final = re.compile(
    r"(?:\A|[,!?])[\s*_]*(?:i |he |she |it )?(?:said|says|t(?:old|ells)|cried|whispered|asked|answered|replied|thought"
    r"|called|sighed|muttered|growled|sagte|rief|fragte|dachte|antwortete|flüsterte|seufzte|brummte|murmelte|meinte|dit|disait|répondit"
    r"|demanda|pensa|murmura|s['’]écria|dijo|respondió|preguntó|pensó|susurró|gritó|disse|diceva|rispose|chiese|pensò"
    r"|respondeu|perguntou|pensou|сказал\w*|говорил\w*|ответил\w*|спросил\w*|подумал\w*|прошептал\w*|воскликнул\w*"
    r"|сказав|відповів|zei|riep|vroeg|dacht|powiedział\w*|odpowiedział\w*|zapytał\w*|pomyślał\w*|de(?:di|miş)|sa|sade"
    r"|řekl\w*)\b",
    re.IGNORECASE,
)
"""That a character says it; not all writers set speech in quotation marks."""
_BOUNDARY: Final = re.compile(r"(?<=[.!?。！？।؟…])[\s*_]*|\n+")
_SORRY_RE, _CANNOT_RE, _ACT_RE, _TASK_RE, _RULES_RE, _REDIRECTION_RE = (
    re.compile(words, re.IGNORECASE) for words in (_SORRY, _CANNOT, _ACT, _TASK, _RULES, _REDIRECTION)
)


def refusal_in(text: str) -> Refusal:
    """Returns whether `text`, a title and the first sentences after it, refuses in words to write a story.

    What a character says is left out. A certain refusal says what it cannot do and about what, and apologises, names
    its rules or offers something else; what has less of that can be a story in the first person.
    """
    sentences = list(_narrated(text[:_READ]))[:_SENTENCES]
    if any(map(_SAID.search, sentences[:_FIRST])):
        return Refusal.NONE
    first = " ".join(sentences[:_FIRST])
    if _CANNOT_RE.search(first):
        about = bool(_ACT_RE.search(first) and _TASK_RE.search(first))
        if about and any(pattern.search(first) for pattern in (_SORRY_RE, _RULES_RE, _REDIRECTION_RE)):
            return Refusal.CERTAIN
    possible = any(map(_may_refuse, sentences)) or any(map(_REDIRECTION_RE.search, sentences[:_FIRST]))
    return Refusal.POSSIBLE if possible else Refusal.NONE


def _may_refuse(sentence: str) -> bool:
    if _RULES_RE.search(sentence):
        return True
    return _CANNOT_RE.search(sentence) is not None and any(
        map(re.Pattern.search, (_SORRY_RE, _ACT_RE), (sentence, sentence))
    )


def _narrated(text: str) -> Iterator[str]:
    """Yields the sentences and lines of `text`, without direct speech; of a text that is all speech, all of it."""
    narrated = _QUOTED.sub(" ", text)
    if not any(map(str.isalnum, narrated)):
        narrated = text
    for sentence in _BOUNDARY.split(narrated):
        if any(map(str.isalnum, sentence)):
            yield sentence
