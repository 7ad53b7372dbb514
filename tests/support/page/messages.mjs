// Prints all messages.
import { messages } from '../../../gateway/door/web/static/messages.js';

console.log(JSON.stringify(messages()));
