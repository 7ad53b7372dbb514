// Builds elements and forms. Text is always set as text, never as markup.
import { t } from './messages.js';

/** Returns an element; `on…` properties are listeners, `false` and `null` leave an attribute out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false || name === 'value') continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  add(element, ...children);
  if (properties.value !== undefined) element.value = properties.value;
  return element;
}

/** Appends elements and strings; empty ones are left out. */
export function add(element, ...children) {
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false && child !== ''));
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren();
  return add(element, ...children);
}

/** A button. A click is ignored while the one before is being served. */
export function button(label, action, kind = '') {
  const element = h('button', { type: 'button', class: kind }, label);
  element.addEventListener('click', async () => {
    if (element.ariaBusy === 'true') return;
    element.ariaBusy = 'true';
    try { await action(element); } catch (error) { fail(element, error); } finally { element.ariaBusy = 'false'; }
  });
  return element;
}

let count = 0;

/** A labelled input with a hint and a place for its error; `path` is the field's path in the request. */
export function field(path, label, input, hint = '') {
  const id = `f${(count += 1)}`;
  input.id = id;
  if (!input.name) input.name = path;
  input.setAttribute('aria-describedby', `${id}-hint ${id}-error`);
  return h('div', { class: 'field', 'data-path': path },
    h('label', { for: id }, label), input,
    h('p', { class: 'hint', id: `${id}-hint` }, hint), h('p', { class: 'error', id: `${id}-error` }));
}

export const text = (value = '', more = {}) => h('input', { type: 'text', value, autocomplete: 'off', ...more });
export const area = (value = '', more = {}) => h('textarea', { rows: 3, value, ...more });

/** A select of [value, label] pairs, or of [group, pairs]. */
export function select(pairs, value = '', more = {}) {
  const option = ([key, label]) => h('option', { value: key }, label);
  const all = pairs.map(([key, label]) => (Array.isArray(label) ? h('optgroup', { label: key }, label.map(option)) : option([key, label])));
  const element = h('select', more, all);
  element.value = value;
  if (element.selectedIndex < 0) element.selectedIndex = 0;
  return element;
}

/** Radio buttons that look like chips; `changed` gets the chosen value. */
export function chips(name, legend, pairs, value, changed = () => {}) {
  return h('fieldset', { class: 'chips', 'data-path': name }, h('legend', {}, legend), h('div', {},
    pairs.map(([key, label]) => h('label', {},
      h('input', { type: 'radio', name, value: key, checked: key === value, onchange: () => changed(key) }), h('span', {}, label)))),
  h('p', { class: 'error' }));
}

/** "dragons, the sea" as a list. */
export const list = (value) => value.split(/[,;\n]/).map((part) => part.trim()).filter(Boolean);

/** The values of a form by the paths of its inputs, empty ones left out. */
export function values(form) {
  return Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value).trim()]).filter(([, value]) => value));
}

/** Shows an error of the gateway: at the fields that it names, and above the form or the element. */
export function fail(place, error) {
  if (error.name === 'AbortError') return;
  const form = place.closest('form, dialog, section, main') ?? place;
  clear(form);
  let first = null;
  for (const { field: path, description } of error.violations ?? []) {
    const wanted = path.replace(/\[[^\]]*\]/g, '').toLowerCase();
    const found = [...form.querySelectorAll('[data-path]')].find((each) => wanted === each.dataset.path || wanted.startsWith(`${each.dataset.path}.`));
    if (!found) continue;
    found.querySelector('.error').textContent = description;
    const input = found.querySelector('input, textarea, select');
    input.setAttribute('aria-invalid', 'true');
    for (let fold = found.closest('details'); fold; fold = fold.parentElement.closest('details')) fold.open = true;
    first ??= input;
  }
  const alert = h('div', { class: 'alert', role: 'alert' }, h('strong', {}, error.message), h('p', {}, error.remedy ?? ''));
  const anchor = form.querySelector('.alerts');
  if (anchor) anchor.append(alert); else place.before(alert);
  (first ?? alert).scrollIntoView({ block: 'center' });
  first?.focus();
  if (!error.code) throw error;
}

export function clear(form) {
  for (const each of form.querySelectorAll('.alert')) each.remove();
  for (const each of form.querySelectorAll('.error')) each.textContent = '';
  for (const each of form.querySelectorAll('[aria-invalid]')) each.removeAttribute('aria-invalid');
}

/** Says something to screen readers. */
export function say(message) {
  const status = document.getElementById('status');
  if (status.textContent !== message) status.textContent = message;
}

/** Opens a dialog; resolves with the result of `done`, or null when it is closed. A failing `done` leaves it open. */
export function dialog(title, body, label, done, kind = 'primary') {
  return new Promise((resolve) => {
    let result = null;
    const send = h('button', { type: 'submit', class: kind }, label);
    const close = button(t('close'), () => element.close());
    const form = h('form', { novalidate: true }, h('h2', { id: 'dialog-title' }, title), h('div', { class: 'alerts' }), body, h('p', { class: 'row' }, send, close));
    const element = h('dialog', { 'aria-labelledby': 'dialog-title' }, form);
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      send.disabled = true;
      try { result = (await done(form)) ?? true; element.close(); } catch (error) { fail(form, error); } finally { send.disabled = false; }
    });
    element.addEventListener('close', () => { element.remove(); resolve(result); });
    document.body.append(element);
    element.showModal();
  });
}
