import '@devolutions/iron-remote-desktop';
import type { UserInteraction } from '@devolutions/iron-remote-desktop';
import { Backend, displayControl, enableCredssp, init } from '@devolutions/iron-remote-desktop-rdp';
import { ticketUrl, withControlSocket } from './control-socket.ts';
import type { DesktopOptions, DesktopView } from './desktop.ts';
import { DesktopLife } from './life.ts';

/** Sizes that RDP's display control takes (MS-RDPEDISP 2.2.2.2.1): an even width, neither side too small or too large. */
function desktopSize(element: HTMLElement): { width: number; height: number } {
  const clamp = (value: number) => Math.min(8192, Math.max(200, Math.floor(value)));
  const { width, height } = element.getBoundingClientRect();
  return { width: clamp(width) & ~1, height: clamp(height) };
}

const RESIZE_DELAY_MS = 250;
let initialised: Promise<void> | undefined;

interface IronElement extends HTMLElement {
  module: unknown;
}

/** Opens an RDP desktop by IronRDP. */
export async function open(options: DesktopOptions): Promise<DesktopView> {
  const { element, on } = options;
  initialised ??= init('WARN');
  await initialised;

  const iron = document.createElement('iron-remote-desktop') as IronElement;
  for (const [name, value] of [
    // A desktop that cannot be resized is shown smaller.
    ['scale', 'fit'],
    ['verbose', 'false'],
    ['flexcenter', 'false'],
  ] as const) {
    iron.setAttribute(name, value);
  }
  iron.setAttribute('role', 'application');
  iron.setAttribute('aria-label', `Desktop ${options.desktop}`);
  // A property, and before the element is in the page: the component reads it when it is connected.
  iron.module = Backend;

  let ui: UserInteraction | undefined;
  let resizeTimer: ReturnType<typeof setTimeout> | undefined;
  const resizes = new ResizeObserver(() => {
    clearTimeout(resizeTimer);
    resizeTimer = setTimeout(() => {
      if (life.ended || ui === undefined) return;
      const { width, height } = desktopSize(element);
      ui.resize(width, height);
    }, RESIZE_DELAY_MS);
  });
  const life = new DesktopLife(on, () => {
    resizes.disconnect();
    clearTimeout(resizeTimer);
    blank(iron);
  });

  ui = await new Promise<UserInteraction>((resolve) => {
    iron.addEventListener('ready', (event) => {
      resolve((event as CustomEvent<{ irgUserInteraction: UserInteraction }>).detail.irgUserInteraction);
    });
    element.append(iron);
  });
  const { clipboard = true } = options;
  ui.setEnableClipboard(clipboard);
  if (clipboard) await clipboardReady();
  const url = ticketUrl(options.url, options.ticket);
  const config = ui
    .configBuilder()
    .withUsername(options.login)
    // The gateway signs in: neither the typed password nor a kept one passes through the component.
    .withPassword('-')
    .withServerDomain('')
    .withDestination(`${options.desktop}:3389`)
    .withProxyAddress(url)
    .withAuthToken('-')
    .withDesktopSize(desktopSize(element))
    .withExtension(enableCredssp(false))
    .withExtension(displayControl(true))
    .build();
  void run(iron, ui, url, config, options, life, resizes);
  return {
    close: () => {
      life.closeSocket();
      life.end({ cause: 'client_closed', text: 'You have left the desktop.' });
    },
    focus: () => focusPicture(iron),
    sendCtrlAltDel: () => ui.ctrlAltDel(),
  };
}

/**
 * The component says that it is ready before it has asked for the clipboard's permission; a connection made in between has no
 * clipboard. Permissions are answered in the order of asking: when ours is, so is the component's.
 */
async function clipboardReady(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
  await navigator.permissions?.query({ name: 'clipboard-read' as PermissionName }).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve));
}

async function run(
  iron: HTMLElement,
  ui: UserInteraction,
  url: string,
  config: ReturnType<ReturnType<UserInteraction['configBuilder']>['build']>,
  options: DesktopOptions,
  life: DesktopLife,
  resizes: ResizeObserver,
): Promise<void> {
  const password = options.password === undefined || options.password === '' ? {} : { password: options.password };
  try {
    const { result: session } = await withControlSocket(url, { type: 'open', ...password }, life, () =>
      ui.connect(config),
    );
    if (life.ended) return;
    ui.setVisibility(true);
    focusPicture(iron);
    resizes.observe(options.element);
    await session.run();
  } catch (error) {
    // The gateway's own word comes with, or just behind, the component's error: its close event says what happened.
    console.debug('desktop', ironMessage(error));
  }
}

function ironMessage(error: unknown): string {
  return typeof error === 'object' && error !== null && 'backtrace' in error && typeof error.backtrace === 'function'
    ? String(error.backtrace())
    : String(error);
}

/** Keys go to the desktop from now on, without a click. */
function focusPicture(iron: HTMLElement): void {
  iron.shadowRoot?.querySelector('canvas')?.focus({ preventScroll: true });
}

/** Takes the picture away: painted over first, so that nothing of it is left in the page. */
function blank(iron: HTMLElement): void {
  for (const canvas of iron.shadowRoot?.querySelectorAll('canvas') ?? []) {
    canvas.width = 1;
    canvas.height = 1;
  }
  iron.remove();
}
