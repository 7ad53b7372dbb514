// One story: read and heard while it is made, and afterwards.
import { add, button, dialog, fail, field, h, replace, say } from './dom.js';
import { follow } from './follow.js';
import { atTime, clock, languageName, seconds, t, when } from './messages.js';
import { Player } from './player.js';
import { Reader } from './reader.js';
import { call, RequestIds } from './rpc.js';
import { chosenVoice, voiceSelect } from './voices.js';

export const named = (state) => state?.replace('STORY_STATE_', '') ?? 'PENDING';
const MAKING = new Set(['PENDING', 'WRITING', 'NARRATING']);
const FORMATS = [['TEXT', 'text'], ['AUDIO', 'audio'], ['EPUB', 'epub'], ['READ_ALONG', 'read_along']];

/** What a story waits for, and since when. */
export const waitingText = ({ what = '', name = '', since }) => {
  const known = what.replace('WAIT_FOR_', '');
  return t('waiting', { name: known === 'PROVIDER' || !known ? name : t(known), time: since ? atTime(since) : '' });
};

/** A problem with what to do about it. */
export const problemView = ({ message, remedy, reason }) => h('div', { class: 'problem' }, h('strong', {}, message || reason), h('p', {}, remedy ?? ''));

export function show(main, { id, query, signal }) {
  let play = query.has('play');
  const ids = new RequestIds();
  const title = h('h1', { tabindex: -1, class: 'title' }, t('untitled'));
  const facts = h('p', { class: 'facts' });
  const state = h('p', { class: 'state' });
  const bar = h('progress', { max: 1, 'aria-label': t('progress', { words: '', expected: '', time: '' }).replace(/\s+/g, ' '), hidden: true });
  const waiting = h('p', { class: 'waiting' });
  const problems = h('div', {});
  const notes = h('div', {});
  const noted = h('details', { class: 'notes', hidden: true }, h('summary', {}, t('notes')), notes);
  const body = h('div', { class: 'prose', 'aria-label': t('text'), role: 'region', title: t('text_hint') });
  const actions = h('section', { class: 'actions' });
  const reader = new Reader(title, body, signal);
  // Without its host: this page may have been opened by another name of it.
  const link = async (format) => new URL((await call('GetDownloadUrl', { storyId: id, format: `DOWNLOAD_FORMAT_${format}` })).url).pathname;
  const player = new Player(reader, () => link('AUDIO'));
  const cancel = button(t('cancel'), async () => { await call('CancelStory', { storyId: id }); }, 'quiet');
  let header = {};
  add(main, h('article', {}, title, facts, h('div', { class: 'making' }, state, bar, waiting, cancel), problems, body, noted, actions), player.bar);
  signal.addEventListener('abort', () => player.reset());
  for (const part of [title, body]) {
    part.addEventListener('click', ({ target }) => {
      const time = target.word && reader.timeOf(target.word);
      if (time !== null && time !== undefined) { player.wanted = true; player.seek(time); }
    });
  }

  function drawState(now, progress) {
    const making = MAKING.has(now);
    state.textContent = t(now);
    state.className = `state ${now.toLowerCase()}`;
    cancel.hidden = bar.hidden = !making;
    if (making && progress) {
      const { wordsWritten: words = 0, wordsExpected: expected = 0, charactersWritten = 0, charactersNarrated = 0 } = progress;
      bar.value = now === 'NARRATING' ? Number(charactersNarrated) / (Number(charactersWritten) || 1) : Math.min(1, words / (expected || 1));
      state.textContent += ` · ${t('progress', { words, expected, time: clock(seconds(progress.audioDuration)) })}`;
    }
    say(t(now));
  }

  function waits(found) {
    waiting.textContent = found ? waitingText(found) : '';
    waiting.hidden = !found;
  }

  function drawStory(story) {
    drawState(named(story.state));
    waits(null);
    replace(facts, [
      story.child?.name && t('for_child', { name: story.child.name }), story.hero?.name, languageName(story.languageCode),
      story.audio && clock(seconds(story.audio.duration)), when(story.createTime),
    ].filter(Boolean).join(' · '));
    const found = (story.problems ?? []).map(problemView);
    // What a ready story was made with is a note; why one is not ready comes first.
    const ready = story.state === 'STORY_STATE_READY';
    replace(problems, ready ? [] : found);
    replace(notes, ready ? found : []);
    noted.hidden = !notes.children.length;
    const voice = voiceSelect({ none: false });
    voice.fill(story.languageCode).catch((error) => fail(actions, error));
    const again = async (method, more = {}) => {
      const request = { storyId: id, ...more };
      await call(method, { ...request, requestId: ids.of(request) });
      ids.print = null;
      play = true;
      replace(actions);
      run();
    };
    const downloads = FORMATS.filter(([format]) => (format === 'TEXT' ? story.content : format === 'EPUB' ? story.contentComplete : story.audio));
    replace(actions,
      ratingView(story),
      h('div', { class: 'pair' },
        story.contentComplete && h('div', {}, field('voice', t('voice'), voice), button(t('narrate'), () => again('NarrateStory', chosenVoice(voice.value)))),
        h('div', { class: 'stack' },
          story.state === 'STORY_STATE_FAILED' && button(t('retry'), () => again('RetryStory'), 'primary'),
          story.contentComplete && h('a', { class: 'button', href: `#/?sequel=${id}` }, t('sequel')),
          button(t('remove'), () => remove(story), 'danger'))),
      h('h2', {}, t('download')),
      h('div', { class: 'row' }, downloads.map(([format, key]) => button(t(key), async () => {
        const file = h('a', { href: await link(format), download: '' });
        actions.append(file);
        file.click();
        file.remove();
      }))));
  }

  function ratingView(story) {
    const rate = async (value) => {
      await call('RateStory', { storyId: id, rating: value });
      say(t('rated', { n: value }));
    };
    return h('fieldset', { class: 'rating' }, h('legend', {}, t('rating')), h('div', {}, [...Array(10).keys()].map((index) => h('label', {},
      h('input', { type: 'radio', name: 'rating', value: index + 1, checked: story.rating === index + 1, onchange: () => rate(index + 1).catch((error) => fail(actions, error)) }),
      h('span', {}, String(index + 1))))));
  }

  async function remove(story) {
    const done = await dialog(t('remove'), h('p', {}, t('delete_story', { title: story.title || t('untitled') })), t('remove'), () => call('DeleteStory', { storyId: id }), 'danger');
    if (!done) return;
    say(t('deleted'));
    location.hash = '#/library';
  }

  async function run() {
    const warned = new Set();
    try {
      for await (const event of follow(id, signal)) {
        if (event.lost) { waiting.textContent = t('lost'); waiting.hidden = false; say(t('lost')); }
        else if (event.found) waits(null);
        else if (event.state) { drawState(named(event.state.state), event.state.progress); waits(event.state.progress?.waiting); }
        else if (event.title) { reader.setTitle(event.title.title); document.title = `${event.title.title} · ${t('app')}`; }
        else if (event.text) reader.addText(Number(event.text.offset ?? 0), event.text.delta);
        else if (event.audioHeader && event.audioHeader.audioId !== header.audioId) {
          if (header.audioId) { reader.restart(); player.reset(); }
          header = event.audioHeader;
        } else if (event.segment && event.segment.audioId === header.audioId) {
          reader.addSegment(event.segment.segment);
          player.ready(play, header).catch((error) => fail(actions, error));
        } else if (event.warning && !warned.has(event.warning.message)) {
          warned.add(event.warning.message);
          add(notes, problemView(event.warning));
          noted.hidden = false;
        } else if (event.done) {
          if (event.done.story.audio) player.finish();
          drawStory(event.done.story);
        }
      }
    } catch (error) {
      fail(actions, error);
    }
  }
  drawState('PENDING');
  waits(null);
  run();
}
