import { prefs } from './prefs.svelte.js';

const UNITS = [
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];
const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/** "in 3 minutes", "2 hours ago". */
export function relative(at, now = Date.now()) {
  if (!at) return '';
  const seconds = (new Date(at).getTime() - now) / 1000;
  if (Math.abs(seconds) < 1) return 'now';
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1];
  return words.format(Math.trunc(seconds / size), unit);
}

const formats = new Map();
function format(at, options) {
  const timeZone = prefs.zone === 'UTC' ? 'UTC' : undefined;
  const name = JSON.stringify([options, timeZone]);
  if (!formats.has(name)) formats.set(name, new Intl.DateTimeFormat(undefined, { ...options, timeZone, hourCycle: 'h23' }));
  return formats.get(name).format(new Date(at));
}

const PARTS = { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' };

/** Date and time to the second, in the zone people chose. */
export const exact = (at) => (at ? format(at, { ...PARTS, timeZoneName: prefs.zone === 'UTC' ? 'short' : undefined }) : '');
/** Date and time to the minute. */
export const short = (at) => (at ? format(at, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' }) : '');
export const clockTime = (at) => (at ? format(at, { hour: '2-digit', minute: '2-digit', second: '2-digit' }) : '');
export const day = (at) => (at ? format(at, { weekday: 'short', year: 'numeric', month: 'short', day: 'numeric' }) : '');

const CAME = { manual: 'by hand', scheduled: 'scheduled', backfill: 'backfill', asset_triggered: 'by assets', operator_triggered: 'by a DAG', asset_materialization: 'to make an asset' };
/** A run in a few words: its id, where somebody chose one, else how it came and when it was due. */
export const runName = (run) => {
  const id = run.run_id ?? run.dag_run_id;
  return id.startsWith(`${run.run_type}__`) ? `${CAME[run.run_type] ?? run.run_type}, ${short(run.run_after)}` : id;
};

/** The calendar day, as `2026-01-31`. */
export function dayKey(at) {
  const date = new Date(at);
  const two = (n) => String(n).padStart(2, '0');
  if (prefs.zone === 'UTC') return `${date.getUTCFullYear()}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** Seconds in words: "350 ms", "12.4 s", "3 min 20 s", "2 h 5 min". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return '';
  if (seconds < 0) return '0 ms';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export function since(start, end, now = Date.now()) {
  if (!start) return null;
  return ((end ? new Date(end).getTime() : now) - new Date(start).getTime()) / 1000;
}
