import type { DesktopEnd, DesktopWarning } from './events.ts';

/** What covers a desktop: a countdown while it is about to end, and the reason when it has ended. */
export interface DesktopOverlay {
  warning(warning: DesktopWarning): void;
  /** Takes the countdown away and says for a moment that the session goes on. */
  kept(text: string): void;
  end(end: DesktopEnd): void;
  remove(): void;
}

const KEPT_SHOWN_MS = 3_000;

/**
 * Makes an overlay over `element`. The countdown lets input through to the desktop, since any input keeps the session. Classes
 * for the page's style: `desktop-warning`, `desktop-kept`, `desktop-end`.
 */
export function desktopOverlay(element: HTMLElement, reconnect: () => void): DesktopOverlay {
  let box: HTMLElement | undefined;
  let timer: ReturnType<typeof setInterval> | undefined;
  const clear = () => {
    clearInterval(timer);
    box?.remove();
    box = undefined;
  };
  const show = (className: string, role: string): HTMLElement => {
    clear();
    box = document.createElement('div');
    box.className = `desktop-overlay ${className}`;
    box.setAttribute('role', role);
    element.append(box);
    return box;
  };
  return {
    warning({ text, remainingMs }) {
      const shown = show('desktop-warning', 'alert');
      const line = document.createElement('p');
      line.textContent = text;
      const countdown = document.createElement('output');
      const endsAt = performance.now() + remainingMs;
      const tick = () => {
        countdown.textContent = `${Math.max(0, Math.ceil((endsAt - performance.now()) / 1000))} s`;
      };
      tick();
      timer = setInterval(tick, 250);
      shown.append(line, countdown);
    },
    kept(text) {
      show('desktop-kept', 'status').textContent = text;
      timer = setInterval(clear, KEPT_SHOWN_MS);
    },
    end({ text }) {
      const shown = show('desktop-end', 'alertdialog');
      const line = document.createElement('p');
      line.textContent = text;
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = 'Reconnect';
      button.addEventListener('click', () => {
        clear();
        reconnect();
      });
      shown.append(line, button);
      button.focus();
    },
    remove: clear,
  };
}
