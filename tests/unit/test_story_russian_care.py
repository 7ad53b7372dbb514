"""The embedded writer in Russian: what is safe, what is understood, what fits the age, and what is new each night."""

import re
from importlib import resources

import pytest

from offline_writer import OfflineBrief, OfflineWriter, Outline
from offline_writer.stock import load

WRITER = OfflineWriter()
STOCK = load(resources.files("offline_writer.russian") / "stock")
UNSAFE = """убить всех плохих|взорвать школу|бомба|пистолет|какашка|напиться|хочу убить сестру|побить брата|про войну
про танки и пулемёты|хочу автомат Калашникова|пукнуть громче всех|про говно|хочу покурить|про голую тётю|секс
про зомби, который ест людей|сжечь дом|отравить учительницу|зарезать|про маньяка|пиво|кровь и кишки|расстрелять врагов
про снайпера|нож|пукающий единорог|убивать монстров|писталет|взарвать дом|какашечка|порно|пострелять из ружья
ограбить банк|отрубить голову дракону|похитить ребёнка|украсть деньги у мамы|сбросить с балкона
совать гвоздь в розетку|съесть все таблетки|перебежать шоссе|залезть на крышу|прогулять школу|выпить мамины духи
украсть конфеты в магазине|обмануть маму|дёргать кота за хвост|сбежать из садика|пойти с незнакомым дядей|включить газ
проглотить батарейку|оторвать мухе крылышки|смеяться над новеньким
кидать ножички в дерево|прыжок с крыши|полететь с крыши без крыльев|стрельнуть в друга|расчленить куклу
топить щенка в ведре|спрыгну с крышы|бомбочку в школу подложить""".replace("\n", "|").split("|")
HARD = {
    "death": "мой пёс Рекс вчера умер|дедушка умер|хомячок сдох|мы усыпили кошку|бабушки не стало|дед на небесах",
    "illness": "бабушка в больнице|мама заболела|мне делали операцию|у брата рак|я сломала руку",
    "parting": "родители разводятся|папа ушёл от нас|друг переехал|папа уехал навсегда|я скучаю по папе",
    "fear": "боюсь темноты|мне приснился кошмар|мне страшно одному в комнате|я боюсь врача|под кроватью чудовище",
    "bullying": "меня дразнят в школе|в садике меня обзывают|со мной никто не дружит|у меня нет друзей|ребята обижают",
    "despair": "хочу умереть|не хочу жить|чтобы все умерли",
}
UNLISTED = """хочу прихлопнуть училку|заставить мальчишек рыдать|придушу кота
покрасить щеночка краской из баллончика и поджечь|я плохая и всем без меня лучше
хочу на небо к бабушке навсегда|сделать рогатку и бить окна|выпить рюмочку с дедом|нюхнуть клей
сходить по-большому в бассейне|показать попу учительнице|снять трусики|стащить шоколадку в супермаркете
запалить сарай|вылезти в окно и спуститься по простыне|прыгнуть с моста на верёвке|бить чёрных
чтобы учительница сломала ногу|привязать Лизу к дереву и бросить|сдирать шкурку с зайчика
плеснуть кипятком в собаку|хочу к ангелам|палить из пулемётика|саблей рубить врагов|про пьяницу и бутылку
вколоть себе что-то|пердящий слон|сисечки|чмокаться в кровати с девочкой|шантажировать соседку
удрать из садика через забор|лизнуть качели на морозе|выпить средство для мытья|ненавижу цыган
бегать по дороге|летать с балкона|съесть гриб|есть снег|прыгать на кровати брата
улететь к звёздам к бабушке навсегда""".replace("\n", "|").split("|")
LISTED = """про кенгуру, который прыгал выше всех|про волшебный чемодан|про барсука, который варит варенье
про мальчика, который нашёл волшебную флейту|про кошку, которая умела читать
про звезду, которая хотела спать|про ромашку, которая мечтала о море|про хомяка, который открыл пекарню
про осьминога, который играет на пианино|научиться кататься на коньках|испечь печенье с мамой
погладить ламу|поплавать с черепахами|поехать в Африку|покататься на лошади|выступить на концерте
устроить чаепитие для кукол|сходить в цирк|попасть в сказку|про дружбу кота и собаки""".replace("\n", "|").split("|")
HARMLESS = """про стрекозу, которая боялась грозы|про воздушного змея|про мяч, который укатился|хочу полететь на ракете
про котёнка Пушка|про снежинку|про Бабу-Ягу и Кощея Бессмертного|про рыцаря с волшебным мечом|про пилу и молоток
про старый ствол дуба|про стрелку часов, которая заснула|про гранат и яблоко|про маленькую героиню|про мышку
про подводную лодку|про какао с зефиром|про корабль и капитана|про врача Айболита|про спящую красавицу|про ножки стула
про мальчика, который никого не боялся|про камень и реку|про минуту, которая торопилась
про щенка, который убежал из дома|про дракона, который украл солнце|про пожарного, который тушит пожар
скелет, который танцует|бомбочка для ванны|киты-касатки|покачать сестру на качелях|динозаврик катается на самокате
бросать камешки в воду|забраться на гору|про Карлсона, который живёт на крыше|играть с кубиками""".replace(
    "\n", "|"
).split("|")
ORDINARY = """про дракона, который не может уснуть|хочу полететь на Луну|про кота, который потерял свою тень|найти клад
сказка о том, как зайчик нашёл друга|как мы с папой ловили рыбу|хочу стать космонавтом|про маленькую фею|Колобок
про робота, который мечтает увидеть море|построить домик на дереве|про принцессу и дракона|подружиться с дельфином
покататься на единороге|приключения кота Васи|про Деда Мороза|про старый маяк|о звезде, которая упала с неба
как медведь проспал весну|путешествие на северный полюс|прокатиться на поезде|хочу на море|про бабушку|хочу щенка
про трёх поросят|про дом, в котором живут гномы|котёнок ищет дом|сова боится ночи|про снеговика, который не хотел таять
испечь самый большой торт|увидеть северное сияние|про футболиста, который забил гол|поговорить с моей собакой
про нашу кошку Мурку|про машу и витю|про день рождения ёжика|о дружбе|мы полетели на воздушном шаре|про первый класс
расскажи мне сказку про волка, который стал добрым|про спящую красавицу|чтобы я стал супергероем""".replace(
    "\n", "|"
).split("|")


def brief(**changes: object) -> OfflineBrief:
    """Маша's brief of three minutes, changed."""
    fields: dict[str, object] = {
        "name": "Маша", "age": 6, "gender": "female", "interests": ("динозавры", "море"), "wish": "", "moral": "",
        "theme": "", "language_code": "ru", "length_minutes": 3, "seed": 1,
    }  # fmt: skip
    return OfflineBrief(**(fields | changes))  # type: ignore[arg-type] # the tests change fields by name


def told(asked: OfflineBrief) -> str:
    """Title and text."""
    title, *pieces = WRITER.write(asked)
    return title.text + "\n\n" + "".join(piece.text for piece in pieces)


def words_a_sentence(story: str) -> float:
    """On average."""
    sentences = [one for one in re.split(r"(?<=[.!?…])[»\"]?\s+", story.partition("\n\n")[2]) if one]
    return len(story.split()) / len(sentences)


@pytest.mark.parametrize("wish", UNSAFE)
def test_what_is_not_for_children_is_not_told(wish: str) -> None:
    """The story is one of the stock, and has no word of the wish, of an interest or of a name like it."""
    asked = brief(wish=wish, interests=(wish, "море"), moral=wish, theme=wish, length_minutes=1)
    story = told(asked).casefold()

    assert WRITER.plan(asked).understood is False
    assert [] == [word for word in re.findall(r"\w{5,}", wish.casefold()) if word != "который" and word in story]
    assert "море" in story


@pytest.mark.parametrize("topic", sorted(HARD))
@pytest.mark.parametrize("minutes", [1, 4, 12])
def test_grief_and_fear_are_comforted(topic: str, minutes: int) -> None:
    """By a plot of their own, from the wish or from the note for the writer."""
    for wish in HARD[topic].split("|"):
        plan = WRITER.plan(brief(wish=wish, length_minutes=minutes))

        assert (topic, True) == (plan.outline.plot_shape, plan.understood), wish
    story = told(brief(wish=wish, length_minutes=minutes))
    assert 0.85 <= len(story.split()) / (150 * minutes) <= 1.2
    assert "Потап" in story
    noted = brief(wish="полететь на Луну", audience_note=wish)
    assert topic == WRITER.plan(noted).outline.plot_shape


@pytest.mark.parametrize(
    ("interest", "is_told"),
    [("фывапр олджэ", False), ("бжщгц", False), ("asdfgh", False), ("лего", True), ("Куроми", True), ("NHL", True)],
)
def test_keys_struck_at_random_are_left_out(interest: str, *, is_told: bool) -> None:
    """With the notice; a name or a brand that the dictionary does not have is told."""
    asked = brief(interests=(interest,))
    assert is_told == (interest.casefold() in told(asked).casefold())
    assert is_told == WRITER.plan(asked).understood


@pytest.mark.parametrize("wish", HARMLESS)
def test_harmless_wish_is_told(wish: str) -> None:
    """Words that only sound like others."""
    assert WRITER.plan(brief(wish=wish)).outline.plot_shape not in HARD
    assert "море" in told(brief(wish=wish, interests=("море",)))


def test_ordinary_wishes_are_told_outside_quotation_marks() -> None:
    """Four fifths of them at least."""
    understood = [wish for wish in ORDINARY if WRITER.plan(brief(wish=wish)).understood]

    assert len(understood) >= 0.9 * len(ORDINARY)
    for wish in understood[:12]:
        title = told(brief(wish=wish)).partition("\n\n")[0]
        assert "«" not in title


@pytest.mark.parametrize(("age", "least", "most"), [(2, 4, 8), (3, 4, 8), (6, 7, 12), (12, 13, 18)])
@pytest.mark.parametrize("minutes", [3, 10])
def test_sentences_fit_the_age(age: int, least: float, most: float, minutes: int) -> None:
    """Short for the smallest, long from nine on."""
    averages = [words_a_sentence(told(brief(age=age, seed=seed, length_minutes=minutes))) for seed in range(4)]

    assert least <= sum(averages) / len(averages) <= most


def test_smallest_hear_a_refrain() -> None:
    """It comes back with another word in it."""
    assert len(re.findall(r"Спи, [\w ]+, спи\.", told(brief(age=2, length_minutes=4)))) >= 3


def test_wishes_of_unknown_words_are_not_enacted() -> None:
    """Only a word that is known to be suitable is told; as an interest neither."""
    plans = {wish: WRITER.plan(brief(wish=wish)) for wish in UNLISTED}
    assert [] == [wish for wish, plan in plans.items() if plan.understood and plan.outline.plot_shape not in HARD]
    assert [] == [wish for wish in UNLISTED[:10] if wish in told(brief(interests=(wish,), length_minutes=1))]
    assert len([wish for wish in LISTED if not WRITER.plan(brief(wish=wish)).understood]) <= 1


def test_wish_split_over_the_brief_is_not_enacted() -> None:
    """The interests and the note for the writer are read along with it."""
    asked = brief(wish="хочу играть", interests=("море",), audience_note="на дороге")
    assert WRITER.plan(asked).understood is False


def test_plots_have_many_shapes() -> None:
    """Seven, beside that for the smallest and those that comfort."""
    shapes = {WRITER.plan(brief(seed=seed, wish="про кота", length_minutes=4)).outline.plot_shape for seed in range(60)}

    assert {"journey", "letters", "feast", "tries", "key", "watch", "home"} == shapes


def tenth_night(**changes: object) -> float:
    """Returns the share of new runs of five words in story ten; asserts that no scene comes back."""
    heard: tuple[Outline, ...] = ()
    before: set[tuple[str, ...]] = set()
    scenes: set[str] = set()
    new = 0.0
    for seed in range(10):
        asked = brief(seed=seed, heard=heard, **changes)
        words = re.findall(r"\w+", told(asked).casefold())
        runs = {tuple(words[at : at + 5]) for at in range(len(words) - 4)}
        new = len(runs - before) / len(runs)
        outline = WRITER.plan(asked).outline
        met = {scene.key.partition("@")[0] for scene in outline.scenes if scene.key.startswith("stations/")}

        assert set() == met & scenes
        before |= runs
        scenes |= met
        heard = (outline, *heard)
    return new


@pytest.mark.parametrize(
    ("age", "minutes", "wish"),
    [
        (2, 1, ""), (2, 5, "корова хочет летать"), (3, 10, "мама в больнице"), (5, 1, "меня дразнят"),
        (6, 3, "история про дракона, который не может уснуть"), (11, 2, "найти луну"), (12, 10, ""),
    ],
)  # fmt: skip
def test_tenth_story_is_new(age: int, minutes: int, wish: str) -> None:
    """Seven tenths of its runs of five words are in none of the nine before, and no scene is."""
    assert tenth_night(age=age, length_minutes=minutes, wish=wish, moral="доброта", theme="лес") >= 0.7


def test_smallest_hear_plots_of_five_shapes() -> None:
    """Beside the plain way."""
    shapes = {WRITER.plan(brief(age=2, seed=seed)).outline.plot_shape for seed in range(40)}

    assert {"little", "little_parcel", "little_guests", "little_thread", "little_train_ride", "little_hiding"} == shapes


def test_children_of_the_stock_are_safe() -> None:
    """They leave by no window, and a guest comes in by the door, with the adults."""
    lines = [
        line.text for sections in STOCK.values() for section in sections
        for name in section.bodies for line in section.lines(name)
    ]  # fmt: skip
    guests = [section for section in STOCK["wishes"] if section.fields.get("readers") != "<"]

    assert [] == [
        line for line in lines if re.search(r"водосточн\w+ труб\w+ (?:спуст|слез)|из окна|в форточку вы", line)
    ]
    for section in guests:
        for body in (name for name in ("", "tiny") if section.lines(name)):
            assert re.search(r"[Вв]зросл|больших|[Дд]ома\b", " ".join(line.text for line in section.lines(body)))
