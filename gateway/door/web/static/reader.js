// The text of a story, word by word, and when each word is heard.
import { h } from './dom.js';
import { seconds } from './messages.js';

// A character of a script without spaces is a word of its own.
const WORDS = /\s+|[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}]|[^\s\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}]+/gu;
const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

/** Shows text as it comes, until `signal`. Offsets are code points of the content, as in the events. */
export class Reader {
  constructor(title, body, signal) {
    Object.assign(this, { title, body, words: [], titleWords: [], length: 0, current: null, scrolled: 0 });
    this.restart();
    for (const kind of ['wheel', 'touchmove']) addEventListener(kind, () => { this.scrolled = Date.now(); }, { passive: true, signal });
  }

  /** Forgets the audio: another narration begins. */
  restart() {
    Object.assign(this, { times: [], starts: [], heardUntil: 0, segments: [] });
    this.show(-1);
  }

  setTitle(text) {
    this.title.replaceChildren();
    this.titleWords = this.#append(this.title, text, 0);
  }

  addText(offset, text) {
    if (offset < this.length) return;
    for (const part of text.split(/(\n+)/)) {
      if (part.startsWith('\n')) {
        this.paragraph = null;
        this.length += part.length;
      } else if (part) {
        if (!this.paragraph) this.body.append((this.paragraph = h('p')));
        this.words.push(...this.#append(this.paragraph, part, this.length));
        this.length += [...part].length;
      }
    }
  }

  #append(element, text, offset) {
    const found = [];
    for (const [token] of text.matchAll(WORDS)) {
      const length = [...token].length;
      if (token.trim()) {
        const word = { start: offset, end: offset + length, element: h('span', { class: 'word' }, token) };
        word.element.word = word;
        found.push(word);
        element.append(word.element);
      } else {
        element.append(token);
      }
      offset += length;
    }
    return found;
  }

  /** Takes a segment: the times of its words, or where the provider reports none, their share of its duration. */
  addSegment({ index = 0, text = {}, audio = {}, start, duration, words = [] }) {
    if (this.segments[index]) return;
    const [from, to] = [Number(text.start ?? 0), Number(text.end ?? 0)];
    const [begin, lasts] = [seconds(start), seconds(duration)];
    const isTitle = from === to;
    const inside = isTitle ? this.titleWords : this.words.filter((word) => word.end > from && word.start < to);
    this.segments[index] = { time: begin, byte: Number(audio.start ?? 0) };
    this.starts.push(begin);
    if (words.length) {
      const by = new Map();
      for (const word of inside) for (let at = word.start; at < word.end; at += 1) by.set(at, word);
      for (const timing of words) {
        const word = by.get(Number(timing.text?.start ?? 0));
        if (word && this.times.at(-1)?.word !== word) this.times.push({ time: seconds(timing.start), word });
      }
    } else {
      const [first, length] = isTitle ? [0, inside.at(-1)?.end ?? 1] : [from, to - from];
      for (const word of inside) this.times.push({ time: begin + (lasts * Math.max(0, word.start - first)) / length, word });
    }
    for (const word of inside) word.element.classList.add('told');
    this.heardUntil = Math.max(this.heardUntil, begin + lasts);
    this.times.sort((one, other) => one.time - other.time);
    this.starts.sort((one, other) => one - other);
  }

  /** The time at which a word is heard; null while it is not narrated. */
  timeOf(word) {
    return this.times.find((each) => each.word === word)?.time ?? null;
  }

  /** Where the segment begins that is heard at a time. */
  segmentAt(time) {
    return this.segments.findLast((each) => each && each.time <= time + 0.05) ?? { time: 0, byte: 0 };
  }

  /** The start of the sentence before or after a time. */
  sentence(time, step) {
    const index = this.starts.findLastIndex((start) => start <= time + 0.05);
    return this.starts[Math.min(this.starts.length - 1, Math.max(0, index + (step < 0 && time - this.starts[index] > 2 ? 0 : step)))] ?? 0;
  }

  /** Marks the word that is heard. */
  show(time) {
    let [low, high] = [0, this.times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle].time <= time + 0.02) low = middle + 1; else high = middle;
    }
    const word = this.times[low - 1]?.word ?? null;
    if (word === this.current) return;
    this.current?.element.classList.remove('now');
    this.current = word;
    if (!word) return;
    word.element.classList.add('now');
    const { top, bottom } = word.element.getBoundingClientRect();
    if (Date.now() - this.scrolled > 4000 && (top < 90 || bottom > innerHeight * 0.72)) {
      scrollBy({ top: top - innerHeight * 0.35, behavior: calm() ? 'auto' : 'smooth' });
    }
  }
}
