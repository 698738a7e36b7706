import { mount } from 'svelte';
import './app.css';
import App from './App.svelte';
import { session } from './lib/session.svelte.js';

// Whoever comes back from an issuer has a token before anything is asked for.
const comesBack = new URLSearchParams(location.search).has('state');
const started = session.start();
if (comesBack) await started;
mount(App, { target: document.getElementById('app') });
