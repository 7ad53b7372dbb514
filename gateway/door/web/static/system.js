// The operator's view of the cluster.
import { add, button, h, replace } from './dom.js';
import { clock, count, dollars, seconds, t, when } from './messages.js';
import { call } from './rpc.js';
import { glance } from './follow.js';
import { named, problemView, waitingText } from './story.js';

const REFRESH_MS = 5000;
const MOST = 8;
const bare = (value = '', prefix = '') => value.replace(prefix, '');

export async function show(main, { signal }) {
  const parts = Object.fromEntries(['health', 'services', 'embedded', 'circuits', 'running', 'failed', 'usage'].map((name) => [name, h('div', {})]));
  const section = (name) => h('section', { 'aria-label': t(name) }, h('h2', {}, t(name)), parts[name]);
  add(main, h('h1', { tabindex: -1 }, t('system')), parts.health, section('services'), h('div', { class: 'columns' }, section('running'), section('failed')), section('circuits'), section('embedded'), section('usage'));
  const draw = async () => {
    const [status, running, failed] = await Promise.all([call('GetSystemStatus'), stories('PENDING', 'WRITING', 'NARRATING').then((found) => Promise.all(found.map(async (each) => ({ ...each, waits: await glance(each.id, signal) })))), stories('FAILED', 'READY_WITHOUT_AUDIO')]);
    if (signal.aborted) return;
    drawStatus(parts, status, draw);
    replace(parts.running, running.length ? h('ul', { class: 'lines' }, running.map(storyView)) : h('p', { class: 'empty' }, t('running_none')));
    replace(parts.failed, failed.length ? h('ul', { class: 'lines' }, failed.map(storyView)) : h('p', { class: 'empty' }, t('failed_none')));
  };
  await Promise.all([draw(), drawUsage(parts.usage)]);
  const timer = setInterval(() => { if (!document.hidden) draw().catch(() => replace(parts.health, h('p', { class: 'alert', role: 'alert' }, t('unreachable')))); }, REFRESH_MS);
  signal.addEventListener('abort', () => clearInterval(timer));
}

/** The newest stories in these states, with their problems. */
async function stories(...states) {
  const { stories: found = [] } = await call('ListStories', { filter: { states: states.map((state) => `STORY_STATE_${state}`) }, pageSize: MOST });
  const read = await Promise.allSettled(found.map(({ id }) => call('GetStory', { storyId: id })));
  return read.flatMap(({ value }) => (value ? [value.story] : []));
}

function storyView({ id, state, title, problems = [], createTime, waits }) {
  const now = named(state);
  return h('li', {}, h('a', { href: `#/story/${id}` }, title || t('untitled')), ' ', h('span', { class: `state ${now.toLowerCase()}` }, t(now)), ' ', h('time', {}, when(createTime)), waits && h('p', { class: 'waiting' }, waitingText(waits)), problems.map(problemView));
}

function drawStatus(parts, { healthy, services = [], embeddedParts = [] }, draw) {
  replace(parts.health, h('p', { class: healthy ? 'well' : 'alert' }, t(healthy ? 'healthy' : 'unhealthy')));
  replace(parts.services, h('ul', { class: 'cards small' }, services.map(({ service, version, health, uptime, providers = [], warnings = [] }) => {
    const now = bare(health, 'SERVICE_HEALTH_');
    return h('li', { class: 'card' }, h('h3', {}, service), h('p', {}, h('span', { class: `dot ${now.toLowerCase()}` }), t(now)),
      h('p', { class: 'facts' }, [version, uptime && t('uptime', { time: clock(seconds(uptime)) })].filter(Boolean).join(' · ')),
      providers.map(({ name, available, configured, unavailableReason }) => configured && h('p', { class: 'facts' }, h('span', { class: `dot ${available ? 'serving' : 'unreachable'}` }), `${name} ${unavailableReason ?? ''}`)),
      warnings.map((warning) => h('p', { class: 'note' }, warning)));
  })));
  replace(parts.embedded, embeddedParts.length ? h('ul', { class: 'lines' }, embeddedParts.map(({ part, implementation, environmentVariables = [] }) => h('li', {},
    h('strong', {}, part), ` ${implementation ?? ''}. ${t('embedded_how')} `, environmentVariables.map((each, index) => [index ? ', ' : '', h('code', {}, each)]))))
    : h('p', { class: 'empty' }, t('embedded_none')));
  const circuits = services.flatMap(({ service, circuits: found = [] }) => found.map((each) => ({ service, ...each })));
  replace(parts.circuits, circuits.length ? table([t('service'), t('circuit'), t('state'), t('calls'), t('failures'), ''], circuits.map((each) => {
    const now = bare(each.state, 'CIRCUIT_STATE_');
    return [each.service, each.name, h('span', { class: `state ${now.toLowerCase()}` }, t(now)), count(each.totalCalls), count(each.failedCalls),
      now !== 'CLOSED' && button(t('reset'), async () => { await call('ResetCircuit', { service: each.service, name: each.name }); await draw(); })];
  })) : h('p', { class: 'empty' }, t('circuits_none')));
}

async function drawUsage(place) {
  const { entries = [] } = await call('GetUsage', { days: 30, allOwners: true });
  if (!entries.length) { replace(place, h('p', { class: 'empty' }, t('usage_none'))); return; }
  const [models, days] = [new Map(), new Map()];
  for (const { date, kind, provider = '', model = '', stories: told = 0, calls = 0, characters = 0, promptTokens = 0, completionTokens = 0, costUsd = 0 } of entries) {
    const day = gathered(days, date);
    day.stories += Number(told);
    day.cost += costUsd;
    if (!kind) continue;
    const used = gathered(models, [provider, model].filter(Boolean).join(' · '));
    used.calls += Number(calls);
    used.amount += Number(promptTokens) + Number(completionTokens) || Number(characters);
    used.cost += costUsd;
  }
  const most = Math.max(...[...days.values()].map((each) => each.cost || each.stories), 0.0001);
  replace(place, h('h3', {}, t('by_model')),
    table([t('model'), t('calls'), t('amount'), t('cost')], [...models].map(([name, used]) => [name, count(used.calls), count(used.amount), dollars(used.cost)])),
    h('h3', {}, t('by_day')),
    table([t('day'), t('stories'), t('cost'), ''], [...days].map(([date, day]) => [date, count(day.stories), dollars(day.cost), h('meter', { max: most, value: day.cost || day.stories, 'aria-label': `${date}: ${dollars(day.cost)}` })])));
}

function gathered(map, key) {
  if (!map.has(key)) map.set(key, { stories: 0, calls: 0, amount: 0, cost: 0 });
  return map.get(key);
}

const table = (heads, rows) => h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': heads[0] }, h('table', {},
  h('thead', {}, h('tr', {}, heads.map((each) => (each ? h('th', { scope: 'col' }, each) : h('td', {}))))),
  h('tbody', {}, rows.map((row) => h('tr', {}, row.map((each, index) => h(index ? 'td' : 'th', index ? {} : { scope: 'row' }, each)))))));
