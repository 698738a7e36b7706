import { board, getOr, hooks } from './api.js';
import * as oidc from './oidc.js';

const ROLES = ['viewer', 'user', 'op', 'admin'];

/** Who looks at the page. Where nobody has to log in, an admin. */
class Session {
  me = $state.raw(null);
  /** Why a login with an issuer came to nothing. */
  problem = $state.raw(null);
  /** Whether people log in with an issuer, and have no password here. */
  byIssuer = $state(false);

  async start() {
    hooks.unauthorized = () => this.logIn();
    hooks.headers = () => {
      const token = oidc.token();
      return token ? { Authorization: `Bearer ${token}` } : {};
    };
    try {
      await oidc.finish();
    } catch (error) {
      this.problem = error;
    }
    this.byIssuer = Boolean(oidc.token());
    if (!this.problem) this.me = await getOr(board('me'), null).catch(() => null);
  }

  /** Whether somebody is logged in by now; else the page is being left for a login. */
  async logIn() {
    if (this.problem) return false;
    try {
      const config = await oidc.issuer();
      if (config) return await oidc.renew(config);
      location.assign(`/auth/login?next=${encodeURIComponent('/' + location.hash)}`);
    } catch (error) {
      this.problem = error;
    }
    return false;
  }

  logInAgain() {
    this.problem = null;
    return this.logIn();
  }

  /** Whether the role is enough; the server has the last word. */
  may(role) {
    return !this.me || ROLES.indexOf(this.me.role) >= ROLES.indexOf(role);
  }
}

export const session = new Session();
