/** Airflow's states: a sign that can be told without colour, and what it means. Colours are `--state-<name>` in app.css. */
export const STATES = {
  none: ['○', 'no state yet'],
  scheduled: ['◔', 'ready, held back by a limit'],
  queued: ['…', 'waits for a worker'],
  running: ['▶', 'running'],
  restarting: ['↻', 'cleared while it ran'],
  up_for_retry: ['↺', 'failed a try, waits for the next'],
  up_for_reschedule: ['◷', 'waits for its next look'],
  deferred: ['◶', 'waits for an outside event'],
  awaiting_input: ['?', 'waits for an answer'],
  success: ['✓', 'succeeded'],
  failed: ['✕', 'failed'],
  skipped: ['⤼', 'skipped'],
  upstream_failed: ['↯', 'not run: an upstream failed'],
  removed: ['–', 'gone from the DAG'],
};

export const sign = (state) => (STATES[state ?? 'none'] ?? ['?'])[0];
export const meaning = (state) => (STATES[state ?? 'none'] ?? ['', state])[1];
export const label = (state) => (state ?? 'none').replaceAll('_', ' ');
