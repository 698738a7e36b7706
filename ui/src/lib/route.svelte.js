/** Where we are: the hash, as a list of decoded parts and a query. `#/dags/etl/grid?run=x` is `['dags', 'etl', 'grid']` and `{run: 'x'}`. */
function read() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const parts = path.split('/').filter(Boolean).map(decoded);
  return { parts, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** A part as it was written, where somebody wrote it by hand and not well. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

class Route {
  #at = $state.raw(read());
  parts = $derived(this.#at.parts);
  query = $derived(this.#at.query);

  constructor() {
    addEventListener('hashchange', () => (this.#at = read()));
  }
}

export const route = new Route();

/** A link: parts, and at last perhaps an object that becomes the query. */
export function to(...parts) {
  const query = typeof parts.at(-1) === 'object' ? parts.pop() : {};
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const text = new URLSearchParams(pairs).toString();
  return '#/' + parts.map(encodeURIComponent).join('/') + (text ? `?${text}` : '');
}

/** Goes there; `replace` leaves no step in the history. */
export function go(link, replace = false) {
  if (replace) {
    history.replaceState(null, '', link);
    dispatchEvent(new HashChangeEvent('hashchange'));
  } else location.hash = link;
}

/** The same place with some of its query changed. */
export const here = (change) => to(...route.parts, { ...route.query, ...change });
