import { fromJson } from './json.js';

/** A form made from params' JSON schemas: what kind of field each is, and what its text means. */

const types = (schema) => [].concat(schema.type ?? []);

/** The kind of input that fits a schema. */
export function kindOf({ schema = {}, value }) {
  if ('const' in schema) return 'fixed';
  if (schema.enum) return 'choice';
  const its = types(schema).filter((name) => name !== 'null');
  const type = its.length === 1 ? its[0] : its.length ? 'json' : guess(value);
  if (type === 'boolean') return 'boolean';
  if (type === 'integer' || type === 'number') return 'number';
  if (type === 'string') return { 'date-time': 'datetime', date: 'date', time: 'time', multiline: 'lines' }[schema.format] ?? (String(value ?? '').includes('\n') ? 'lines' : 'text');
  if (type === 'array' && (!schema.items || types(schema.items).join() === 'string')) return 'list';
  return 'json';
}

function guess(value) {
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return 'array';
  if (value === null || value === undefined) return 'string';
  return { boolean: 'boolean', number: 'number', string: 'string' }[typeof value] ?? 'json';
}

/** Whether a run may leave it empty. */
export const isOptional = (param) => types(param.schema ?? {}).includes('null') || (!param.schema?.type && param.value === null);

/** What stands in the field for a value. */
export function toField(kind, value) {
  if (kind === 'boolean') return Boolean(value);
  if (value === null || value === undefined) return '';
  if (kind === 'list') return value.join('\n');
  if (kind === 'json') return JSON.stringify(value, null, 2);
  if (kind === 'choice' || kind === 'fixed') return JSON.stringify(value);
  if (kind === 'datetime') return local(value);
  return String(value);
}

/** An instant as the browser's field has it: the local time. */
function local(value) {
  const date = new Date(value);
  if (Number.isNaN(date.getTime())) return '';
  const two = (n) => String(n).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** The value of what stands in a field. Throws a sentence where it has none. */
export function fromField(name, kind, text, param) {
  if (kind === 'boolean') return Boolean(text);
  if (kind === 'list') return text.split('\n').map((line) => line.trim()).filter(Boolean);
  if (text === '' || text === null || text === undefined) {
    if (isOptional(param)) return null;
    if (kind === 'text' || kind === 'lines') return '';
    throw new Error(`${name}: a value is needed.`);
  }
  if (kind === 'number') {
    const number = Number(text);
    if (Number.isNaN(number)) throw new Error(`${name}: “${text}” is no number.`);
    return number;
  }
  if (kind === 'datetime') return new Date(text).toISOString();
  if (kind === 'json' || kind === 'choice' || kind === 'fixed') return fromJson(text, name);
  return text;
}

/** Params by their section, those without one first. */
export function sections(params) {
  const found = new Map([['', []]]);
  for (const [name, param] of Object.entries(params)) {
    const section = param.schema?.section ?? '';
    if (!found.has(section)) found.set(section, []);
    found.get(section).push([name, param]);
  }
  return [...found].filter(([, list]) => list.length);
}
