// Prints an error of the gateway as the page has it, and request ids.
globalThis.localStorage = globalThis.sessionStorage = { getItem: () => null };
import { call, RequestIds } from '../../../gateway/door/web/static/rpc.js';
const violation = { field: 'spec.child.age', description: 'must be from 1 to 18' };
const details = [
  { type: 'google.rpc.ErrorInfo', value: '', debug: { reason: 'VALIDATION_FAILED', metadata: { remedy: 'Fix it.' } } },
  { type: 'google.rpc.BadRequest', value: '', debug: { fieldViolations: [violation] } },
];
globalThis.fetch = async () => Response.json({ code: 'invalid_argument', message: 'spec.child.age', details }, { status: 400 });
const ids = new RequestIds();
const error = await call('CreateStory').catch((each) => each);
console.log(JSON.stringify({ ...error, same: ids.of({ a: 1 }) === ids.of({ a: 1 }), other: ids.of({ a: 1 }) !== ids.of({ a: 2 }) }));
