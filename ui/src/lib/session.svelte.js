import { board, getOr, hooks } from './api.js';

const ROLES = ['viewer', 'user', 'op', 'admin'];

/** Who looks at the page. Where nobody has to log in, an admin. */
class Session {
  me = $state.raw(null);

  constructor() {
    hooks.unauthorized = () => this.logIn();
    this.load();
  }

  async load() {
    this.me = await getOr(board('me'), null).catch(() => null);
  }

  logIn() {
    location.assign(`/auth/login?next=${encodeURIComponent('/' + location.hash)}`);
  }

  /** Whether the role is enough; the server has the last word. */
  may(role) {
    return !this.me || ROLES.indexOf(this.me.role) >= ROLES.indexOf(role);
  }
}

export const session = new Session();
