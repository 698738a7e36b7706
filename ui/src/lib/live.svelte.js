/**
 * Keeps a value fresh: asks at once, then again after each answer, but only while the page is looked at.
 * `ask` is asked anew whenever `restart` is called.
 */
export class Live {
  value = $state(null);
  error = $state(null);
  #timer = 0;
  #turn = 0;

  constructor(seconds = 3) {
    this.seconds = seconds;
  }

  /** Begins to follow what `ask` answers. Returns what ends it, for `$effect`. */
  follow(ask, keep = false) {
    const turn = ++this.#turn;
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
        } catch (error) {
          if (turn !== this.#turn) return;
          this.error = error;
        }
      }
      this.#timer = setTimeout(round, this.seconds * 1000);
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
