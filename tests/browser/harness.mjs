// A browser for all tests, pages that say at their end what went wrong in them, and the server's API for what a test needs first.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

export const BASE = process.env.BASE;
export const DAGS = process.env.DAGS;
const FLAGS = ['--no-sandbox', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
/** How long anything is waited for. It costs time only where something is wrong, and on a busy machine all takes longer. */
export const PATIENCE = 45_000;

export const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });

/**
 * Opens a place, does something there, and fails where the page has said anything wrong, errors and refused scripts and styles included, but for
 * what is `expected`: parts of it, or functions that know it.
 */
export async function at(hash, what, { width = 1440, height = 900, dark = false, still = false, expected = [] } = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? 'dark' : 'light',
    reducedMotion: still ? 'reduce' : 'no-preference',
    acceptDownloads: true,
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && wrong.push(`${message.text()} ${message.location().url}`));
  try {
    await page.goto(`${BASE}/${hash}`);
    await what(page);
    const unexpected = wrong.filter((text) => !expected.some((one) => (typeof one === 'function' ? one(text) : text.includes(one))));
    assert.deepEqual(unexpected, [], 'the page has said something wrong');
  } catch (error) {
    const file = `/tmp/updraft-browser-${Date.now()}.png`;
    await page.screenshot({ path: file }).catch(() => {});
    error.message += `\n  at ${page.url()}, seen in ${file}${wrong.length ? `\n  the page said: ${wrong.join('; ')}` : ''}`;
    throw error;
  } finally {
    await context.close();
  }
}

/** Waits until something holds. */
export async function until(what, holds, patience = PATIENCE) {
  const end = Date.now() + patience;
  let last;
  while (Date.now() < end) {
    last = await holds();
    if (last) return last;
    await new Promise((done) => setTimeout(done, 150));
  }
  assert.fail(`${what}: not within ${patience / 1000} s`);
}

export async function api(path, method = 'GET', body) {
  const answer = await fetch(BASE + path, { method, headers: { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** A run of a DAG, awaited to its end unless told not to. */
export async function run(dagId, conf = {}, wait = true) {
  const { dag_run_id: id } = await api(`/api/v2/dags/${dagId}/dagRuns`, 'POST', { logical_date: null, conf });
  if (wait) await until(`the run of ${dagId} ends`, async () => (await api(`/api/v2/dags/${dagId}/dagRuns/${encodeURIComponent(id)}`)).end_date, 60_000);
  return id;
}

export const link = (dagId, view, query = {}) => `#/dags/${dagId}/${view}?${new URLSearchParams(query)}`;

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** What axe finds serious or worse. The page's policy forbids scripts in it, so axe comes over the debugger. */
export async function grave(page, rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']) {
  const { readFile } = await import('node:fs/promises');
  await page.evaluate(await readFile(AXE, 'utf8'));
  const { violations } = await page.evaluate((runOnly) => globalThis.axe.run(document, { runOnly }), rules);
  return violations
    .filter((one) => ['serious', 'critical'].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.slice(0, 4).map((node) => `${node.target.join(' ')} (${node.any?.[0]?.message ?? node.failureSummary})`).join('; ')}`);
}
