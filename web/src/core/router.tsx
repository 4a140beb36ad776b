import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';

const BASE = '/web';

/** Where the page is, without the base: `/resources`. */
export const path = signal(here());
/** The query of the address. */
export const query = signal(new URLSearchParams(location.search));

function here(): string {
  return location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length) || '/' : '/';
}

function arrived(): void {
  path.value = here();
  query.value = new URLSearchParams(location.search);
}

window.addEventListener('popstate', arrived);

/** Goes to a page of the application. */
export function navigate(to: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, '', BASE + to);
  else history.pushState(null, '', BASE + to);
  arrived();
  window.scrollTo(0, 0);
}

/** Changes the query without a step in the history: filters. */
export function setQuery(values: Readonly<Record<string, string>>): void {
  const next = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ''));
  const text = next.toString();
  history.replaceState(null, '', `${location.pathname}${text === '' ? '' : `?${text}`}`);
  query.value = next;
}

/** The address of a page, for links that open in a tab of their own. */
export function hrefOf(to: string): string {
  return BASE + to;
}

interface LinkProps {
  readonly to: string;
  readonly class?: string;
  readonly 'aria-current'?: 'page' | undefined;
  readonly children: ComponentChildren;
}

/** A link within the application. */
export function Link({ to, children, ...rest }: LinkProps) {
  const onClick = (event: MouseEvent) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a {...rest} href={BASE + to} onClick={onClick}>
      {children}
    </a>
  );
}
