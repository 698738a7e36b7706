import { dagPath, send } from './api.js';
import { toasts } from './toasts.svelte.js';

/** The DAGs that a person has marked: kept by the server, for each user. */
class Favourites {
  /** What was changed here, until the next answer says it too. */
  changed = $state.raw({});

  is(dagId, told) {
    return this.changed[dagId] ?? told ?? false;
  }

  async toggle(dagId, told) {
    const wish = !this.is(dagId, told);
    this.changed = { ...this.changed, [dagId]: wish };
    try {
      await send('POST', `${dagPath(dagId)}/${wish ? 'favorite' : 'unfavorite'}`);
    } catch (error) {
      // It was so already, by another window.
      if (error.status === 409) return;
      this.changed = { ...this.changed, [dagId]: !wish };
      toasts.problem(error);
    }
  }
}

export const favourites = new Favourites();
