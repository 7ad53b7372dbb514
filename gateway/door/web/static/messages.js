// Everything that the page says, in English and Russian.
const MESSAGES = {
  // Navigation and what all screens share.
  app: ['Tale', 'Сказка'],
  tell: ['New story', 'Новая сказка'],
  library: ['Library', 'Библиотека'],
  family: ['Children and heroes', 'Дети и герои'],
  system: ['System', 'Система'],
  skip: ['Skip to the content', 'К содержанию'],
  menu: ['Main', 'Главное'],
  language_page: ['Language of the page', 'Язык страницы'],
  sign_out: ['Sign out', 'Выйти'],
  close: ['Close', 'Закрыть'],
  save: ['Save', 'Сохранить'],
  add: ['Add', 'Добавить'],
  edit: ['Edit', 'Изменить'],
  remove: ['Delete', 'Удалить'],
  copy: ['Copy', 'Копировать'],
  copied: ['Copied.', 'Скопировано.'],
  more: ['Show more', 'Показать ещё'],
  again: ['Try again', 'Повторить'],
  any: ['Any', 'Любой'],
  min: ['{n} min', '{n} мин'],
  unreachable: ['The gateway cannot be reached.', 'Шлюз недоступен.'],
  unreachable_remedy: ['Check that the cluster is running, then try again.', 'Проверьте, что кластер запущен, и повторите.'],
  not_found: ['There is no such page.', 'Такой страницы нет.'],
  // Signing in.
  sign_in: ['Sign in', 'Вход'],
  sign_in_why: ['This gateway asks for an API key or a token.', 'Этот шлюз просит ключ API или токен.'],
  key: ['API key or token', 'Ключ API или токен'],
  remember: ['Remember it in this browser', 'Запомнить в этом браузере'],
  // Asking for a story.
  tell_title: ['What shall tonight’s story be about?', 'О чём будет сегодняшняя сказка?'],
  tell_lead: ['A name is enough. Everything else may be a surprise.', 'Достаточно имени. Остальное может быть сюрпризом.'],
  wish: ['Wish', 'Пожелание'],
  wish_hint: ['A dragon who cannot sleep, a lost button, a train to the moon…', 'Дракон, который не может уснуть, потерянная пуговица, поезд на луну…'],
  for_whom: ['For whom', 'Для кого'],
  someone: ['Someone else', 'Кто-то ещё'],
  name: ['First name', 'Имя'],
  age: ['Age', 'Возраст'],
  pronouns: ['Pronouns', 'Местоимения'],
  pronoun_none: ['Not said', 'Не указаны'],
  she: ['She', 'Она'],
  he: ['He', 'Он'],
  interests: ['Likes', 'Любит'],
  commas: ['Separate with commas.', 'Через запятую.'],
  save_child: ['Save this child', 'Сохранить ребёнка'],
  kind: ['Whom the story is about', 'О ком сказка'],
  kind_child: ['The child', 'О ребёнке'],
  kind_hero: ['A hero', 'О герое'],
  kind_both: ['Child and hero', 'О ребёнке и герое'],
  hero: ['Hero', 'Герой'],
  hero_name: ['Name of the hero', 'Имя героя'],
  appearance: ['Looks', 'Внешность'],
  traits: ['Character', 'Характер'],
  strengths: ['Strengths', 'Сильные стороны'],
  length: ['Length', 'Длина'],
  language: ['Language', 'Язык'],
  voice: ['Voice', 'Голос'],
  voice_auto: ['Automatic', 'Автоматически'],
  voice_none: ['Text only', 'Только текст'],
  finer: ['Moral, theme, what to avoid', 'Мораль, тема, чего избегать'],
  moral: ['Moral', 'Мораль'],
  moral_hint: ['For example kindness, honesty, bravery, friendship.', 'Например, доброта, честность, смелость, дружба.'],
  theme: ['Setting or topic', 'Место или тема'],
  avoid: ['Must not appear', 'Чего не должно быть'],
  note: ['A note for the writer', 'Заметка для автора'],
  note_hint: ['Not read aloud: “her dog died last week”.', 'Вслух не читается: «на прошлой неделе умерла её собака».'],
  continues: ['Continues “{title}”', 'Продолжение «{title}»'],
  no_sequel: ['Tell a story of its own', 'Отдельная сказка'],
  begin: ['Tell the story', 'Рассказать'],
  beginning: ['Asking for the story…', 'Сказка заказывается…'],
  // A story.
  PENDING: ['Waiting to begin', 'Ждёт начала'],
  WRITING: ['Being written', 'Пишется'],
  NARRATING: ['Being narrated', 'Озвучивается'],
  READY: ['Ready', 'Готова'],
  READY_WITHOUT_AUDIO: ['Ready, without audio', 'Готова, без звука'],
  FAILED: ['Failed', 'Не удалась'],
  CANCELLED: ['Cancelled', 'Отменена'],
  progress: ['{words} of about {expected} words, {time} of audio', '{words} из примерно {expected} слов, {time} звука'],
  waiting: ['Waiting for {name} since {time}.', 'Ждёт с {time}: {name}.'],
  STORY_SERVICE: ['the story service', 'сервис текстов'],
  VOICE_SERVICE: ['the voice service', 'сервис голоса'],
  STORAGE: ['the storage service', 'хранилище'],
  PLACE: ['a free place', 'свободное место'],
  SAFETY_CHECK: ['the safety check', 'проверка безопасности'],
  notes: ['Notes', 'Примечания'],
  lost: ['Connection lost. The story is still being made; trying again…', 'Связь потеряна. Сказка всё ещё создаётся; пробуем снова…'],
  untitled: ['A new story', 'Новая сказка'],
  for_child: ['for {name}', 'для: {name}'],
  play: ['Play', 'Слушать'],
  pause: ['Pause', 'Пауза'],
  press_play: ['Press Play to listen.', 'Нажмите «Слушать».'],
  later: ['You can move in the audio once it is complete.', 'Перемещаться можно, когда озвучка готова.'],
  back: ['Previous sentence', 'Предыдущее предложение'],
  forward: ['Next sentence', 'Следующее предложение'],
  position: ['Position', 'Место'],
  speed: ['Speed', 'Скорость'],
  player: ['Player', 'Плеер'],
  text: ['Text', 'Текст'],
  text_hint: ['Click a word to hear the story from there.', 'Нажмите на слово, чтобы слушать с этого места.'],
  cancel: ['Cancel the story', 'Отменить сказку'],
  retry: ['Continue writing', 'Продолжить'],
  rating: ['Rating', 'Оценка'],
  rated: ['Rated {n} of 10.', 'Оценка {n} из 10.'],
  narrate: ['Narrate again', 'Озвучить заново'],
  sequel: ['Tell a sequel', 'Рассказать продолжение'],
  download: ['Download', 'Скачать'],
  read_along: ['Read-along page', 'Страница с подсветкой'],
  audio: ['Audio', 'Аудио'],
  epub: ['E-book (EPUB)', 'Книга (EPUB)'],
  delete_story: ['Delete “{title}” with its audio? This cannot be undone.', 'Удалить «{title}» вместе со звуком? Вернуть её будет нельзя.'],
  deleted: ['Deleted.', 'Удалено.'],
  // The library.
  search: ['Search', 'Поиск'],
  search_hint: ['Words of title or text', 'Слова из названия или текста'],
  child: ['Child', 'Ребёнок'],
  state: ['State', 'Состояние'],
  rated_from: ['Rated at least', 'Оценка не ниже'],
  empty: ['No stories yet.', 'Сказок пока нет.'],
  found_none: ['No story matches.', 'Ничего не найдено.'],
  // Children and heroes.
  children: ['Children', 'Дети'],
  heroes: ['Heroes', 'Герои'],
  no_children: ['Save a child once, then choose it for each story.', 'Сохраните ребёнка один раз и выбирайте его для каждой сказки.'],
  no_heroes: ['No heroes yet.', 'Героев пока нет.'],
  new_child: ['New child', 'Новый ребёнок'],
  new_hero: ['New hero', 'Новый герой'],
  years: ['{n} years', 'Лет: {n}'],
  stories_of: ['Stories', 'Сказки'],
  feed: ['Podcast feed', 'Лента подкаста'],
  feed_hint: ['Paste this address into a podcast player. Whoever has it can hear the stories of {name}.', 'Вставьте адрес в плеер подкастов. У кого он есть, тот может слушать сказки: {name}.'],
  address: ['Address', 'Адрес'],
  delete_profile: ['Delete {name}? The stories stay.', 'Удалить: {name}? Сказки останутся.'],
  erase: ['Erase', 'Стереть'],
  erase_what: ['This erases {name}: the profile, every story that was made for it, their audio, and what they cost. Stories for a typed name and files that were downloaded stay. This cannot be undone.', 'Будет стёрто: {name}, все сказки для этого ребёнка, их звук и сведения о затратах. Сказки для имени, введённого вручную, и скачанные файлы останутся. Вернуть ничего нельзя.'],
  erased: ['Erased. Stories: {stories}, audio files: {audio}. Receipt: {receipt}', 'Стёрто. Сказок: {stories}, аудиофайлов: {audio}. Квитанция: {receipt}'],
  // The operator's view.
  healthy: ['Every service accepts calls.', 'Все сервисы принимают вызовы.'],
  unhealthy: ['Not every service accepts calls.', 'Не все сервисы принимают вызовы.'],
  services: ['Services', 'Сервисы'],
  SERVING: ['serving', 'работает'],
  NOT_SERVING: ['not serving', 'не принимает вызовы'],
  UNREACHABLE: ['unreachable', 'недоступен'],
  uptime: ['up {time}', 'работает {time}'],
  embedded: ['Embedded parts', 'Встроенные части'],
  embedded_how: ['To replace it, set one of these:', 'Чтобы заменить, задайте одно из:'],
  embedded_none: ['No embedded part is in use.', 'Встроенные части не используются.'],
  circuits: ['Circuit breakers', 'Предохранители'],
  circuits_none: ['No calls to providers yet.', 'Вызовов провайдеров ещё не было.'],
  CLOSED: ['closed', 'замкнут'],
  OPEN: ['open', 'разомкнут'],
  HALF_OPEN: ['half open', 'проверяется'],
  circuit: ['Provider', 'Провайдер'],
  service: ['Service', 'Сервис'],
  calls: ['Calls', 'Вызовы'],
  failures: ['Failures', 'Отказы'],
  reset: ['Reset', 'Сбросить'],
  running: ['In progress', 'Создаются'],
  running_none: ['No story is being made.', 'Сейчас ничего не создаётся.'],
  failed: ['Last failures', 'Последние неудачи'],
  failed_none: ['No story has failed.', 'Неудач не было.'],
  usage: ['Usage of 30 days', 'За 30 дней'],
  usage_none: ['Nothing was used.', 'Ничего не использовано.'],
  by_model: ['By model and voice', 'По моделям и голосам'],
  by_day: ['By day', 'По дням'],
  model: ['Model', 'Модель'],
  amount: ['Tokens or characters', 'Токены или символы'],
  day: ['Day', 'День'],
  stories: ['Stories', 'Сказки'],
  cost: ['Cost', 'Стоимость'],
};

export const LANGUAGES = { en: 'English', ru: 'Русский' };
const CHOICE = 'tale-language';

/** The language of the page: as chosen, or that of the browser. */
export const language = () => localStorage.getItem(CHOICE) ?? (navigator.language.toLowerCase().startsWith('ru') ? 'ru' : 'en');
export const choose = (code) => localStorage.setItem(CHOICE, code);

/** Returns a message with its {places} filled. */
export function t(key, values = {}) {
  const message = MESSAGES[key]?.[Object.keys(LANGUAGES).indexOf(language())] ?? key;
  return message.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

export const messages = () => MESSAGES;

/** Seconds of a duration such as "12.5s". */
export const seconds = (duration) => Number.parseFloat(duration ?? '0') || 0;

/** 75 as "1:15". */
export function clock(time) {
  const whole = Math.max(0, Math.floor(time));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return `${hours ? `${hours}:${String(minutes).padStart(2, '0')}` : minutes}:${String(whole % 60).padStart(2, '0')}`;
}

export const atTime = (time) => new Intl.DateTimeFormat(language(), { timeStyle: 'medium' }).format(new Date(time));
export const when = (time) => (time ? new Intl.DateTimeFormat(language(), { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(time)) : '');
export const count = (n) => new Intl.NumberFormat(language()).format(Number(n ?? 0));
export const dollars = (n) => new Intl.NumberFormat(language(), { style: 'currency', currency: 'USD', maximumFractionDigits: 4 }).format(n ?? 0);

/** "ru" as "Russian". */
export function languageName(code) {
  try { return new Intl.DisplayNames(language(), { type: 'language' }).of(code) ?? code; } catch { return code; }
}
