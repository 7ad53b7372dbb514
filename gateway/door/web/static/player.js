// Plays the audio of a story: its file, or the stream of a narration in progress.
import { button, h, say, select } from './dom.js';
import { clock, t } from './messages.js';

const MOST_FAILURES = 8;

/**
 * One audio element with a bar of controls. Browsers cannot move in the stream of a narration in progress: another is
 * opened where a segment begins, at the time `base`. Once complete, the link is opened again as a file.
 */
export class Player {
  constructor(reader, link) {
    Object.assign(this, { reader, link, complete: false, wanted: false, failures: 0, url: '', base: 0, header: {} });
    this.audio = h('audio', { preload: 'auto' });
    this.icon = h('i');
    this.play = h('button', { type: 'button', class: 'play', onclick: () => this.toggle() }, this.icon);
    this.slider = h('input', { type: 'range', min: 0, max: 1, step: 'any', value: 0, 'aria-label': t('position') });
    this.slider.addEventListener('change', () => this.seek(Number(this.slider.value)));
    this.clock = h('span', { class: 'clock' });
    this.hint = h('p', { class: 'hint' });
    const speed = select([['0.8', '0.8×'], ['1', '1×'], ['1.2', '1.2×']], '1', { 'aria-label': t('speed') });
    speed.addEventListener('change', () => { this.audio.defaultPlaybackRate = this.audio.playbackRate = Number(speed.value); });
    const step = (icon, label, by) => { const each = button(h('i', { class: icon }), () => this.seek(reader.sentence(this.time, by))); each.ariaLabel = each.title = label; return each; };
    this.bar = h('section', { class: 'player', 'aria-label': t('player'), hidden: true }, this.audio,
      step('back', t('back'), -1), this.play, step('forward', t('forward'), 1), this.slider, this.clock, speed, this.hint);
    for (const kind of ['play', 'pause', 'ended']) this.audio.addEventListener(kind, () => this.#drawn());
    this.audio.addEventListener('playing', () => { this.failures = 0; this.#tick(); });
    this.audio.addEventListener('timeupdate', () => this.#drawn());
    this.audio.addEventListener('error', () => this.#again());
    this.audio.addEventListener('ended', () => { if (this.time < reader.heardUntil - 1) this.#again(); else if (this.complete) this.wanted = false; });
    this.#drawn();
  }

  get time() {
    return this.base + this.audio.currentTime;
  }

  /** There is audio now: shows the bar, and plays if the story was just asked for. */
  async ready(play, header) {
    if (!this.bar.hidden) return;
    this.bar.hidden = false;
    this.header = header;
    await this.#open(0);
    if (play) await this.#start();
  }

  /** Another narration begins, or the page leaves the story. */
  reset() {
    this.bar.hidden = true;
    this.complete = this.wanted = false;
    this.url = '';
    this.base = 0;
    this.audio.removeAttribute('src');
    this.audio.load();
  }

  /** The narration is complete: the link is a file now, in which every browser can move. */
  finish() {
    this.complete = true;
    this.#drawn();
  }

  async seek(time) {
    if (this.complete && this.audio.src.endsWith('#file')) this.audio.currentTime = time;
    else if (this.complete || this.#cuttable) await this.#open(time);
    else {
      this.hint.textContent = t('later');
      say(t('later'));
      return;
    }
    this.reader.scrolled = 0;
    this.reader.show(time);
    if (this.wanted) await this.#start();
  }

  async toggle() {
    if (!this.audio.paused) { this.wanted = false; this.audio.pause(); return; }
    if (this.audio.ended && this.complete) await this.seek(0);
    await this.#start();
  }

  /** Whether a stream can begin at a segment: MP3 alone has no header. */
  get #cuttable() {
    return this.header.contentType === 'audio/mpeg';
  }

  async #open(time) {
    this.url ||= `${await this.link()}?audio_id=${this.header.audioId}`;
    const from = this.complete || !this.#cuttable ? { time: 0, byte: 0 } : this.reader.segmentAt(time);
    this.audio.src = this.complete ? `${this.url}#file` : `${this.url}&offset=${from.byte}`;
    this.base = from.time;
    this.audio.currentTime = time - from.time; // where it begins, if the browser can
  }

  async #start() {
    this.wanted = true;
    try {
      await this.audio.play();
      this.hint.textContent = '';
    } catch (error) {
      if (error.name !== 'NotAllowedError') return; // an error event follows, or another place was asked for
      this.wanted = false;
      this.hint.textContent = t('press_play');
      say(t('press_play'));
      this.#drawn();
    }
  }

  /** The stream broke: opens it again where it was, with a new link. */
  async #again() {
    if (!this.audio.src || (this.failures += 1) > MOST_FAILURES) return;
    const { time } = this;
    await new Promise((resolve) => { setTimeout(resolve, 250 * 2 ** Math.min(this.failures, 5)); });
    this.url = '';
    await this.#open(time).catch(() => this.#again());
    if (this.wanted) await this.#start();
  }

  #tick() {
    if (this.audio.paused) return;
    this.reader.show(this.time);
    requestAnimationFrame(() => this.#tick());
  }

  #drawn() {
    const { time, reader: { heardUntil } } = this;
    const playing = !this.audio.paused && !this.audio.ended;
    this.icon.className = playing ? 'pause' : 'start';
    this.play.ariaLabel = this.play.title = t(playing ? 'pause' : 'play');
    const end = Math.max(heardUntil, 0.1);
    this.slider.max = end;
    this.slider.value = time;
    this.slider.setAttribute('aria-valuetext', `${clock(time)} / ${clock(end)}`);
    this.clock.textContent = `${clock(time)} / ${clock(end)}`;
  }
}
