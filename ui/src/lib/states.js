/** Airflow's states: the letter the server has for each, and what it means. Colours and signs are in states.css. */
export const STATES = {
  none: ['-', 'no state yet'],
  scheduled: ['h', 'ready, held back by a limit'],
  queued: ['q', 'waits for a worker'],
  running: ['r', 'running'],
  restarting: ['k', 'cleared while it ran'],
  up_for_retry: ['w', 'failed a try, waits for the next'],
  up_for_reschedule: ['e', 'waits for its next look'],
  deferred: ['d', 'waits for an outside event'],
  awaiting_input: ['i', 'waits for an answer'],
  success: ['s', 'succeeded'],
  failed: ['f', 'failed'],
  skipped: ['x', 'skipped'],
  upstream_failed: ['u', 'not run: an upstream failed'],
  removed: ['v', 'gone from the DAG'],
};

const BY_LETTER = Object.fromEntries(Object.entries(STATES).map(([name, [letter]]) => [letter, name]));

export const ofLetter = (letter) => BY_LETTER[letter] ?? 'none';
export const meaning = (state) => (STATES[state ?? 'none'] ?? ['', state])[1];
export const label = (state) => (state ?? 'none').replaceAll('_', ' ');

/** What a group of states is told by: what needs a look first, then what is under way. */
const WEIGHT = 'fuwkrqhdiev-sx';
export function worst(letters) {
  let best = '-';
  let at = Infinity;
  for (const letter of letters) {
    const weight = WEIGHT.indexOf(letter);
    if (weight >= 0 && weight < at) [best, at] = [letter, weight];
  }
  return best;
}

/** How often each state occurs, the weightiest first. */
export function counted(letters) {
  const counts = new Map();
  for (const letter of letters) if (letter !== ' ') counts.set(letter, (counts.get(letter) ?? 0) + 1);
  return [...counts].sort((a, b) => WEIGHT.indexOf(a[0]) - WEIGHT.indexOf(b[0])).map(([letter, count]) => [ofLetter(letter), count]);
}

export const FINISHED = new Set(['success', 'failed', 'skipped', 'upstream_failed', 'removed']);
