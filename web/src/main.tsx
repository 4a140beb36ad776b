import './styles/base.css';
import './styles/controls.css';
import './styles/layout.css';
import './styles/parts.css';
import { render } from 'preact';
import { App } from './app.tsx';
import { watchIdleness } from './core/idle.ts';
import { loadSession } from './core/session.ts';

watchIdleness();
void loadSession();
render(<App />, document.getElementById('app')!);
