import { go, here, route } from './route.svelte.js';

/** Filters of a list are part of the address: a link shows the same list to others, and the way back leads to it. */
export const filter = (change) => go(here({ from: '', ...change }), true);
/** Where the part of a list begins that is shown. */
export const from = () => Math.max(0, Math.floor(Number(route.query.from)) || 0);
export const turn = (offset) => go(here({ from: offset || '' }));

/** A pattern that finds a text anywhere in a name. */
export const like = (text) => text && `%${text}%`;

/** How far lists of all DAGs look back: looking at every run there ever was would take long. */
const SPANS = [
  [1, 'of the last hour'],
  [24, 'of the last day'],
  [168, 'of the last week'],
  [720, 'of the last 30 days'],
];
export const spans = (most = Infinity) => SPANS.filter(([hours]) => hours <= most);
export const hours = () => Number(route.query.hours) || 24;
/** The instant so many hours ago, as a part of a query. It moves, so it is made for each question. */
export const since = (hours) => `&run_after_gte=${new Date(Date.now() - hours * 3_600_000).toISOString()}`;
