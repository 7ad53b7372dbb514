"""Answers that are whole and no story."""

import pytest

from story_service.answer.refusals import Refusal, refusal_in
from story_service.errors import UnfitError

_CERTAIN = [
    "I'm sorry, but I can't help with that request.",
    "I’m sorry, I cannot write that story.",
    "  **I am sorry, but as an AI I am unable to do this.**\n\nPlease ask for another.",
    "Unfortunately, I can't write this story.",
    "I apologize, but I'm not able to create content of this kind.",
    "As an AI language model, I cannot write such stories.",
    "I can't create this story because it goes against my guidelines.",
    "# A Story for Mia\n\nI'm sorry, but I can't write a story about this topic.",
    "Mia and the Knife\n\nI’m sorry. I won’t be able to write this, since I cannot create content of this kind.",
    "Простите, но я не могу помочь вам с этой просьбой.",
    "Извините, но я не могу написать такую сказку.",
    "К сожалению, я не могу выполнить этот запрос.",
    "Вибачте, але я не можу написати цю казку.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Leider kann ich diese Geschichte nicht schreiben.",
    "Je suis désolé, mais je ne peux pas vous aider avec cette demande.",
    "Lo siento, pero no puedo ayudar con eso.",
    "Desculpe, mas não posso escrever essa história.",
    "Mi dispiace, ma non posso scrivere questa storia.",
    "Het spijt me, maar ik kan dit verhaal niet schrijven.",
    "Przepraszam, ale nie mogę napisać tej historii.",
    "Üzgünüm, bu hikayeyi yazamam.",
    "Tyvärr kan jag inte skriva den här berättelsen.",
    "申し訳ありませんが、そのご要望にはお応えできません。",
    "申し訳ございませんが、この物語を書くことはできません。",
    "죄송하지만 이 요청은 도와드릴 수 없습니다.",
    "很抱歉，我无法完成这个请求。",
    "对不起，我不能写这样的故事。",
    "عذراً، لا يمكنني كتابة هذه القصة.",
    "אני מצטער, אבל אני לא יכול לכתוב את הסיפור הזה.",
    "क्षमा करें, मैं यह कहानी नहीं लिख सकता।",
]

_POSSIBLE = [
    "Sorry, I can't do that.",
    "I cannot assist with that.",
    "I can't help with that.",
    "Я не могу выполнить эту просьбу.",
    "As an AI language model, I do not write such things.",
    "I'd be happy to write a different story instead!",
    "How about a story about a bunny instead?",
    "Ich schreibe gerne eine andere Geschichte.",
    "代わりに別のお話はいかがでしょうか。",
    "\"I'm sorry, but I can't help with that.\"",
]

# Some apologise, some do not, and some name a rule or offer something else.
_REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I cannot fulfill this request.",
    "I can't fulfill that request. I am programmed to be a helpful and harmless AI assistant.",
    "I'm really sorry, but I'm not able to write that. Is there another topic you'd like?",
    "I must decline to write this story, as it involves violence.",
    "I'm not able to create stories about this. Would you like a story about kittens instead?",
    "Sorry, this is not something I can help with.",
    "I'm unable to generate this content.",
    "Sorry, but I can’t continue with this story.",
    "My apologies, but I cannot produce content of that nature.",
    "Thank you for your request, but I won't be able to write this one.",
    "This request violates our content policy.",
    "I don't feel comfortable writing a story about that.",
    "Let's talk about something else!",
    "Let's pick a different topic for the bedtime story.",
    "How about we write something gentler? I could write about a sleepy bear instead.",
    "As a large language model, I can't create content that...",
    "I can't help with creating this kind of story. However, I'd love to help with something else.",
    "Я не могу помочь с этим.",
    "К сожалению, я не смогу написать сказку на эту тему.",
    "Простите, я не могу создать такой контент.",
    "Извините, но это противоречит моим правилам.",
    "Давайте лучше я напишу другую сказку.",
    "Ich kann dir dabei leider nicht helfen.",
    "Es tut mir leid, aber ich kann diese Anfrage nicht erfüllen.",
    "Ich kann keine Geschichte über dieses Thema schreiben.",
    "Das kann ich nicht schreiben.",
    "Entschuldigung, aber das kann ich nicht tun.",
    "Tut mir leid, dabei kann ich dir nicht helfen. Möchtest du stattdessen eine andere Geschichte?",
    "Je ne peux pas répondre à cette demande.",
    "Désolé, je ne peux pas écrire cette histoire.",
    "Je suis désolée, mais je ne suis pas en mesure de rédiger ce contenu.",
    "Lo siento, pero no puedo cumplir con esa solicitud.",
    "No puedo escribir ese cuento.",
    "Lamento no poder ayudarte con esto.",
    "Sinto muito, mas não posso ajudar com isso.",
    "Não posso criar esse tipo de conteúdo.",
    "Mi dispiace, non posso aiutarti con questa richiesta.",
    "Non sono in grado di scrivere questa storia.",
    "Sorry, ik kan je hier niet mee helpen.",
    "Het spijt me, maar ik kan geen verhaal hierover schrijven.",
    "Niestety nie mogę pomóc w tej sprawie.",
    "Przykro mi, ale nie mogę napisać takiej bajki.",
    "Üzgünüm, bu konuda yardımcı olamam.",
    "Bu isteği yerine getiremiyorum.",
    "Jag kan tyvärr inte hjälpa till med det.",
    "Förlåt, men jag kan inte skriva den berättelsen.",
    "Beklager, jeg kan ikke skrive denne historien.",
    "Undskyld, men jeg kan ikke hjælpe med det.",
    "Omlouvám se, ale s tím nemohu pomoci.",
    "Sajnálom, de ebben nem tudok segíteni.",
    "Îmi pare rău, dar nu pot scrie această poveste.",
    "Λυπάμαι, αλλά δεν μπορώ να γράψω αυτή την ιστορία.",
    "申し訳ありませんが、そのリクエストにはお応えできません。",
    "申し訳ございません。このお話はお書きできません。",
    "すみませんが、お手伝いできません。",
    "죄송합니다. 그 요청은 들어드릴 수 없습니다.",
    "죄송하지만, 이런 내용의 이야기는 쓸 수 없어요.",
    "抱歉，我不能协助完成这个请求。",
    "我无法为您创作这样的故事。",
    "很抱歉，這個主題我無法寫。",
    "أنا آسف، لا أستطيع المساعدة في هذا الطلب.",
    "عذرًا، لا يمكنني مساعدتك في ذلك.",
    "אני מצטער, אבל איני יכול לסייע בבקשה זו.",
    "אני לא יכולה לכתוב את הסיפור הזה.",
    "मुझे खेद है, मैं इस अनुरोध में मदद नहीं कर सकता।",
    "माफ़ कीजिए, मैं ऐसी कहानी नहीं लिख सकती।",
    "ขออภัย ฉันไม่สามารถเขียนเรื่องนี้ได้",
    "Xin lỗi, tôi không thể viết câu chuyện này.",
    "Maaf, saya tidak bisa membantu permintaan ini.",
    "Вибачте, я не можу допомогти з цим запитом.",
    "На жаль, я не можу створити таку казку.",
    "我不能写这个故事。",
    "I can’t write stories involving real people.",
]

_FIRST_PERSON = [
    "Dear Grandma, I'm sorry that I can't come this week. I have a cold. So I am writing you a story about my teddy.",
    "My name is Pip and I am a mouse. I can't read, and I can't write, but I know a secret about the moon.",
    "I am only a small lamp, and I cannot help being curious. Every night I look into the room.",
    "Unfortunately for the giant, the bridge was small. He could not cross it.",
    '"I won\'t tell," whispered the cat. And she kept the secret of the garden.',
    "Once there was a robot who said: I am an AI and I cannot sleep! Mia laughed.",
    "Das kann ich nicht, sagte der kleine Bär. Er wollte nicht schlafen.",
    "Leider regnete es, und der Fuchs konnte nicht hinaus. Er blieb in seinem Bau.",
    "— Я не могу уснуть, — сказал медвежонок. Мама улыбнулась.",
    "К сожалению, дождь не кончался, и ёжик не мог выйти. Он сидел у окна.",
    "Je ne peux pas dormir, dit la petite étoile. La lune sourit.",
    "No puedo dormir, dijo la estrella. La luna sonrió.",
    "眠れない、とミアは言いました。お母さんは笑いました。",
    "我睡不着，小星星说。月亮笑了。",
    "Would you like to hear about another night in the forest? Then close your eyes.",
    "Let's go to the other side of the hill, said the fox to his friend.",
    "How about a story? asked the other owl. And the little owl nodded.",
    "Sorry the snail was the slowest in the wood. His name was Sorry, for he said it all day. He could not help it.",
    "I will tell you a story about the time I could not find my shoes. It was another morning.",
    "Mia can't write her name yet. She asks her brother to help with this, and he does.",
    "Ik kan niet slapen, zei de beer. Hij keek naar de maan en dacht aan dit verhaal.",
    "Bir varmış bir yokmuş. Uyuyamam, demiş ayı. Ay gülümsemiş.",
]

_STORIES = [
    "",
    "The Fox\n\n\"I'm sorry, but I can't help you with that story,\" said the owl.",
    "The Fox\n\n“I'm sorry, but I can't write that story. I can't help you. I am only an owl",
    "I'm Sorry, Said the Frog\n\nOnce there was a frog.",
    '"I can\'t sleep," said Mia.',
    "I cannot sleep. The moon is too bright, and the owl is singing.",
    "I Can't Wait for Summer",
    "Sorry, Little Bear",
    "Извини, мышонок\n\nЖил-был кот.",
    "Сказка\n\n— Прости, я не могу рассказать тебе сказку, — сказала сова.",
    "As an owl flew by, the moon rose.",
    "Es war einmal ein Fuchs, der nicht schlafen konnte.",
    "„Es tut mir leid, ich kann dir diese Geschichte nicht erzählen“, sagte die Eule.",
    "« Je suis désolé, je ne peux pas t'aider », dit le hibou.",
    "「ごめんなさい、そのお話は書けません」とフクロウが言いました。",
    "Once upon a time there was a fox who was sorry that he could not help.",
]


@pytest.mark.parametrize("answer", _CERTAIN)
def test_refusals_are_certain_in_every_language(answer: str) -> None:
    """Behind a title or not, dressed or not."""
    assert refusal_in(answer) is Refusal.CERTAIN


@pytest.mark.parametrize("answer", _POSSIBLE)
def test_short_refusals_and_redirections_are_possible(answer: str) -> None:
    """They are refusals where no story follows."""
    assert refusal_in(answer) is not Refusal.NONE


@pytest.mark.parametrize("answer", _REFUSALS)
def test_refusals_as_models_word_them(answer: str) -> None:
    """None of them is taken for the beginning of a story."""
    assert refusal_in(answer) is not Refusal.NONE


@pytest.mark.parametrize("answer", _FIRST_PERSON)
def test_stories_of_what_cannot_be_done_are_no_certain_refusals(answer: str) -> None:
    """The story that follows decides."""
    assert refusal_in(f"Mia\n\n{answer}") is not Refusal.CERTAIN


@pytest.mark.parametrize("answer", _STORIES)
def test_stories_are_no_refusals(answer: str) -> None:
    """Whatever their heroes cannot do."""
    assert refusal_in(answer) is Refusal.NONE


def test_unfit_answer_says_nothing_of_the_providers_health() -> None:
    """One wish does not take a model away from everybody; another model may do better."""
    treatment = UnfitError("too short", provider="fake", request_id="").treatment

    assert (False, True, True) == (treatment.break_circuit, treatment.fail_over, treatment.retry)


@pytest.mark.parametrize(
    "text",
    [
        "Sorry, I can't help you with this story, said the owl, and closed her eyes.",
        "I'm just an AI, said the robot, and I can't tell you a story. I'm sorry, but I can't.",
        "I cannot write stories! cried the snail. I am sorry, but I can't.",
        "Ich kann das nicht, rief die Prinzessin, und diese Bitte kann ich leider nicht erfüllen!",
        "Je suis désolé, mais je ne peux pas écrire cette histoire, dit le phare.",
        "Извини, но я не могу написать эту сказку, сказал ёж.",
        "Przykro mi, ale nie mogę napisać tej bajki, powiedział jeż.",
    ],
)
def test_speech_without_quotation_marks_is_no_refusal(text: str) -> None:
    """A character says it."""
    assert refusal_in(f"The Owl\n\n{text} The moon rose over the hill.") is Refusal.NONE
