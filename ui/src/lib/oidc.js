// Logging in with an OpenID issuer, where the server names one: the authorization code flow with PKCE. Tokens stay in this tab.
import { getOr } from './api.js';

const TOKENS = 'updraft.tokens';
const BEGUN = 'updraft.login';
const read = (name) => JSON.parse(sessionStorage.getItem(name) ?? 'null');
const write = (name, value) => sessionStorage.setItem(name, JSON.stringify(value));

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
const drawn = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const home = () => `${location.origin}/`;

let asked;
/** Who gives tokens here; null where people log in with a name and a password. */
export const issuer = () => (asked ??= getOr('/auth/issuer', null));

/** What a token says; it is whoever takes it that checks it. */
function claims(token) {
  try {
    return JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
  } catch {
    return null;
  }
}

/** Of what the issuer gave, the token that is for this server: not every issuer's access token is. */
function fitting(given, audience) {
  const isOurs = (said) => said && [said.aud, said.client_id].flat().includes(audience);
  return [given.access_token, given.id_token].find((token) => token && isOurs(claims(token))) ?? given.access_token;
}

async function asJson(path, options) {
  const answer = await fetch(path, options);
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error_description ?? said.error ?? `The issuer answered with status ${answer.status}.`);
  return said;
}

async function ask(endpoint, audience, form) {
  const given = await asJson(endpoint, { method: 'POST', body: new URLSearchParams(form) });
  const before = read(TOKENS);
  write(TOKENS, { token: fitting(given, audience), refresh: given.refresh_token ?? before?.refresh, id: given.id_token ?? before?.id });
}

export const token = () => read(TOKENS)?.token;

/** How long the issuer may take to show its page, in milliseconds. */
const LEAVING = 60_000;

/**
 * Goes to the issuer, and comes back to where people are. It does not end while the page is being left: what else is refused meanwhile would
 * begin another login, and the answer to the first would be taken for a stranger's.
 */
async function begin(config) {
  const places = await asJson(`${config.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  const begun = { state: drawn(), verifier: drawn(), hash: location.hash, config, end: places.end_session_endpoint, endpoint: places.token_endpoint };
  write(BEGUN, begun);
  const challenge = base64url(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(begun.verifier)));
  const to = new URL(places.authorization_endpoint);
  const asks = { response_type: 'code', client_id: config.client_id, redirect_uri: home(), scope: 'openid email profile', state: begun.state, code_challenge: challenge, code_challenge_method: 'S256' };
  for (const [name, value] of Object.entries(asks)) to.searchParams.set(name, value);
  location.assign(to);
  await new Promise((done) => setTimeout(done, LEAVING));
}

/** Comes back from the issuer, if this is that. */
export async function finish() {
  const said = new URLSearchParams(location.search);
  const begun = read(BEGUN);
  if (!said.has('state') || !begun) return;
  history.replaceState(null, '', `/${begun.hash}`);
  dispatchEvent(new HashChangeEvent('hashchange'));
  if (said.get('state') !== begun.state) throw new Error('The answer of the issuer belongs to another login. Log in again.');
  if (said.has('error')) throw new Error(said.get('error_description') ?? said.get('error'));
  await ask(begun.endpoint, begun.config.audience, { grant_type: 'authorization_code', code: said.get('code'), redirect_uri: home(), client_id: begun.config.client_id, code_verifier: begun.verifier });
}

let renewing;
/** A token that is over is renewed where the issuer allows it; else people log in again. */
export function renew(config) {
  renewing ??= (async () => {
    const [held, begun] = [read(TOKENS), read(BEGUN)];
    sessionStorage.removeItem(TOKENS);
    if (held?.refresh && begun) {
      try {
        write(TOKENS, { ...held, token: null });
        await ask(begun.endpoint, config.audience, { grant_type: 'refresh_token', refresh_token: held.refresh, client_id: config.client_id });
        return true;
      } catch {
        sessionStorage.removeItem(TOKENS);
      }
    }
    await begin(config);
    return false;
  })().finally(() => (renewing = undefined));
  return renewing;
}

/** Forgets the tokens, and ends the login at the issuer where it has a place for that. */
export function leave() {
  const [held, begun] = [read(TOKENS), read(BEGUN)];
  sessionStorage.removeItem(TOKENS);
  sessionStorage.removeItem(BEGUN);
  if (!begun?.end) return location.assign(home());
  const to = new URL(begun.end);
  const says = { client_id: begun.config.client_id, logout_uri: home(), post_logout_redirect_uri: home(), id_token_hint: held?.id };
  for (const [name, value] of Object.entries(says)) if (value) to.searchParams.set(name, value);
  location.assign(to);
}
