"""Short stories in many languages: a title, an empty line, and the text."""

from typing import Final

IN_OTHER_LANGUAGES: Final = {
    "de": (
        "Das Licht der Eule\n\nEs war einmal eine kleine Eule, die in einer alten Eiche wohnte. Jeden Abend "
        "zündete sie eine Laterne an, damit alle im Wald nach Hause fanden. Eines Nachts blies der Wind die "
        "Flamme aus. Da kamen die Glühwürmchen und leuchteten, und alle schliefen ruhig ein."
    ),
    "ru": (
        "Огонёк совы\n\nЖила-была маленькая сова, и дом её был в старом дубе. Каждый вечер она зажигала фонарь, "
        "чтобы никто в лесу не потерял дорогу домой. Однажды ночью ветер задул огонёк. Тогда прилетели "
        "светлячки, и стало светло, и все спокойно уснули."
    ),
    "es": (
        "La luz del búho\n\nHabía una vez un pequeño búho que vivía en un viejo roble. Cada noche encendía una "
        "linterna para que todos en el bosque encontraran el camino a casa. Una noche el viento apagó la llama. "
        "Entonces llegaron las luciérnagas, y todos durmieron tranquilos."
    ),
    "ja": (
        "ふくろうのあかり\n\nむかしむかし、古いかしの木に小さなふくろうが住んでいました。まいばん、森のみんなが家"
        "に帰れるように、あかりをともしました。あるよる、風があかりをけしてしまいました。そこへほたるたちがやって"
        "きて、森をてらしました。みんなはしずかにねむりました。"
    ),
    "fr": (
        "La lumière du hibou\n\nIl était une fois un petit hibou qui vivait dans un vieux chêne. Chaque soir, il "
        "allumait une lanterne pour que tous retrouvent le chemin de la maison. Une nuit, le vent souffla la "
        "flamme. Alors les lucioles arrivèrent, et tous dormirent en paix."
    ),
    "it": (
        "La luce del gufo\n\nC'era una volta un piccolo gufo che viveva in una vecchia quercia. Ogni sera "
        "accendeva una lanterna, perché tutti nel bosco trovassero la strada di casa. Una notte il vento spense "
        "la fiamma. Allora arrivarono le lucciole, e tutti dormirono tranquilli."
    ),
    "pl": (
        "Światło sowy\n\nDawno, dawno temu mała sowa mieszkała w starym dębie. Każdego wieczoru zapalała "
        "latarnię, aby wszyscy w lesie trafili do domu. Pewnej nocy wiatr zdmuchnął płomień. Wtedy przyleciały "
        "świetliki i zaświeciły, a wszyscy spokojnie zasnęli w swoich łóżkach."
    ),
    "tr": (
        "Baykuşun Işığı\n\nBir varmış bir yokmuş, yaşlı bir meşede küçük bir baykuş yaşarmış. Her akşam "
        "ormandaki herkes evinin yolunu bulsun diye bir fener yakarmış. Bir gece rüzgâr alevi söndürmüş. O zaman "
        "ateş böcekleri gelmiş, orman aydınlanmış ve herkes huzur içinde uyumuş."
    ),
    "sv": (
        "Ugglans ljus\n\nDet var en gång en liten uggla som bodde i en gammal ek. Varje kväll tände hon en lykta "
        "så att alla i skogen skulle hitta hem. En natt blåste vinden ut lågan. Då kom eldflugorna och lyste, "
        "och alla somnade lugnt i sina sängar."
    ),
    "uk": (
        "Вогник сови\n\nЖила-була маленька сова, і дім її був у старому дубі. Щовечора вона запалювала ліхтар, "
        "щоб ніхто в лісі не загубив дороги додому. Однієї ночі вітер задмухнув вогник. Тоді прилетіли "
        "світлячки, стало світло, і всі спокійно заснули."
    ),
    "ar": (
        "ضوء البومة\n\nكان يا ما كان، بومة صغيرة تعيش في شجرة بلوط قديمة. كل مساء كانت تشعل فانوسا لكي يجد "
        "الجميع طريق البيت. وفي ليلة من الليالي أطفأت الريح الشعلة. فجاءت اليراعات وأضاءت الغابة، ونام الجميع "
        "بسلام حتى الصباح."
    ),
    "hi": (
        "उल्लू की रोशनी\n\nएक समय की बात है, एक छोटा उल्लू एक पुराने पेड़ में रहता था। हर शाम वह एक लालटेन जलाता "
        "था ताकि जंगल में सब अपने घर पहुँच सकें। एक रात हवा ने लौ बुझा दी। तब जुगनू आए, जंगल में उजाला हुआ, और "
        "सब चैन से सो गए।"
    ),
    "zh": (
        "猫头鹰的灯\n\n从前，有一只小猫头鹰住在一棵老橡树里。每天晚上，它都点亮一盏灯笼，好让森林里的每一个朋友都"
        "能找到回家的路。有一天夜里，风把灯火吹灭了。这时，萤火虫们飞来了，照亮了整个森林，大家都安安静静地睡着了"
        "。"
    ),
    "ko": (
        "부엉이의 등불\n\n옛날 옛적에 작은 부엉이 한 마리가 오래된 참나무에 살았어요. 부엉이는 숲속의 모두가 "
        "집을 찾을 수 있도록 저녁마다 등불을 켰어요. 어느 날 밤 바람이 불어 등불이 꺼졌어요. 그때 반딧불이들이 "
        "날아와 숲을 환하게 밝혀 주었고, 모두 편안히 잠들었답니다. 달님도 별님도 조용히 웃으며 아침까지 모두를 "
        "지켜보았어요."
    ),
}
