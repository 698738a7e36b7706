/**
 * Keeps a value fresh: asks at once, then again after each answer, but only while the page is looked at. After errors it asks less and less
 * often.
 */
export class Live {
  value = $state.raw(null);
  error = $state.raw(null);
  /** When the last answer came. */
  at = $state(0);
  #timer = 0;
  #turn = 0;

  /** `seconds` between two questions: a number, or a function of the last answer. */
  constructor(seconds = 3) {
    this.seconds = seconds;
  }

  /** Begins to follow what `ask` answers. Returns what ends it, for `$effect`. */
  follow(ask, keep = false) {
    const turn = ++this.#turn;
    let failures = 0;
    if (!keep) this.value = null;
    this.error = null;
    const round = async () => {
      clearTimeout(this.#timer);
      if (turn !== this.#turn) return;
      if (!document.hidden) {
        try {
          const value = await ask();
          if (turn !== this.#turn) return;
          this.value = value;
          this.error = null;
          this.at = Date.now();
          failures = 0;
        } catch (error) {
          if (turn !== this.#turn) return;
          this.error = error;
          failures++;
        }
      }
      const seconds = typeof this.seconds === 'function' ? this.seconds(this.value) : this.seconds;
      if (seconds !== Infinity) this.#timer = setTimeout(round, Math.min(60, seconds * 2 ** Math.min(failures, 4)) * 1000);
    };
    this.again = round;
    const seen = () => !document.hidden && round();
    document.addEventListener('visibilitychange', seen);
    round();
    return () => {
      if (turn === this.#turn) this.#turn++;
      clearTimeout(this.#timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }

  again = () => {};
}

/** The present instant, once a second while somebody looks, for what is written in words. */
class Clock {
  now = $state(Date.now());

  constructor() {
    setInterval(() => !document.hidden && (this.now = Date.now()), 1000);
  }
}

export const clock = new Clock();
