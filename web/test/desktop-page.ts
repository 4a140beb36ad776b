// The page that the desktop tests drive: opens one desktop and keeps what it is told.
import { type DesktopOptions, type DesktopView, openDesktop } from '../src/desktop/desktop.ts';
import { desktopOverlay } from '../src/desktop/overlay.ts';

interface TestWindow {
  told: { type: string; text?: string; cause?: string; problem?: string; blank?: boolean }[];
  view: DesktopView | undefined;
  openTestDesktop(options: Omit<DesktopOptions, 'element' | 'on'>): Promise<void>;
  resizeTestDesktop(width: number, height: number): void;
}

const page = globalThis as unknown as TestWindow;
const element = document.querySelector<HTMLElement>('#desktop')!;
page.told = [];
page.openTestDesktop = async (options) => {
  page.told = [];
  element.replaceChildren();
  element.removeAttribute('style');
  const overlay = desktopOverlay(element, () => void page.openTestDesktop(options));
  page.view = await openDesktop({
    ...options,
    element,
    on: {
      ready: (info) => page.told.push({ type: 'ready', text: `${info.idleTimeoutMs} ${info.timeoutSource}` }),
      policy: (ms, source) => page.told.push({ type: 'policy', text: `${ms} ${source}` }),
      warning: (warning) => {
        page.told.push({ type: 'warning', text: warning.text });
        overlay.warning(warning);
      },
      kept: (text) => {
        page.told.push({ type: 'kept', text });
        overlay.kept(text);
      },
      end: (end) => {
        page.told.push({ type: 'end', ...end, blank: element.querySelector('canvas, iron-remote-desktop') === null });
        overlay.end(end);
      },
    },
  });
};
page.resizeTestDesktop = (width, height) => {
  element.style.width = `${width}px`;
  element.style.height = `${height}px`;
};
