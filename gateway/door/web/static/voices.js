// What a story can be told in: languages and voices, as the cluster offers them.
import { select } from './dom.js';
import { language, languageName, t } from './messages.js';
import { all, call } from './rpc.js';

const NONE = '-';
let providers = null;

async function configured() {
  providers ??= call('ListProviders').then(({ providers: found = [] }) => found.filter((each) => each.configured));
  try { return await providers; } catch (error) { providers = null; throw error; }
}

/** [code, name] of every language that a voice reads, that of the page and its neighbours first. */
export async function languages() {
  const codes = new Set((await configured()).flatMap((each) => each.languageCodes ?? []).map((code) => code.split('-')[0]));
  const rest = [...codes].filter((code) => code !== 'en' && code !== 'ru').map((code) => [code, languageName(code)]);
  rest.sort(([, one], [, other]) => one.localeCompare(other, language()));
  return [...['en', 'ru'].map((code) => [code, languageName(code)]), ...rest];
}

/** A select of the voices for a language, by provider; `fill` changes the language. */
export function voiceSelect({ none = true } = {}) {
  const element = select([['', t('voice_auto')]], '', { name: 'spec.voice' });
  element.fill = async (code) => {
    const chosen = element.value;
    const [known, voices] = await Promise.all([configured(), all('ListVoices', 'voices', { languageCode: code })]);
    const groups = known.map(({ providerName, displayName }) => [displayName || providerName, [
      [`${providerName}|`, `${displayName || providerName}: ${t('voice_auto').toLowerCase()}`],
      ...voices.filter((each) => each.provider === providerName).map(({ voiceId, displayName: name }) => [`${providerName}|${voiceId}`, name || voiceId]),
    ]]);
    element.replaceChildren(...select([['', t('voice_auto')], ...groups, ...(none ? [[NONE, t('voice_none')]] : [])]).children);
    element.value = chosen;
    if (element.selectedIndex < 0) element.selectedIndex = 0;
  };
  return element;
}

/** The chosen voice as fields of a request. */
export function chosenVoice(value = '') {
  if (value === NONE) return { narrate: false };
  const [provider, voiceId] = value.split('|');
  return provider ? { voice: { provider, voiceId } } : {};
}
