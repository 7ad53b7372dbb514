// Asks for a story.
import { add, area, chips, clear, fail, field, h, list, select, text, values } from './dom.js';
import { language, t } from './messages.js';
import { all, call, RequestIds } from './rpc.js';
import { chosenVoice, languages, voiceSelect } from './voices.js';

const NEW = '';
const stories = new RequestIds();
const children = new RequestIds();

/** The inputs of a child, for a story and for a profile; `path` is that of the child in the request. */
export function childFields(path, child = {}) {
  return [
    field(`${path}.name`, t('name'), text(child.name, { maxlength: 100, required: true })),
    h('div', { class: 'pair' },
      field(`${path}.age`, t('age'), h('input', { type: 'number', min: 1, max: 18, inputmode: 'numeric', value: child.age ?? '' })),
      field(`${path}.gender`, t('pronouns'), pronouns(child.gender))),
    field(`${path}.interests`, t('interests'), text((child.interests ?? []).join(', ')), t('commas')),
  ];
}

export function heroFields(path, hero = {}) {
  return [
    field(`${path}.name`, t('hero_name'), text(hero.name, { maxlength: 100, required: true })),
    field(`${path}.gender`, t('pronouns'), pronouns(hero.gender)),
    field(`${path}.appearance`, t('appearance'), text(hero.appearance, { maxlength: 1000 })),
    field(`${path}.personality_traits`, t('traits'), text((hero.personalityTraits ?? []).join(', ')), t('commas')),
    field(`${path}.strengths`, t('strengths'), text((hero.strengths ?? []).join(', ')), t('commas')),
    field(`${path}.interests`, t('interests'), text((hero.interests ?? []).join(', ')), t('commas')),
  ];
}

const pronouns = (value = '') => select([['', t('pronoun_none')], ['GENDER_FEMALE', t('she')], ['GENDER_MALE', t('he')]], value);

export const childOf = (given, path) => ({
  name: given[`${path}.name`] ?? '',
  ...(given[`${path}.age`] && { age: Number(given[`${path}.age`]) }),
  ...(given[`${path}.gender`] && { gender: given[`${path}.gender`] }),
  interests: list(given[`${path}.interests`] ?? ''),
});

export const heroOf = (given, path) => ({
  name: given[`${path}.name`] ?? '',
  ...(given[`${path}.gender`] && { gender: given[`${path}.gender`] }),
  appearance: given[`${path}.appearance`] ?? '',
  personalityTraits: list(given[`${path}.personality_traits`] ?? ''),
  strengths: list(given[`${path}.strengths`] ?? ''),
  interests: list(given[`${path}.interests`] ?? ''),
});

export async function show(main, { query }) {
  const parentId = query.get('sequel');
  const [saved, heroes, spoken, parent] = await Promise.all([
    all('ListChildren', 'children'), all('ListHeroes', 'heroes'), languages(),
    parentId ? call('GetStory', { storyId: parentId }).then(({ story }) => story) : null,
  ]);
  const voice = voiceSelect();
  const tongue = select(spoken, parent?.languageCode.split('-')[0] ?? language());
  tongue.addEventListener('change', () => voice.fill(tongue.value).catch((error) => fail(form, error)));
  const minutes = h('input', { type: 'range', min: 1, max: 30, value: parent?.lengthMinutes ?? 5 });
  const shownMinutes = h('output', {}, t('min', { n: minutes.value }));
  minutes.addEventListener('input', () => { shownMinutes.textContent = t('min', { n: minutes.value }); });
  const length = field('spec.length_minutes', t('length'), minutes);
  length.querySelector('label').append(' ', shownMinutes);

  const typed = h('fieldset', { class: 'inset' }, !saved.length && h('legend', {}, t('for_whom')), childFields('spec.child', parent && !parent.childId ? parent.child : {}),
    h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'save' }), t('save_child')));
  const typedHero = h('fieldset', { class: 'inset' }, !heroes.length && h('legend', {}, t('hero')), heroFields('spec.hero', parent && !parent.heroId ? parent.hero ?? {} : {}).slice(0, 4));
  const who = parent ? parent.childId : query.get('child') ?? saved[0]?.id ?? NEW;
  const toggle = (element, on) => { element.hidden = !on; element.disabled = !on; };
  const whoChips = chips('spec.child_id', t('for_whom'), [...saved.map((each) => [each.id, each.name]), [NEW, t('someone')]], who, (value) => toggle(typed, value === NEW));
  const hero = parent?.heroId ?? heroes[0]?.id ?? NEW;
  const heroChips = chips('spec.hero_id', t('hero'), [...heroes.map((each) => [each.id, each.name]), [NEW, t('someone')]], hero, (value) => toggle(typedHero, value === NEW));
  const heroPart = h('fieldset', {}, heroes.length ? heroChips : '', typedHero);
  const kind = parent?.kind ?? 'STORY_KIND_CHILD';
  const kinds = chips('spec.kind', t('kind'), [['STORY_KIND_CHILD', t('kind_child')], ['STORY_KIND_HERO', t('kind_hero')], ['STORY_KIND_COMBINED', t('kind_both')]], kind, about);
  function about(value) {
    toggle(heroPart, value !== 'STORY_KIND_CHILD');
    toggle(typedHero, value !== 'STORY_KIND_CHILD' && (new FormData(form).get('spec.hero_id') ?? NEW) === NEW);
  }

  const send = h('button', { type: 'submit', class: 'primary large' }, t('begin'));
  const form = h('form', { class: 'card tell', novalidate: true }, h('div', { class: 'alerts' }),
    parent && h('p', { class: 'chip' }, t('continues', { title: parent.title }), ' ', h('a', { href: '#/' }, t('no_sequel'))),
    field('spec.wish', t('wish'), area('', { maxlength: 2000, rows: 3, class: 'wish' }), t('wish_hint')),
    saved.length ? whoChips : '', typed, kinds, heroPart,
    h('div', { class: 'triple' }, length, field('spec.language_code', t('language'), tongue), field('spec.voice', t('voice'), voice)),
    h('details', {}, h('summary', {}, t('finer')),
      h('div', { class: 'pair' },
        field('spec.moral', t('moral'), text('', { maxlength: 200 }), t('moral_hint')),
        field('spec.theme', t('theme'), text('', { maxlength: 200 }))),
      field('spec.avoid', t('avoid'), text(''), t('commas')),
      field('spec.audience_note', t('note'), area('', { rows: 2, maxlength: 1000 }), t('note_hint'))),
    h('p', { class: 'row end' }, send));

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (send.disabled) return;
    clear(form);
    send.disabled = true;
    send.textContent = t('beginning');
    try {
      const given = values(form);
      const spec = {
        wish: given['spec.wish'] ?? '', kind: given['spec.kind'], languageCode: given['spec.language_code'],
        lengthMinutes: Number(given['spec.length_minutes']), moral: given['spec.moral'] ?? '', theme: given['spec.theme'] ?? '',
        avoid: list(given['spec.avoid'] ?? ''), audienceNote: given['spec.audience_note'] ?? '',
        ...chosenVoice(given['spec.voice']), ...(parent && { parentStoryId: parent.id }),
      };
      if (given['spec.child_id']) spec.childId = given['spec.child_id'];
      else spec.child = childOf(given, 'spec.child');
      if (given.save && spec.child) {
        const { child } = await call('CreateChild', { child: spec.child, requestId: children.of(spec.child) });
        spec.childId = child.id;
        delete spec.child;
      }
      if (spec.kind !== 'STORY_KIND_CHILD') {
        if (given['spec.hero_id']) spec.heroId = given['spec.hero_id'];
        else spec.hero = heroOf(given, 'spec.hero');
      }
      const { story } = await call('CreateStory', { requestId: stories.of(spec), spec });
      stories.print = null; // asked for again, it is another story
      location.hash = `#/story/${story.id}?play`;
    } catch (error) {
      fail(form, atField(error));
    } finally {
      send.disabled = false;
      send.textContent = t('begin');
    }
  });
  add(main, h('h1', { tabindex: -1 }, t('tell_title')), h('p', { class: 'lead' }, t('tell_lead')), form);
  toggle(typed, who === NEW || !saved.length);
  about(kind);
  voice.fill(tongue.value).catch((error) => fail(form, error));
}

const FIELDS = { LANGUAGE_UNSUPPORTED: 'spec.language_code', VOICE_NOT_FOUND: 'spec.voice', PROVIDER_NOT_FOUND: 'spec.voice', CHILD_NOT_FOUND: 'spec.child_id', HERO_NOT_FOUND: 'spec.hero_id', CONTENT_REFUSED: 'spec.wish' };

/** Puts a refusal that speaks of one field at that field; a violation of a path of the profile at that of the story. */
function atField(error) {
  if (error.violations) {
    if (FIELDS[error.reason]) error.violations = [{ field: FIELDS[error.reason], description: error.message }];
    for (const each of error.violations) if (/^(child|hero)\b/.test(each.field)) each.field = `spec.${each.field}`;
  }
  return error;
}
