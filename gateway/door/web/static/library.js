// The stored stories: search, filters, pages.
import { add, button, fail, field, h, replace, say, select, text, values } from './dom.js';
import { clock, languageName, seconds, t, when } from './messages.js';
import { all, call } from './rpc.js';
import { named } from './story.js';
import { languages } from './voices.js';

const PAGE = 12;
const PAUSE_MS = 300;
const STATES = ['PENDING', 'WRITING', 'NARRATING', 'READY', 'READY_WITHOUT_AUDIO', 'FAILED', 'CANCELLED'];

/** A story in a list. */
export function cardView({ id, state, title, childName, languageCode, audioDuration, rating, createTime, excerpt }) {
  const now = named(state);
  return h('li', { class: 'card' },
    h('h2', {}, h('a', { href: `#/story/${id}` }, title || t('untitled'))),
    h('p', { class: 'facts' }, [childName && t('for_child', { name: childName }), languageName(languageCode), audioDuration && clock(seconds(audioDuration)), rating && `★ ${rating}`].filter(Boolean).join(' · ')),
    h('p', { class: 'excerpt' }, excerpt ?? ''),
    h('p', { class: 'foot' }, h('span', { class: `state ${now.toLowerCase()}` }, t(now)), h('time', {}, when(createTime))));
}

export async function show(main, { query }) {
  const [children, spoken] = await Promise.all([all('ListChildren', 'children'), languages()]);
  const search = text(query.get('q') ?? '', { type: 'search', placeholder: t('search_hint'), maxlength: 200 });
  const any = ['', t('any')];
  const form = h('form', { class: 'filters', role: 'search' },
    field('filter.query', t('search'), search),
    field('filter.child_id', t('child'), select([any, ...children.map((each) => [each.id, each.name])], query.get('child') ?? '')),
    field('filter.language_code', t('language'), select([any, ...spoken])),
    field('filter.states', t('state'), select([any, ...STATES.map((state) => [`STORY_STATE_${state}`, t(state)])])),
    field('filter.min_rating', t('rated_from'), select([any, ...[...Array(10).keys()].map((index) => [String(index + 1), String(index + 1)])])));
  const found = h('ul', { class: 'cards' });
  const none = h('p', { class: 'empty' });
  let token = '';
  let asked = 0;
  const more = button(t('more'), () => load(false));

  async function load(anew) {
    const turn = (asked += 1);
    const given = values(form);
    const filter = {
      query: given['filter.query'] ?? '', childId: given['filter.child_id'] ?? '', languageCode: given['filter.language_code'] ?? '',
      states: given['filter.states'] ? [given['filter.states']] : [],
      ...(given['filter.min_rating'] && { minRating: Number(given['filter.min_rating']) }),
    };
    const page = await call('ListStories', { filter, pageSize: PAGE, pageToken: anew ? '' : token });
    if (turn !== asked) return;
    if (anew) replace(found);
    token = page.nextPageToken ?? '';
    add(found, (page.stories ?? []).map(cardView));
    more.hidden = !token;
    none.textContent = found.children.length ? '' : t(Object.values(given).length ? 'found_none' : 'empty');
    say(none.textContent || `${t('stories')}: ${found.children.length}`);
  }
  let timer = 0;
  const changed = () => { clearTimeout(timer); timer = setTimeout(() => load(true).catch((error) => fail(form, error)), PAUSE_MS); };
  form.addEventListener('input', changed);
  form.addEventListener('submit', (event) => { event.preventDefault(); changed(); });
  add(main, h('h1', { tabindex: -1 }, t('library')), form, found, none, h('p', { class: 'row center' }, more));
  await load(true);
}
