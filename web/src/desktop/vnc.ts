import RFB from '@novnc/novnc';
import { controlSocket, ticketUrl } from './control-socket.ts';
import type { DesktopOptions, DesktopView } from './desktop.ts';
import { DesktopLife } from './life.ts';

/** Opens a VNC desktop by noVNC. */
export async function open(options: DesktopOptions): Promise<DesktopView> {
  const { element, on, clipboard = true } = options;
  const screen = document.createElement('div');
  screen.style.cssText = 'width: 100%; height: 100%';
  screen.setAttribute('role', 'application');
  screen.setAttribute('aria-label', `Desktop ${options.desktop}`);
  element.append(screen);

  let rfb: RFB | undefined;
  const readClipboard = () => {
    if (rfb !== undefined && !life.ended) void pasteInto(rfb);
  };
  const life = new DesktopLife(on, () => {
    window.removeEventListener('focus', readClipboard);
    for (const canvas of screen.querySelectorAll('canvas')) {
      canvas.width = 1;
      canvas.height = 1;
    }
    screen.remove();
    rfb?.disconnect();
  });
  const password = options.password === undefined || options.password === '' ? {} : { password: options.password };
  const ws = controlSocket(ticketUrl(options.url, options.ticket), { type: 'open', ...password }, life);
  rfb = new RFB(screen, ws);
  rfb.resizeSession = true;
  rfb.scaleViewport = true;
  rfb.background = 'transparent';
  rfb.addEventListener('connect', () => rfb.focus());
  if (clipboard) {
    rfb.addEventListener('clipboard', (event) => {
      // Refused while the page has no permission or no focus: the desktop's clipboard stays where it is then.
      navigator.clipboard?.writeText(event.detail.text).catch(() => undefined);
    });
    window.addEventListener('focus', readClipboard);
    screen.addEventListener('pointerenter', readClipboard);
  }
  return {
    close: () => life.end({ cause: 'client_closed', text: 'You have left the desktop.' }),
    focus: () => rfb.focus(),
    sendCtrlAltDel: () => rfb.sendCtrlAltDel(),
  };
}

const lastPasted = new WeakMap<RFB, string>();

/** Offers the local clipboard to the desktop when it has changed. */
async function pasteInto(rfb: RFB): Promise<void> {
  const text = await navigator.clipboard?.readText().catch(() => undefined);
  if (text === undefined || text === '' || lastPasted.get(rfb) === text) return;
  lastPasted.set(rfb, text);
  rfb.clipboardPasteFrom(text);
}
