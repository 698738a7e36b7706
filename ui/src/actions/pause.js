import { dagPath, send } from '../lib/api.js';
import { toasts } from '../lib/toasts.svelte.js';

/** Pauses a DAG or makes it active again, with a way back. `done` is called after each. */
export async function setPaused(dagId, paused, done) {
  const set = async (to) => {
    await send('PATCH', dagPath(dagId), { is_paused: to });
    done?.();
  };
  try {
    await set(paused);
    toasts.say(paused ? `${dagId} is paused: no new runs start.` : `${dagId} is active.`, { undo: () => set(!paused) });
  } catch (error) {
    toasts.problem(error);
  }
}
