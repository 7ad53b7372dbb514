// Starts the page: which screen the address asks for, signing in, the language.
import { button, dialog, fail, field, h, replace, select, text } from './dom.js';
import * as family from './family.js';
import * as library from './library.js';
import { choose, language, LANGUAGES, t } from './messages.js';
import { call, credentials, onUnauthenticated } from './rpc.js';
import * as story from './story.js';
import * as system from './system.js';
import * as tell from './tell.js';

const SCREENS = { '': tell, library, family, system, story };
const TITLES = { '': 'tell', library: 'library', family: 'family', system: 'system', story: 'untitled' };
const main = document.getElementById('main');
let leaving = new AbortController();
let operator = null; // not known yet

onUnauthenticated((error) => {
  const key = text('', { type: 'password', autocomplete: 'current-password', required: true });
  const remember = h('input', { type: 'checkbox' });
  const refused = credentials.get() && h('p', { class: 'alert' }, error.message);
  return dialog(t('sign_in'), h('div', {}, h('p', {}, t('sign_in_why')), refused, field('key', t('key'), key, error.remedy), h('label', { class: 'check' }, remember, t('remember'))),
    t('sign_in'), () => {
      if (!key.value.trim()) { key.focus(); throw new DOMException('', 'AbortError'); }
      credentials.set(key.value.trim(), remember.checked);
      findOperator();
      return true;
    });
});

/** Shows the operator's view in the navigation to those who may see it. */
async function findOperator() {
  operator = await call('GetUsage', { days: 1, allOwners: true }).then(() => true, (error) => (error.code === 'permission_denied' ? false : null));
  draw();
}

/** The navigation, in the language of the page. */
function draw() {
  document.documentElement.lang = language();
  const now = location.hash.replace(/^#\/?/, '').split(/[/?]/)[0];
  const links = ['', 'library', 'family', ...(operator ? ['system'] : [])];
  const nav = document.getElementById('nav');
  nav.setAttribute('aria-label', t('menu'));
  replace(nav, links.map((name) => h('a', { href: `#/${name}`, 'aria-current': name === now && 'page' }, t(TITLES[name]))));
  const languages = select(Object.entries(LANGUAGES), language(), { 'aria-label': t('language_page') });
  languages.addEventListener('change', () => { choose(languages.value); show(); });
  replace(document.getElementById('tools'), languages, credentials.get() && button(t('sign_out'), () => { credentials.clear(); location.reload(); }, 'quiet'));
  document.querySelector('.brand span').textContent = t('app');
  document.getElementById('skip').textContent = t('skip');
}

async function show(event) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const [path, search] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, id = ''] = path.split('/');
  if (operator === null) findOperator();
  draw();
  replace(main);
  main.className = name || 'tell';
  document.title = `${t(TITLES[name] ?? 'app')} · ${t('app')}`;
  scrollTo(0, 0);
  const inner = h('div', { class: 'inner' });
  main.append(inner);
  if (!SCREENS[name]) { inner.append(h('h1', {}, t('not_found'))); return; }
  main.ariaBusy = 'true';
  try {
    await SCREENS[name].show(inner, { id, query: new URLSearchParams(search), signal });
  } catch (error) {
    if (signal.aborted) return;
    const place = h('p', {}, button(t('again'), show));
    inner.append(place);
    fail(place, error);
  } finally {
    if (!signal.aborted) main.ariaBusy = 'false';
  }
  // A screen reader reads the heading of the new screen; the first one is read anyway.
  if (event instanceof HashChangeEvent) inner.querySelector('h1')?.focus({ preventScroll: true });
}

document.getElementById('skip').addEventListener('click', () => main.focus());
addEventListener('hashchange', show);
show();
