"""How models speak to the person who asked, in many languages: vocabularies of the shapes in `lines` and `opening`."""

from __future__ import annotations

import re
from typing import Final

# ruff: noqa: RUF001 - letters of many scripts

DRESS: Final = r"[\s#*_>`=~-]*+"
YES: Final = (
    r"(?:sure(?: thing)?|certainly|of course|absolutely|definitely|gladly|okay|ok|alright|great|wonderful"
    r"|with pleasure"
    r"|understood|here you go|got it|happy to|my pleasure|no problem"
    r"|конечно|разумеется|хорошо|отлично|с удовольствием|с радостью|держите|звісно|звичайно|із задоволенням"
    r"|gerne?|natürlich|selbstverständlich|klar|sehr gern|¡?claro(?: que sí)?|¡?por supuesto|¡?desde luego|con gusto"
    r"|bien sûr|avec plaisir|volontiers|certo|certamente|volentieri|com certeza|com prazer|zeker|natuurlijk|graag"
    r"|oczywiście|jasne|z przyjemnością|tabii(?: ki)?|elbette|بالطبع|بالتأكيد|حسنا|ज़रूर|बिल्कुल)"
)
HERE: Final = (
    r"(?:here(?:['’]s| is| it is| are| comes)|below is|this is|i['’]d (?:be (?:happy|glad|delighted)|love)"
    r"|i(?:['’]ve| have) (?:written|created|crafted|prepared)|i['’]ll|i['’]m (?:happy|glad|delighted)"
    r"|let me (?:tell|share)"
    r"|вот|ниже|ось|hier (?:ist|kommt|sind)|aquí (?:tienes|está|te|va)|voici|ecco|aqui está|hier is|oto|işte)"
)
WORK: Final = (
    r"\b(?:story|tale|continuation|сказк\w*|истори\w*|продолжени\w*|казк\w*|\w*geschichte\w*|\w*märchen|cuento"
    r"|historia"
    r"|histoire|conte|storia|fiaba|favola|história|conto|verhaal\w*|sprookje|bajk\w*|opowieś\w*|masal\w*"
    r"|hikaye\w*|قصة|حكاية|कहानी)\b"
)
COLON: Final = r"[:\uff1a][\s*_]*\Z"
UNSPACED_YES: Final = r"(?:好的|当然|没问题|はい|もちろん|承知|네|물론)"

ANNOUNCEMENT: Final = re.compile(rf"{DRESS}(?:{YES}|{HERE})\b[^\n]*{WORK}[^\n]*{COLON}", re.IGNORECASE)
PERHAPS: Final = re.compile(
    rf"[^\n]*{COLON}"
    rf"|{DRESS}(?:{YES}|{HERE})\b[^\n]*{WORK}[^\n]*(?:[.!\u2026]|\w)[\s*_)]*\Z"
    rf"|{DRESS}{YES}[\s*_]*[.!\u2026,]?[\s*_]*\Z|{DRESS}{UNSPACED_YES}",
    re.IGNORECASE,
)
RESUMING: Final = re.compile(
    rf"{DRESS}(?:{YES}[\s,.!\u2014-]+)?"
    r"(?:(?:here(?:['’]s| is| comes)|below is|continuing|i['’]ll continue)\b[^\n:]*"
    r"\b(?:story|tale|continuation)\b|the story continues"
    r"|(?:вот|ниже) (?:\w+ )?(?:продолжени\w+|окончани\w+|остаток|конец сказки)"
    "|продолжаю|продолжение|сказка продолжается"
    "|hier ist (?:die fortsetzung|der rest)|voici la suite|aquí (?:está|tienes) (?:la continuación|el resto))"
    rf"[^\n:.!?]*(?:{COLON}|[.!\u2026][\s*_]*\Z)",
    re.IGNORECASE,
)

TASK: Final = re.compile(
    r"(?P<sure>\b(?:the user|user['’]?s? (?:wants?|asks?|asked|request|prompt|needs)|prompt|word count"
    r"|bedtime stor\w+"
    r"|system message|instructions?|requirements?|constraints?|guidelines|target (?:audience|age|length)"
    r"|\d+[- ]words?"
    r"|let me (?:write|craft|plan|draft|count|brainstorm|create|come up|make sure)"
    r"|let['’]s (?:write|craft|draft|outline|create)"
    r"|(?:i|we)(?:['’]ll| will| should| need to| must| have to|['’]m going to| can| could| want to|['’]d)"
    r" (?:now |also |just |then )?(?:write|craft|create|include|ensure|structure|produce|output|incorporate"
    r"|draft|adapt)"
    r"|need to (?:write|craft|create|make sure|include|produce|output)|must (?:be|include|have|avoid|output|write)"
    r"|(?:the|a|my|this) (?:story|title|tale|narrative|plot|ending|tone|moral) (?:should|must|needs?|has to"
    r"|will|could|can|is to)"
    r"|final (?:answer|version|draft|output)|i['’]m (?:currently |now )?(?:focusing|thinking|crafting"
    r"|considering|working"
    r"|refining|exploring|developing|analyzing|planning|drafting)"
    r"|пользовател\w*|промпт\w*|количество слов|(?:мне |нам )?(?:нужно|надо|следует) (?:написать|придумать"
    r"|сделать|создать"
    r"|учесть|использовать|начать)|(?:сказка|история|название|текст) (?:должн\w+|будет)|напишу|користувач\w*"
    r"|потрібно (?:написати|створити)"
    r"|der (?:nutzer|benutzer)|die nutzerin|ich (?:muss|soll|sollte|werde|brauche)|(?:die geschichte"
    r"|der titel) (?:soll|muss)\w*"
    r"|wortzahl|el usuario|la usuaria|necesito|tengo que|debo|el (?:cuento|título) debe|l['’]utilisat\w+"
    r"|je (?:dois|vais)"
    r"|il faut (?:que|écrire|créer)|l['’]histoire doit|l['’]utente|devo|la storia deve|o (?:usuário|utilizador)"
    r"|preciso"
    r"|a história deve|de gebruiker|ik moet|het verhaal moet|użytkowni\w+|muszę|powinienem|kullanıc\w+)\b"
    r"|用户|用戶|我需要|我们需要|我要写|首先|字数|故事(?:需要|应该|要|应)|ユーザー|必要があ|物語を書|사용자|써야|작성해야|المستخدم|أحتاج|उपयोगकर्ता|मुझे\s\S+\sलिखन)"
    r"|(?P<soft>\b(?:let me (?:think|see|start|check|consider|break|figure)|let['’]s (?:think|start|make sure"
    r"|plan|count)"
    r"|(?:i|we)(?:['’]ll| will| should| need to| must| have to|['’]m going to| can| could| want to|['’]d)"
    r" (?:now |also |just |then )?(?:make|avoid|use|start|think|consider|aim|focus|begin|come up|give|weave"
    r"|adjust|add))\b)"
    r"|\b(?:stor(?:y|ies)|tales?|title|words?|narrative|plot|characters?|paragraphs?|moral|theme|tone|setting"
    r"|children|child"
    r"|kids?|year[- ]olds?|little one|request|idea|enjoy|cozy|cosy|gentle|soothing|bedtime|adventure|crafted|written"
    r"|you|your|i|i['’]d|i['’]ve|i['’]m|i['’]ll|hope|perfect|here|wind down|snuggle|settle"
    r"|сказк\w*|истори\w*|название|слов\w*|персонаж\w*|дет\w{1,3}|реб[её]н\w*|малыш\w*|вам|вас|для вас|надеюсь"
    r"|вот|казк\w*"
    r"|geschichte\w*|gutenachtgeschichte|märchen|titel|kinder\w*|wörter\w*|ihnen|dir|ich|hier"
    r"|cuento|historia|título|niñ\w+|palabras|aquí|espero|para ti|histoire|conte|titre|enfants?|mots|voici|vous"
    r"|storia|fiaba|favola|titolo|bambin\w+|parole|ecco|história|criança\w*|palavras|verhaal\w*|kinderen|woorden"
    r"|bajk\w*|dzieci\w*|słów|masal\w*|çocu\w+|kelime\w*)\b"
    r"|故事|标题|標題|孩子|睡前|希望|物語|お話|タイトル|子ども|이야기|제목|아이|قصة|عنوان|कहानी|शीर्षक",
    re.IGNORECASE,
)
"""Words about the task rather than of a story; those of `sure` are hardly ever in a story, those of `soft` rarely."""

_THINKING_NAME: Final = (
    r"(?:(?:my|the|a|initial|step[- ]by[- ]step|internal|story|chain of) )*"
    r"(?:thinking|thoughts?|reasoning|analysis|analy[sz]ing|planning|plan|outline|brainstorm(?:ing)?|thought process"
    r"|scratchpad|commentary|мысли|размышления|рассуждени[ея]|анализ|план|überlegung(?:en)?|gedanken|analyse|planung"
    r"|pensamientos?|razonamiento|análisis|réflexions?|raisonnement|ragionamento|raciocínio|思考|思考过程|推理|分析|계획|생각)"
    r"(?: (?:process|steps?|out loud|the request|phase|notes))?"
)
THOUGHT: Final = re.compile(
    rf"{DRESS}(?P<named>{_THINKING_NAME}[\s*_]*(?:[:\uff1a.\u2026]+|[\s*_]*\Z)"
    r"|(?:\d[.)]\s*)?\**(?:analy[sz]|craft|draft|consider|explor|refin|develop|plann|outlin|construct|structur"
    r"|formulat|defin"
    r"|understand|examin|review|shap|brainstorm|initiat|clarify|interpret|assess|evaluat|finali[sz]|focus|fram"
    r"|conceptuali[sz]"
    r"|generat|compos|envision)ing (?:\w+ )?(?:the |a |my |on )?(?:[\w'’]+ ){0,2}"
    r"(?:request|narrative|story|prompt|task|tale|plot|user|response|draft|constraints|structure|outline|title"
    r"|details|theme)\b)"
    rf"|{DRESS}(?:okay|ok|alright|all right|hmm+|so|well|right|now|first|firstly|let me|let['’]s|i need"
    rf"|i should|i have to|i must"
    r"|i want to|i['’]ll|i will|i['’]m|we need|we must|we should|we have|we are|we['’]re|need|must|the task"
    r"|my task|this is a"
    r"|goal|task|user|the user|the request|the prompt"
    r"|итак|хорошо|ладно|так|сначала|давай\w*|мне|нужно|надо|пользовател\w+|отже|добре|користувач\w*"
    r"|also|gut|zuerst|zunächst|lass|der nutzer|der benutzer|ich|bien|vale|de acuerdo|bueno|primero|el usuario"
    r"|necesito|tengo"
    r"|debo|d['’]accord|bon|alors|l['’]utilisat\w+|je|il faut|d['’]abord|va bene|allora|l['’]utente|devo"
    r"|o usuário|preciso"
    r"|de gebruiker|ik|użytkownik|muszę|dobrze|tamam|kullanıcı|peki)\b"
    r"|(?:好的?，|嗯|用户|用戶|首先|我需要|我们需要|まず|ユーザー|사용자|먼저|المستخدم|حسنا|उपयोगकर्ता)",
    re.IGNORECASE,
)
PLAN: Final = re.compile(
    r"[\s>*_#\d.)-]*(?:title|characters?|setting|plot|theme|moral|beginning|middle|end|ending|tone|length"
    r"|structure|conflict"
    r"|problem|resolution|age|audience|opening|climax|style|format|paragraph \d+|draft|revised|option \d|goal"
    r"|constraints?"
    r"|название|персонажи|сюжет|тема|мораль|начало|середина|конец|titel|figuren|handlung|título|personajes"
    r"|trama)\s?(?:\w+\s?){0,2}\**[:\uff1a]",
    re.IGNORECASE,
)
"""A line of a plan of a story."""

# A sentence is for the person who asked where it begins as one of these and speaks of the story, or of changes to it.
_HOPE: Final = (
    r"(?:i |we )?(?:really |truly |sincerely )?hope(?:fully)?|(?:ich )?hoffe(?:ntlich)?|espero que|j['’]espère"
    r"|spero che|надеюсь|сподіваюся|(?:ik )?hoop|mam nadzieję|umarım|hoppas|håber|håper|toivottavasti|remélem"
    r"|sper că|semoga"
    r"|hy vọng|ελπίζω|doufám|dúfam"
)
_ENJOY: Final = (
    r"\b(?:story|tale|enjoy\w*|liked|loved|(?:likes?|loves?) (?:it|this)(?=\W*\Z)|this helps|perfect|сказк\w*"
    r"|истори\w*"
    r"|понрав\w+|казк\w*|сподоба\w+|\w*geschichte\w*|märchen|gefäll\w*|gefallen|freude|cuento|historia|gust\w+"
    r"|disfrut\w+|histoire|conte|plai\w+|plaî\w+|plu|aim\w+|storia|piac\w+|fiaba|história|conto|gost\w+|verhaal\w*"
    r"|geniet\w*|podoba\w*|spodoba\w*|bajk\w*|beğen\w*|masal\w*|saga\w*|gilla\w*|historien?|\w*tarina\w*|mese\w*"
    r"|povest\w+|cerita\w*|câu chuyện|ιστορία|pohádk\w+|rozprávk\w+)\b"
)
_OFFER: Final = (
    r"(?:please |just )?(?:let me know|tell me|say the word|feel free to)|(?:if|should) you|(?:would|do|did) you"
    r"|(?:shall|should|can|may) i|want|need|you can|is there|what did you|please"
    r"|i(?:['’](?:d|ll)| would| will| can| could)"
    r"|(?:i(?: am|['’]m) (?:always |more than )?)?happy to"
    r"|дай(?:те)? (?:мне )?знать|сообщите|если|хотите|хочешь|(?:я )?могу|дайте знати|якщо|хочете"
    r"|lass(?:en sie|t)? (?:es )?mich|sag(?:en sie)? mir|möchte(?:st du|n sie)|würde(?:st du|n sie)"
    r"|brauch(?:st du|en sie)|soll ich|wenn (?:du|sie)|ich kann|hazme saber|av[ií]same|dime|¿?(?:quiere|te gustaría"
    r"|le gustaría|desea)s?|si"
    r"|no dudes?|puedo|n['’]hésite[sz]? pas|(?:fais|faites)-(?:le-)?moi|(?:dis|dites)-moi|veux-tu|voulez-vous"
    r"|souhaite[sz]-(?:tu|vous)|aimer(?:ais-tu|iez-vous)|besoin|fammi sapere|vuo(?:i|le) che|ti piacerebbe"
    r"|hai bisogno|se|posso|me avis[ea]|avisa-me|diga-me|gostaria|quer(?:es)?"
    r"|laat (?:het )?me|wil je|zal ik|als je|daj(?:cie)? (?:mi )?znać|czy|jeśli|bana|isterse(?:n|niz)"
    r"|(?:よろしければ|もし)|هل|إذا|(?:अगर|यदि|क्या) आप"
)
_CHANGE: Final = (
    r"\b(?:stor(?:y|ies)|tales?|sequels?|versions?|illustrations?|another one|different ending|more details"
    r"|(?:want|for) more|(?:like|want|you) me to|change(?=\W*\Z)|changes|another(?=\W*\Z)|adjust\w*|revis\w+"
    r"|tweak\w*|tone|feedback"
    r"|(?<!no )(?:longer|shorter)|else|customi[sz]e|personali[sz]e|(?:adapt|change|replace) (?:it|the)|you think"
    r"|ask|сказк\w*|истори\w*|продолжени\w*"
    r"|казк\w*|напи[шс]\w*|измени\w*|ещё одн\w|\w*geschichte\w*|märchen|ä?nder\w*|anpass\w*|fassung|schreib\w*"
    r"|erzählen|cuento|historia|histoire|conte|storia|racconto|fiaba|favola|história|conto|versi[oó]n\w*|versão"
    r"|modifi\w+|chang(?:er|é\w*|ements?)|cambi\w*|adapt(?:ar|er|o)|escrib\w+|escrev\w+|scriv\w+|écri\w+"
    r"|verhaal\w*|schrijv\w*|aanpass\w*|bajk\w*|histori\w*|opowie\w*|napi(?:sz|sa)\w*|więcej|zmieni\w*|masal\w*|hikaye\w*)\b"
    r"|お話|物語|書け|書き|قصة|القصة|تعديل|أكتب|أخبرني|कहानी|लिख"
)
CLOSING: Final = re.compile(
    rf"{DRESS}[(\[]?[^\w\s\"'“”«»„‘’—–.,;:!?…¿¡()\[\]]*+\s*+¡?(?:"
    rf"(?:{_HOPE})\b[^\n.!?]*{_ENJOY}|(?:{_OFFER})(?:\b|(?<=[ばし]))[^\n.!?。！？؟]*(?:{_CHANGE})"
    r"|(?:please )?let me know(?: what you think)?[!.]*\s*\Z|what do you think\?\W*\Z|was (?:this|that) helpful\?"
    r"|i(?:['’]ve| have)? (?:tried|aimed|made sure|kept|included|used|wrote|written)\b"
    r"(?=[^\n.!?]*\b(?:story|tale|language|tone|moral|themes?|vocabulary|sentences)\b)"
    r"[^\n.!?]*\b(?:gentle|simple|short|sooth\w+|calm\w*|\w*appropriate|suitable|words?|old|positive|requested)\b"
    r"|(?:story |text |this story was |this was )?(?:(?:generated|written|created) by (?:an? )?(?:ai\b|chatgpt|gpt"
    r"|claude|gemini|llama|openai)|ai[- ]generated)"
    r"|thanks? (?:you )?for (?:reading\b|your (?:request|question|prompt|interest|patience))"
    r"|(?:enjoy|happy (?:reading|storytelling|story ?time))(?: (?:the|this|your) (?:story|tale|reading))?\s*[.!]"
    r"|this (?:short |bedtime |little |gentle )*(?:story|tale|version|narrative) (?:teaches|aims|is (?:designed"
    r"|intended|suitable|perfect for|meant|about \d|approximately|roughly|around)|was (?:designed|crafted"
    r"|written for)"
    r"|runs|contains|has (?:about|approximately|\d|an? (?:gentle|soothing|calm|happy|positive|clear))"
    r"|can be (?:adapted|adjusted|read)|emphasi[sz]es|incorporates|features|includes|highlights|follows)"
    r"|приятного чтения|приємного читання|viel (?:spaß|freude) beim (?:vor)?lesen|bonne lecture|buona lettura"
    r"|boa leitura|miłej lektury|keyifli okumalar"
    r"|(?:如果|您|你|需要我|要不要我|我(?:还|也)?可以)[^\n。！？]*(?:故事|版本|修改|再写|再讲|告诉我)"
    r"|希望[^\n。！？]*(?:喜欢|喜歡|满意|故事)|请(?:告诉|随时)"
    r"|[^\n。「]{0,12}(?:気に入って|楽しんで)(?:いただ|もら|くれ)|(?:ご希望|ご要望|ご質問)|お気軽に|いかがでしたか"
    r"|(?:이 )?(?:이야기|동화)[가를]?[^\n.]{0,20}(?:바랍니다|바라요|좋겠)"
    r"|[^\n.\"“]{0,20}(?:원하시면|필요하시면|말씀해\s?주세요|알려\s?주세요|드릴까요)"
    r"|(?:آمل|أتمنى) أن[^\n.!؟]*(?:قصة|تعجب|أعجب|استمتع)|لا تتردد"
    r"|(?:मुझे )?(?:आशा|उम्मीद) है[^\n.!?।]*(?:कहानी|पसंद)|मुझे (?:बताएं|बताइए)"
    r"|(?:approx(?:imately|\.)? |about |total |~ ?)?(?:word count\b|\d+ words\b\)?\s*\Z)|количество слов\b"
    r"|\d+ слов\w?\)"
    r")",
    re.IGNORECASE,
)
THE_END: Final = re.compile(
    r"[\W_]*(?:the end|end|end of (?:the |this )?(?:story|tale|response|answer|text)|fin|ende|koniec"
    r"|конец(?: сказки)?|кінець|おしまい|完|끝"
    r"|fine|fim|einde|son|النهاية|समाप्त|全文完|剧终|la fin|el fin|#\w+(?:\s+#\w+)*)[\W_]*\Z",
    re.IGNORECASE,
)
FAREWELL: Final = re.compile(
    r"[^\w\"'“”«»„‘’「—–-]*(?:sleep (?:tight|well)|(?:good )?night[- ]?night|good ?night|sweet dreams|how (?:was|is"
    r"|does) (?:that|this)|спокойной ночи"
    r"|сладких снов|пусть [^.!?]{0,20}снятся|на добраніч|gute nacht|schlaf(?:t)? gut|träum(?:t)? (?:süß|schön)"
    r"|bonne nuit|fais(?:tes)? de beaux rêves|buenas noches"
    r"|dulces sueños|buona ?notte|sogni d['’]oro|boa noite|bons sonhos|welterusten|slaap lekker|dobranoc"
    r"|iyi geceler|晚安|おやすみ|잘 자)[^\n]{0,60}\Z",
    re.IGNORECASE,
)
"""A wish that belongs to the story unless words to the person who asked follow it."""

# Labels of what models add behind a story: a summary or a moral, notes, sources, questions.
_ENGLISH: Final = (
    r"(?:(?:here is |here['’]s |in )?(?:a |the )?(?:short |brief |quick |final )?(?:(?:two|2)[- ]sentence )?"
    r"(?:story |plot |sequel )?(?:summary|synopsis|recap|moral)|tl;dr)"
)
_ENGLISH_OF: Final = r"(?: (?:of|for|in) (?:[\w-]+ ){0,3}(?:story|tale|sequels?|writers?|sentences)(?: is)?)?"
_SPACED: Final = (
    "(?:(?:краткое |короткое )(?:содержание|изложение|резюме|описание)|краткая сводка|(?:краткий |короткий )пересказ"
    "|(?:стислий |короткий )зміст|(?:kurze |kurz)?(?:zusammenfassung|inhaltsangabe)|(?:court |bref )?résumé"
    "|(?:breve )?(?:resumen|resumo|riassunto|sinopsis|sinopse)|(?:korte )?samenvatting|(?:krótkie )?streszczenie"
    "|(?:kort )?sammanfattning|(?:k\u0131sa )?özet|الملخص|ملخص|תקציר|सारांश|moral(?:e|eja)?)"
)
_SPACED_OF: Final = r"(?: [^\s:\uff1a.!?]+){0,4}"
# Everyday words of Russian: only what says that they speak of a story may stand between them and the colon.
_EVERYDAY: Final = "(?:содержание|изложение|мораль|резюме|пересказ|(?:краткий |короткий )?итог|кратко|вкратце)"
_EVERYDAY_OF: Final = (
    r"(?: (?:(?:этой )?(?:сказки|истории)|рассказа|для (?:[\w-]+ )?(?:продолжения|сказки|истории)"
    "|в двух предложениях))?"
)
# Written without blanks, so that what it is of stands before it.
_UNSPACED: Final = (
    r"[^\s:\uff1a\u3002\uff0c\u3001()\[\]]{0,8}"
    "(?:摘要|概要|总结|總結|梗概|あらすじ|要約|요약|줄거리)"
)
_NOTES: Final = (
    r"(?:(?:author['’]?s?|writer['’]?s?|story|parent(?:s|al)?|teacher|quick|side|additional"
    r"|final) )?notes?(?: (?:for|to|on) [\w ]{2,30})?"
    r"|(?:sources?|references?|citations?|bibliography|footnotes|works cited|further reading|disclaimer"
    r"|glossary|vocabulary(?: words)?)"
    r"|(?:(?:discussion|follow[- ]up|comprehension|reflection|related) )?questions|(?:hash)?tags"
    r"|questions (?:to|for) (?:[\w ]{2,30})"
    r"|talking points"
    r"|(?:key )?(?:themes?|takeaways?|lessons?)(?: (?:of|learned)[\w ]{0,20})?|about (?:this|the) story"
    r"|(?:estimated )?reading (?:time|level)"
    r"|age (?:range|group)|(?:suggested )?(?:illustration|image)s?(?: (?:ideas|prompts?))?|keywords"
    r"|tips for (?:[\w ]{2,30})"
    r"|примечани[ея]|источники?|ссылки|вопросы для обсуждения|примітк[аи]|джерела|(?:an)?merkung(?:en)?"
    r"|anmerkung(?:en)?|hinweis|quellen(?:angaben?)?"
    r"|notas?(?: (?:del autor|para [\w ]{2,30}))?|fuentes|referencias|remarques?|fontes|referências|fonti"
    r"|riferimenti|note per [\w ]{2,30}"
    r"|bronnen|opmerking|źródła|uwag[ai]|kaynak(?:lar|ça)|notlar?|注|注释|备注|来源|参考(?:资料|来源|文献)|出典|参考文献|ソース|메모|출처"
    r"|참고(?:문헌)?|ملاحظة|المصادر|नोट|स्रोत"
)
_NAME: Final = rf"(?:{_ENGLISH}{_ENGLISH_OF}|{_SPACED}{_SPACED_OF}|{_UNSPACED}|{_EVERYDAY}{_EVERYDAY_OF}|{_NOTES})"
LABEL: Final = re.compile(
    rf"{DRESS}[(\[\uff08\u3010]?[\s*_]*"
    rf"(?:{_NAME}(?:\s?\([^:)\n]{{1,40}}\))?[\s*_`]*(?:[:\uff1a)\]\uff09\u3011]|(?P<heading>[=-]*\Z))"
    rf"|(?:{_ENGLISH}|{_SPACED})[\s*_`]+[-\u2013\u2014]\s)[\s*_`:\uff1a]*",
    re.IGNORECASE,
)

_MEASURE: Final = (
    r"(?:\bage[sd]?\b|\byears?\b|\breading\b|\bread(?:ing)? time\b|\bminutes?\b|\bmins?\b|\bwords?\b|\blength\b"
    r"|\bduration\b"
    r"|возраст\w*|\bлет\b|минут\w*|\bслов\w?\b|\balter\b|\bjahren?\b|lesezeit|minuten|wörter|\bedad\w*|\baños\b"
    r"|minutos|palabras|lectura"
    r"|\bâge\b|\bans\b|lecture|\bmots\b|\bannos?\b|\banni\b|minuti|parole|\banos\b|palavras|\bjaar\b|woorden"
    r"|\blat\b|słów|\byaş\w*|dakika|kelime"
    r"|岁|歲|分钟|字|歳|分|세|분)"
)
ABOUT_LENGTH: Final = re.compile(
    rf"[\s*_#>-]*+(?:[(\[](?=[^\n]*{_MEASURE})(?=[^\n]*\d)[^()\[\]]{{2,80}}[)\]]"
    rf"|(?=[^:\uff1a\n]*{_MEASURE})[\w ]{{2,30}}[*_ ]*[:\uff1a][*_ ]*(?=[^\n]*\d)[^\n.!?]{{1,50}}"
    r"|(?:for )?(?:children |kids )?(?:aged?|ages) \d[\d\s\u2013-]*(?:years?(?: old)?)?|~?\d+[- ](?:minutes?"
    r"|words?|min)(?: read(?:ing)?)?(?: time)?)"
    r"[.\s*_]*\Z",
    re.IGNORECASE,
)
"""An age, a reading time or a number of words, alone in a line."""

MACHINE: Final = (
    r"(?:assistant|ai(?: assistant)?|chatbot|bot|chatgpt|gpt|model|response|answer|output|final(?: answer)?"
    r"|ассистент|assistent|asistente|助手|助理"
    r"|アシスタント)"
)
ROLE: Final = (
    rf"(?:{MACHINE}|user|human|system|instruction|input|question|prompt|пользователь|benutzer|nutzer|usuario"
    rf"|utilisateur"
    r"|用户|用戶|ユーザー|사용자)"
)
STORY_LABEL: Final = re.compile(
    rf"{DRESS}(?:\d[.)]\s*)?(?:(?:the|your|my|a|full|short|complete|bedtime|once the) )*(?:stor(?:y|ie)|tale"
    rf"|narrative|text"
    rf"|full text"
    r"|bedtime story|(?:die |deine )?(?:geschichte|gutenachtgeschichte|erzählung)|(?:el |un )?(?:cuento"
    r"|historia|relato)|(?:l['’])?histoire|récit"
    r"|(?:la )?storia|racconto|história|verhaal|opowieść|bajka|masal|hikaye|сказка|история|рассказ|текст|казка"
    r"|故事|正文|物語|お話|이야기|본문"
    r"|القصة|कहानी)"
    r"(?: (?:for|about|text|begins|starts)\b[^\n:]{0,30})?[\s*_]*(?:[:\uff1a][\s*_]*+(?:[|>][+-]?\s*)?(?=\Z"
    r"|(?-i:[\"“«A-ZЀ-ЯÀ-Þ\u0600-\U0010ffff]))|\Z)[\s*_]*",
    re.IGNORECASE,
)
CHAPTER: Final = re.compile(
    rf"{DRESS}(?:chapter|part|kapitel|teil|capítulo|parte|chapitre|partie|capitolo|hoofdstuk|rozdział|bölüm"
    rf"|глава|часть|розділ|scene|act|day"
    r"|page|prologue|epilogue|第|\d|[IVX]+\b)",
    re.IGNORECASE,
)
QUESTION: Final = re.compile(
    rf"(?=[^\n]*(?:{WORK}|故事|お話|物語|이야기|동화|قصة|कहानी))"
    r"(?=[^\n]*(?:\b(?:you|your|du|dir|sie|ihnen|te|tu|vous|ti|vuoi|quer|gostaria|вам|вы|вас|ты|тебе|вам|je|jij|ci"
    r"|chcesz"
    r"|ister|sana)\b|你|您|か|요|هل|आप))"
    r"[^\"“”«»„‘「『\n]{4,160}[?？؟][\W_]*\Z",
    re.IGNORECASE,
)
"""A question about a story: in a paragraph of its own at the end of an answer it is for the person who asked."""
