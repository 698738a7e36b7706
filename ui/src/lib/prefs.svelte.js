/** What a person prefers, kept in this browser. */
const NAME = 'updraft';

function read() {
  try {
    return JSON.parse(localStorage.getItem(NAME)) ?? {};
  } catch {
    return {};
  }
}

class Prefs {
  theme = $state('auto');
  zone = $state('local');
  wrap = $state(true);
  /** Folded groups by DAG. */
  folded = $state({});

  constructor() {
    const kept = read();
    for (const name of ['theme', 'zone', 'wrap', 'folded']) if (name in kept) this[name] = kept[name];
    $effect.root(() => {
      $effect(() => {
        const { theme, zone, wrap, folded } = this;
        document.documentElement.style.colorScheme = theme === 'auto' ? '' : theme;
        try {
          localStorage.setItem(NAME, JSON.stringify({ theme, zone, wrap, folded }));
        } catch {
          // A browser that keeps nothing still shows everything.
        }
      });
    });
  }

  isFolded(dagId, group) {
    return this.folded[dagId]?.includes(group) ?? false;
  }

  toggleFold(dagId, group) {
    const before = this.folded[dagId] ?? [];
    const after = before.includes(group) ? before.filter((id) => id !== group) : [...before, group];
    const { [dagId]: _, ...others } = this.folded;
    this.folded = after.length ? { ...others, [dagId]: after } : others;
  }

  foldAll(dagId, groups) {
    const { [dagId]: _, ...others } = this.folded;
    this.folded = groups.length ? { ...others, [dagId]: groups } : others;
  }
}

export const prefs = new Prefs();
