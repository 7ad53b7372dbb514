// Children and heroes, the podcast feed of a child, and its erasing.
import { add, button, dialog, h, replace, say, text, values, field } from './dom.js';
import { t } from './messages.js';
import { all, call, RequestIds } from './rpc.js';
import { childFields, childOf, heroFields, heroOf } from './tell.js';

const CHILD = { key: 'child', list: 'ListChildren', listed: 'children', name: 'Child', fields: childFields, read: childOf, mask: 'name,age,gender,interests', title: 'new_child', none: 'no_children' };
const HERO = { key: 'hero', list: 'ListHeroes', listed: 'heroes', name: 'Hero', fields: heroFields, read: heroOf, mask: 'name,gender,appearance,personalityTraits,strengths,interests', title: 'new_hero', none: 'no_heroes' };

export async function show(main) {
  add(main, h('h1', { tabindex: -1 }, t('family')), h('div', { class: 'columns' }, await part(CHILD, childCard), await part(HERO, heroCard)));
}

async function part(kind, card) {
  const cards = h('ul', { class: 'profiles' });
  const refresh = async () => {
    const found = await all(kind.list, kind.listed);
    replace(cards, found.length ? found.map((each) => card(each, refresh)) : h('li', { class: 'empty' }, t(kind.none)));
  };
  await refresh();
  return h('section', { 'aria-label': t(kind.listed) }, h('h2', {}, t(kind.listed)), cards, button(t(kind.title), () => edit(kind, null, refresh), 'primary'));
}

async function edit(kind, stored, refresh) {
  const ids = new RequestIds();
  const body = h('div', {}, kind.fields(kind.key, stored ?? {}));
  const saved = await dialog(stored ? stored.name : t(kind.title), body, t('save'), (form) => {
    const given = kind.read(values(form), kind.key);
    if (!stored) return call(`Create${kind.name}`, { requestId: ids.of(given), [kind.key]: given });
    return call(`Update${kind.name}`, { [kind.key]: { ...given, id: stored.id, revision: stored.revision }, updateMask: kind.mask });
  });
  if (saved) await refresh();
}

async function remove(kind, stored, refresh) {
  const done = await dialog(t('remove'), h('p', {}, t('delete_profile', { name: stored.name })), t('remove'), () => call(`Delete${kind.name}`, { [`${kind.key}Id`]: stored.id }), 'danger');
  if (done) await refresh();
}

function card(kind, stored, refresh, facts, more) {
  return h('li', { class: 'card' }, h('h3', {}, stored.name), h('p', { class: 'facts' }, facts.filter(Boolean).join(' · ')),
    h('p', { class: 'row' }, more, button(t('edit'), () => edit(kind, stored, refresh)), button(t('remove'), () => remove(kind, stored, refresh))));
}

function childCard(child, refresh) {
  return card(CHILD, child, refresh, [child.age && t('years', { n: child.age }), (child.interests ?? []).join(', ')], [
    h('a', { class: 'button', href: `#/?child=${child.id}` }, t('tell')),
    h('a', { class: 'button', href: `#/library?child=${child.id}` }, t('stories_of')),
    button(t('feed'), () => feed(child)),
    button(t('erase'), () => erase(child, refresh), 'danger'),
  ]);
}

const heroCard = (hero, refresh) => card(HERO, hero, refresh, [hero.appearance, (hero.personalityTraits ?? []).join(', ')], []);

async function feed(child) {
  const { url } = await call('GetFeedUrl', { childId: child.id });
  const address = text(new URL(url, location.href).href, { readonly: true });
  await dialog(t('feed'), field('feed', t('address'), address, t('feed_hint', { name: child.name })), t('copy'), async () => {
    address.select();
    if (navigator.clipboard) await navigator.clipboard.writeText(address.value); else document.execCommand('copy');
    say(t('copied'));
  });
}

async function erase(child, refresh) {
  const done = await dialog(t('erase'), h('p', {}, t('erase_what', { name: child.name })), t('erase'), () => call('EraseChild', { childId: child.id }), 'danger');
  if (!done) return;
  await refresh();
  const { storyCount: stories = 0, audioCount: audio = 0, receiptId: receipt } = done;
  await dialog(t('erase'), h('p', {}, t('erased', { stories, audio, receipt })), t('close'), () => true);
}
