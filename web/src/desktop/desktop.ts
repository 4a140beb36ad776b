import type { DesktopEvents } from './events.ts';

export type { DesktopEnd } from './events.ts';

/** A desktop to open in an element of the page. */
export interface DesktopOptions {
  readonly protocol: 'rdp' | 'vnc';
  /** The picture fills this element; it should have a size and `position: relative`. */
  readonly element: HTMLElement;
  /** WebSocket of the gateway, relative or absolute. */
  readonly url: string;
  /** One-time ticket, where the session cookie is not enough. */
  readonly ticket?: string;
  /** Name of the desktop, as registered. */
  readonly desktop: string;
  readonly login: string;
  /** As typed by the user; left out where the gateway keeps it. */
  readonly password?: string;
  /** Whether to use the clipboard at all; the gateway has the last word. Default true. */
  readonly clipboard?: boolean;
  readonly on: DesktopEvents;
}

/** An open desktop. */
export interface DesktopView {
  /** The user leaves. */
  close(): void;
  focus(): void;
  /** Keys that the browser or the local system would take for itself. */
  sendCtrlAltDel(): void;
}

/** Opens a desktop; the protocol's component is loaded when it is first needed. */
export async function openDesktop(options: DesktopOptions): Promise<DesktopView> {
  const { open } = options.protocol === 'rdp' ? await import('./rdp.ts') : await import('./vnc.ts');
  return open(options);
}
