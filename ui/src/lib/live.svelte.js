import { untrack } from 'svelte';

/**
 * Keeps a value fresh: asks at once, then again after each answer, but only while the page is looked at. After errors it asks less and less
 * often. Questions of one follower never overlap, so that no answer comes to stand behind a later one.
 */
export class Live {
  value = $state.raw(null);
  error = $state.raw(null);
  #turn = 0;

  /** `seconds` between two questions: a number, or a function of the last answer; infinite: one answer is enough. */
  constructor(seconds = 3) {
    this.seconds = seconds;
  }

  /** Begins to follow what `ask` answers. Returns what ends it, for `$effect`. */
  follow(ask, keep = false) {
    const turn = ++this.#turn;
    const isOver = () => turn !== this.#turn;
    let [failures, timer, asking, anew] = [0, 0, null, false];
    if (!keep) this.value = null;
    this.error = null;
    const question = async () => {
      do {
        anew = false;
        try {
          const value = await ask();
          // What was on its way when something was changed may show it as it was before.
          if (isOver() || anew) continue;
          [this.value, this.error, failures] = [value, null, 0];
        } catch (error) {
          if (isOver() || anew) continue;
          this.error = error;
          failures++;
        }
      } while (anew && !isOver());
    };
    const later = () => {
      const seconds = untrack(() => (typeof this.seconds === 'function' ? this.seconds(this.value) : this.seconds));
      const wait = failures && seconds === Infinity ? RETRY : seconds;
      if (wait !== Infinity) timer = setTimeout(round, Math.min(60, wait * 2 ** Math.min(failures, 4)) * 1000);
    };
    const round = () => {
      clearTimeout(timer);
      if (isOver() || asking) return asking;
      if (document.hidden) return later();
      asking = question().finally(() => {
        asking = null;
        if (!isOver()) later();
      });
      return asking;
    };
    this.again = () => {
      anew = Boolean(asking);
      return round();
    };
    const seen = () => !document.hidden && round();
    document.addEventListener('visibilitychange', seen);
    round();
    return () => {
      if (!isOver()) this.#turn++;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }

  /** Asks now, since something was changed: the next answer shown is one to a question of after that. */
  again = () => {};
}

/** What failed is asked again after this many seconds, even where one answer is enough. */
const RETRY = 3;

/** The present instant, once a second while somebody looks, for what is written in words. */
class Clock {
  now = $state(Date.now());

  constructor() {
    setInterval(() => !document.hidden && (this.now = Date.now()), 1000);
  }
}

export const clock = new Clock();
