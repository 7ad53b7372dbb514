// Follows a story from where the page is, through lost connections and servers that restart.
import { RpcError, stream } from './rpc.js';

const LONGEST_MS = 8000;
const LASTING = new Set(['invalid_argument', 'not_found', 'permission_denied', 'unauthenticated', 'unimplemented', 'failed_precondition']);

const pause = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
});

/** What a story waits for now; undefined if it goes on. */
export async function glance(storyId, signal) {
  try {
    for await (const { event } of stream('WatchStory', { storyId }, signal)) if (event.state) return event.state.progress?.waiting;
  } catch (error) {
    if (!(error instanceof RpcError)) throw error; // such as a story that was deleted meanwhile
  }
  return undefined;
}

/**
 * Yields the events of a story up to `done`; `{ lost: error }` when the connection is lost and `{ found: true }` when it is
 * back. Text that was received is not asked for again.
 */
export async function* follow(storyId, signal) {
  let textOffset = 0;
  let failures = 0;
  while (!signal.aborted) {
    try {
      for await (const { event } of stream('WatchStory', { storyId, textOffset }, signal)) {
        if (failures) yield { found: true };
        failures = 0;
        if (event.text) textOffset = Number(event.text.offset ?? 0) + [...event.text.delta].length;
        yield event;
        if (event.done) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof RpcError) || LASTING.has(error.code)) throw error;
      failures += 1;
      if (error.reason !== 'RECONNECT' || failures > 1) yield { lost: error };
    }
    await pause(Math.min(LONGEST_MS, 250 * 2 ** failures) * (0.75 + Math.random() / 2), signal);
  }
}
