// noVNC 1.7 brings no types; these are the parts of its API (docs/API.md) that the page uses.
declare module '@novnc/novnc' {
  export default class RFB extends EventTarget {
    constructor(target: HTMLElement, channel: WebSocket | string, options?: { shared?: boolean });
    resizeSession: boolean;
    scaleViewport: boolean;
    background: string;
    focus(): void;
    disconnect(): void;
    sendCtrlAltDel(): void;
    clipboardPasteFrom(text: string): void;
    addEventListener(type: 'clipboard', listener: (event: CustomEvent<{ text: string }>) => void): void;
    addEventListener(type: 'connect' | 'disconnect', listener: (event: CustomEvent<unknown>) => void): void;
  }
}
