// A small OpenID issuer: the authorization code flow with PKCE, and refresh tokens. Its tokens have no signature: the gateway of the test looks
// at what they say.
import { createHash, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

const base64url = (text) => Buffer.from(text).toString('base64url');

export async function startIssuer(port, audience, origin) {
  const url = `http://127.0.0.1:${port}`;
  const codes = new Map();
  const grants = [];
  let asks = 0;
  let generation = 1;
  const token = (more) => `${base64url('{"alg":"none"}')}.${base64url(JSON.stringify({ iss: url, email: 'ann@example.com', roles: 'viewer', ...more }))}.x`;
  const refresh = randomUUID();

  function give(form) {
    grants.push(form.get('grant_type'));
    if (form.get('grant_type') === 'authorization_code') {
      const asked = codes.get(form.get('code'));
      codes.delete(form.get('code'));
      const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
      if (asked?.get('code_challenge') !== challenge || asked.get('redirect_uri') !== form.get('redirect_uri')) return null;
    } else if (form.get('refresh_token') !== refresh) {
      return null;
    }
    // As with Entra ID: the access token is for somebody else, the id token for this client.
    return { token_type: 'Bearer', access_token: token({ aud: 'somebody else' }), id_token: token({ aud: audience, generation }), refresh_token: refresh };
  }

  const server = createServer((request, response) => {
    const at = new URL(request.url, url);
    const json = (status, value) => response.writeHead(status, { 'Content-Type': 'application/json', 'Access-Control-Allow-Origin': origin }).end(JSON.stringify(value));
    const page = (html) => response.writeHead(200, { 'Content-Type': 'text/html' }).end(`<!doctype html><h1>The issuer</h1>${html}`);
    if (at.pathname === '/.well-known/openid-configuration') {
      json(200, { issuer: url, authorization_endpoint: `${url}/authorize`, token_endpoint: `${url}/token`, end_session_endpoint: `${url}/end` });
    } else if (at.pathname === '/authorize') {
      const asked = at.searchParams;
      const fits = asked.get('client_id') === audience && asked.get('code_challenge_method') === 'S256' && asked.get('redirect_uri') === `${origin}/`;
      const code = randomUUID();
      codes.set(code, asked);
      asks++;
      const back = (more) => `${asked.get('redirect_uri')}?${new URLSearchParams({ state: asked.get('state'), ...more })}`.replaceAll('&', '&amp;');
      // It takes its time, in which the page that people leave goes on asking.
      setTimeout(page, 500, fits ? `<a href="${back({ code })}">Go on as ann</a> <a href="${back({ error: 'access_denied', error_description: 'ann says no' })}">Refuse</a>` : 'This is no client of mine.');
    } else if (at.pathname === '/token' && request.method === 'POST') {
      let body = '';
      request.on('data', (part) => (body += part));
      request.on('end', () => {
        const given = give(new URLSearchParams(body));
        if (given) json(200, given);
        else json(400, { error: 'invalid_grant' });
      });
    } else if (at.pathname === '/end') {
      page('The issuer has ended the login.');
    } else {
      response.writeHead(at.pathname === '/favicon.ico' ? 204 : 404).end();
    }
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  return {
    grants,
    /** How often a login was asked for. */
    asks: () => asks,
    /** What was given until now counts no more. */
    end: () => {
      generation++;
      return fetch(`${origin}/test/end`, { method: 'POST' });
    },
    stop: () => (server.closeAllConnections(), server.close()),
  };
}
