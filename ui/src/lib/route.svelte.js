/** Where we are: the hash, as a list of decoded parts. `#/dags/etl/runs/x` is `['dags', 'etl', 'runs', 'x']`. */
function read() {
  const [path] = location.hash.replace(/^#\/?/, '').split('?');
  return path.split('/').filter(Boolean).map(decodeURIComponent);
}

class Route {
  parts = $state(read());

  constructor() {
    addEventListener('hashchange', () => (this.parts = read()));
  }
}

export const route = new Route();

export const to = (...parts) => '#/' + parts.map(encodeURIComponent).join('/');
