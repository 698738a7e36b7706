import { after } from 'node:test';
import { browser } from './harness.mjs';

await import('./json.mjs');
await import('./lists.mjs');
await import('./dag.mjs');
await import('./large.mjs');
await import('./task.mjs');
await import('./asking.mjs');
await import('./actions.mjs');
await import('./whole.mjs');
await import('./admin.mjs');
await import('./everywhere.mjs');
await import('./keyboard.mjs');
await import('./races.mjs');
await import('./scripts.mjs');
await import('./jobs.mjs');
await import('./login.mjs');

after(() => browser.close());
