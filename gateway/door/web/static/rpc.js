// Calls the gateway by the Connect protocol: JSON over HTTP, the same RPCs that gRPC callers have.
import { t } from './messages.js';

const GATEWAY = 'tale.gateway.v1.GatewayService';
const SERVICES = Object.fromEntries([
  ...'CreateChild ListChildren UpdateChild DeleteChild CreateHero ListHeroes UpdateHero DeleteHero'.split(' ').map((name) => [name, 'tale.profile.v1.ProfileService']),
  ...'ListProviders ListVoices'.split(' ').map((name) => [name, 'tale.voice.v1.VoiceService']),
]);
const UNARY_MS = 30_000;
const SILENCE_MS = 20_000; // the gateway sends a heartbeat every 5 seconds
const KEY = 'tale-key';
const unreachable = () => new RpcError({ code: 'unavailable', message: t('unreachable'), remedy: t('unreachable_remedy') });

/** An error of the gateway: Connect's code, the reason, what to do, the fields that it names. */
export class RpcError extends Error {
  constructor({ code = 'unknown', message = '', remedy = '', details = [] }) {
    super(message || code);
    Object.assign(this, { code, reason: '', remedy, violations: [] });
    for (const { type, debug = {} } of details) {
      if (type === 'google.rpc.ErrorInfo') Object.assign(this, { reason: debug.reason ?? '', remedy: debug.metadata?.remedy ?? '' });
      if (type === 'google.rpc.BadRequest') this.violations = debug.fieldViolations ?? [];
    }
  }
}

/** The key or token of the caller: for this tab, or for this browser where it is to be remembered. Never in a URL. */
export const credentials = {
  get: () => sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? '',
  set(key, remember) {
    this.clear();
    (remember ? localStorage : sessionStorage).setItem(KEY, key);
  },
  clear() {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
  },
};

let asking = null;
let ask = async () => false;

/** Sets what asks for a key; it gets the error and returns whether there is one now. */
export function onUnauthenticated(handler) {
  ask = handler;
}

async function signedIn(used, error) {
  if (error.code !== 'unauthenticated') return false;
  if (credentials.get() !== used) return true; // another call has asked meanwhile
  asking ??= ask(error).finally(() => { asking = null; });
  return asking;
}

async function post(method, body, type, signal) {
  const key = credentials.get();
  const headers = { 'Content-Type': type, 'Connect-Protocol-Version': '1' };
  if (key) headers.Authorization = `Bearer ${key}`;
  try {
    return await fetch(`${SERVICES[method] ?? GATEWAY}/${method}`, { method: 'POST', headers, body, signal });
  } catch (error) {
    if (signal.aborted && signal.reason?.name === 'AbortError') throw signal.reason;
    throw unreachable();
  }
}

async function refused(response) {
  const body = await response.json().catch(() => ({}));
  return new RpcError({ code: { 401: 'unauthenticated', 404: 'not_found' }[response.status] ?? 'unavailable', message: t('unreachable'), remedy: t('unreachable_remedy'), ...body });
}

/** Calls a method; RpcError if it is refused. */
export async function call(method, request = {}) {
  for (;;) {
    const used = credentials.get();
    const response = await post(method, JSON.stringify(request), 'application/json', AbortSignal.timeout(UNARY_MS));
    if (response.ok) return response.json();
    const error = await refused(response);
    if (!(await signedIn(used, error))) throw error;
  }
}

/** Yields the messages of a server stream: each is a byte of flags, four of length, and JSON. */
export async function* stream(method, request, signal) {
  const used = credentials.get();
  const silence = new AbortController();
  let timer = 0;
  const heard = () => { clearTimeout(timer); timer = setTimeout(() => silence.abort(unreachable()), SILENCE_MS); };
  try {
    heard();
    const json = new TextEncoder().encode(JSON.stringify(request));
    const body = new Uint8Array(5 + json.length);
    new DataView(body.buffer).setUint32(1, json.length);
    body.set(json, 5);
    const response = await post(method, body, 'application/connect+json', AbortSignal.any([signal, silence.signal]));
    if (!response.ok) throw await refused(response);
    const reader = response.body.getReader();
    let held = new Uint8Array();
    for (;;) {
      const { done, value } = await reader.read().catch((error) => { throw signal.aborted ? signal.reason : new RpcError({ code: 'unavailable', message: error.message }); });
      if (done) throw unreachable();
      heard();
      const joined = new Uint8Array(held.length + value.length);
      joined.set(held);
      joined.set(value, held.length);
      held = joined;
      for (;;) {
        if (held.length < 5) break;
        const size = new DataView(held.buffer, held.byteOffset).getUint32(1);
        if (held.length < 5 + size) break;
        const message = JSON.parse(new TextDecoder().decode(held.subarray(5, 5 + size)) || '{}');
        const last = held[0] & 2;
        held = held.subarray(5 + size);
        if (last && message.error) throw new RpcError(message.error);
        if (last) return;
        yield message;
      }
    }
  } catch (error) {
    if (!(error instanceof RpcError) || !(await signedIn(used, error))) throw error;
    throw new RpcError({ code: 'unavailable', message: error.message }); // to be repeated with the key
  } finally {
    clearTimeout(timer);
    silence.abort(new DOMException('left', 'AbortError'));
  }
}

/** A new id for a request; crypto.randomUUID exists on https and on this machine alone. */
export const requestId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

/** Gives the same id for the same request, so that a repeated click has no further effect. */
export class RequestIds {
  of(request) {
    const print = JSON.stringify(request);
    if (print !== this.print) Object.assign(this, { print, id: requestId() });
    return this.id;
  }
}

/** All pages of a list, at most `most` entries. */
export async function all(method, key, request = {}, most = 500) {
  const found = [];
  let pageToken = '';
  do {
    const page = await call(method, { ...request, pageSize: 100, pageToken });
    found.push(...(page[key] ?? []));
    pageToken = page.nextPageToken ?? '';
  } while (pageToken && found.length < most);
  return found;
}
