import { mount } from 'svelte';
import './app.css';
import App from './App.svelte';
import { session } from './lib/session.svelte.js';

// Whoever comes back from an issuer has a token before anything is asked for.
const started = session.start();
if (new URLSearchParams(location.search).has('state')) await started;
mount(App, { target: document.getElementById('app') });
