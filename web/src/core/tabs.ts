/** What the tabs of one browser tell each other. */
export type TabMessage =
  /** The user did something in another tab. */
  | { readonly type: 'active' }
  | { readonly type: 'signed-in' }
  | { readonly type: 'signed-out'; readonly reason: string };

const channel = new BroadcastChannel('nightlatch');

export function tellTabs(message: TabMessage): void {
  channel.postMessage(message);
}

export function onTabMessage(fn: (message: TabMessage) => void): void {
  channel.addEventListener('message', (event: MessageEvent<TabMessage>) => fn(event.data));
}
