/** Short words about what was done, some with a way back. */
class Toasts {
  shown = $state([]);
  #last = 0;

  say(text, { undo, bad = false, seconds = undo ? 12 : 6 } = {}) {
    const id = ++this.#last;
    this.shown = [...this.shown.slice(-2), { id, text, undo, bad }];
    setTimeout(() => this.drop(id), seconds * 1000);
  }

  problem(error) {
    this.say(error.message ?? String(error), { bad: true, seconds: 15 });
  }

  drop(id) {
    this.shown = this.shown.filter((one) => one.id !== id);
  }

  async undo(one) {
    this.drop(one.id);
    try {
      await one.undo();
      this.say('Undone.');
    } catch (error) {
      this.problem(error);
    }
  }
}

export const toasts = new Toasts();
