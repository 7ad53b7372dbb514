// Prints what follow() asks for and yields when streams end early.
globalThis.localStorage = globalThis.sessionStorage = { getItem: () => null };
const { follow } = await import('../../../gateway/door/web/static/follow.js');
const frame = (flags, message) => {
  const json = new TextEncoder().encode(JSON.stringify(message));
  const bytes = new Uint8Array(5 + json.length);
  bytes[0] = flags;
  new DataView(bytes.buffer).setUint32(1, json.length);
  bytes.set(json, 5);
  return bytes;
};
const info = { type: 'google.rpc.ErrorInfo', value: '', debug: { reason: 'RECONNECT', metadata: { remedy: 'Again.' } } };
const asked = [];
const responses = [
  [frame(0, { event: { text: { delta: 'Ночь 🌙.' } } }), frame(2, { error: { code: 'unavailable', message: 'gone', details: [info] } })],
  [frame(0, { event: { text: { offset: '7', delta: ' Сон' } } })],
  [frame(0, { event: { text: { offset: '11', delta: '.' } } }), frame(0, { event: { done: { story: { id: 'x' } } } }), frame(2, {})],
];
globalThis.fetch = async (path, { body }) => {
  asked.push(JSON.parse(new TextDecoder().decode(body.subarray(5))));
  const bytes = new Uint8Array(await new Blob(responses.shift()).arrayBuffer());
  // One byte at a time: frames come in any pieces.
  return new Response(new ReadableStream({ start(to) { for (const byte of bytes) to.enqueue(Uint8Array.of(byte)); to.close(); } }));
};
const seen = [];
for await (const event of follow('s', new AbortController().signal)) seen.push(Object.keys(event)[0]);
console.log(JSON.stringify({ asked, seen }));
