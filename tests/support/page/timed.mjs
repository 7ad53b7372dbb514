// Prints which words, bytes and sentences the reader finds for times.
globalThis.document = { createElement: () => { const words = []; return {
  append: (...all) => words.push(...all), setAttribute() {}, replaceChildren() {}, classList: { add() {}, remove() {} },
  getBoundingClientRect: () => ({ top: 200, bottom: 220 }) }; } };
globalThis.addEventListener = () => {};
globalThis.innerHeight = 900;
const { Reader } = await import('../../../gateway/door/web/static/reader.js');
const part = () => document.createElement('div');
const reader = new Reader(part(), part());
reader.setTitle('The Owl');
reader.addText(0, 'One 🌙 two.\n\nThree four.');
const audio = (start, end) => ({ start: String(start), end: String(end) });
reader.addSegment({ text: {}, audio: audio(0, 1000), duration: '1s', words: [{ text: { end: '3' }, start: '0.1s' }, { text: { start: '4', end: '7' }, start: '0.5s' }] });
reader.addSegment({ index: 1, text: { end: '12' }, audio: audio(1000, 3000), start: '1s', duration: '2s' });
reader.addSegment({ index: 2, text: { start: '12', end: '23' }, audio: audio(3000, 4000), start: '3s', duration: '1s', words: [{ text: { start: '12', end: '17' }, start: '3.2s' }] });
const shown = (time) => { reader.show(time); return reader.current && [reader.current.start, reader.titleWords.includes(reader.current)]; };
console.log(JSON.stringify({ times: [0, 0.2, 0.6, 1.1, 2.9, 3.3].map(shown), before: reader.sentence(3.1, -1), after: reader.sentence(1.5, 1), told: reader.timeOf(reader.words[3]) }));
